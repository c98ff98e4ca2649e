"""Which recordings there are to compare: those of record files, or the audio files of a folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.records import read_records

AUDIO_SUFFIXES = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .m4a .mp4 .aac .webm .aif .aiff .au .caf .w64 .amr .mka .wma".split()
)


@dataclass(frozen=True)
class Recording:
    """A recording by name, with the splits that use it."""

    name: str
    """Path below the folder that was given, or as the record file writes it."""
    path: Path
    splits: tuple[str, ...] = ()


def recordings_of(*places: Path) -> list[Recording]:
    """The recordings of record files (JSON lines) and folders, each once, in order.

    A folder with record files (`*.jsonl` of which one is train, dev or test) stands for them, another for all audio
    files below it.

    Raises:
        CorpusError: a place is not there, or has no recordings.
        RecordError: a row is malformed.
    """
    found: dict[Path, Recording] = {}
    for place in places:
        if not place.exists():
            raise CorpusError(f"{place}: not there; give a file of records (.jsonl) or a folder of recordings")
        files = record_files(place)
        new = _of_records(files) if files else _of_folder(place)
        for one in new:
            key = one.path.resolve()
            splits = sorted({*one.splits, *(found[key].splits if key in found else ())})
            found[key] = Recording(found[key].name if key in found else one.name, one.path, tuple(splits))
    if not found:
        raise CorpusError(f"{', '.join(map(str, places))}: no recordings there; is it the right folder?")
    return list(found.values())


def record_files(place: Path) -> list[Path]:
    """The file itself, or the files of records in a folder: `train.jsonl`, `dev.jsonl`, `test.jsonl`."""
    if place.is_file():
        return [place]
    return [place / f"{split}.jsonl" for split in ("train", "dev", "test") if (place / f"{split}.jsonl").is_file()]


def _of_records(files: Iterable[Path]) -> list[Recording]:
    splits: dict[tuple[Path, str], set[str]] = {}
    for file in files:
        for record in read_records(file, absolute=False):
            for name in record.audios:
                splits.setdefault((file.parent, name), set()).add(record.split)
    return [Recording(name, folder / name, tuple(sorted(used))) for (folder, name), used in splits.items()]


def _of_folder(folder: Path) -> list[Recording]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())
    return [Recording(path.relative_to(folder).as_posix(), path) for path in files]
