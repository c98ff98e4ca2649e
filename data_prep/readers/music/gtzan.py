"""GTZAN: half minutes of ten genres."""

from __future__ import annotations

from pathlib import Path

from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import RowError
from data_prep.samples import Music, Sample

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
FILTERED = {"train": "train", "valid": "dev", "test": "test"}
ALL = {"all": "test"}
"""Without lists there is no official split, and the field evaluates on all recordings."""
_FOLDERS = ("genres", "genres_original", "Data/genres_original", "gtzan/genres")


def _piece(source: Download, place: str, split: str) -> Sample:
    genre, _, name = place.rpartition("/")
    if (genre := genre.rpartition("/")[2]) not in GENRES:
        raise RowError(rows.UNKNOWN, f"{genre!r} is none of {', '.join(GENRES)}")
    stem = place.removesuffix(".au").removesuffix(".wav")
    label = "hip hop" if genre == "hiphop" else genre
    return source.sample(
        Path(name).stem,
        source.recording(*dict.fromkeys((place, f"{stem}.wav", f"{stem}.au"))),
        split,
        labels=(label,),
        label_set="gtzan",
        music=Music(genre=(label,)),
    )


def _listed(source: Download, folder: str, split: str, path: Path) -> Found:
    for line in rows.lines(path, source.name(path)):
        if isinstance(line, Lost):
            yield line
        elif written := line[1].strip():
            yield source.one(f"{source.name(path)}, line {line[0]}", _piece, source, f"{folder}/{written}", split)


def _read(source: Download) -> Found:
    folder = source.place(*_FOLDERS)
    below = source.name(folder)
    if source.find("train_filtered.txt"):
        for _, split, path in source.present(FILTERED, "{}_filtered.txt"):
            yield from _listed(source, below, split, path)
        return
    for split in source.parts(ALL).values():
        for path in source.files(folder, ".wav", ".au"):
            yield source.one(source.name(path), _piece, source, source.name(path), split)


GTZAN = Source(
    name="gtzan",
    title="GTZAN",
    licence="none stated; for research",
    home="http://marsyas.info/downloads/datasets.html",
    how_to_get="genres.tar.gz, unpacked; for a split with repeats and faults taken out, train_filtered.txt, "
    "valid_filtered.txt and test_filtered.txt of github.com/jongpillee/music_dataset_split beside it",
    size="1,000 recordings of 30 s, 22 kHz; known repeats and wrong labels, one damaged file in a common copy",
    tells=("labels", "music"),
    layout="genres/GENRE/GENRE.00000.au (or .wav; also genres_original/)\nSPLIT_filtered.txt (may be absent)",
    read=reading("gtzan", "none stated; for research", _read),
    splits=("all", "train", "valid", "test"),
    benchmark=True,
)
