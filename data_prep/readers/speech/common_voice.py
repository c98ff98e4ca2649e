"""Common Voice: sentences read by volunteers in many languages."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.readers.base import Source
from data_prep.readers.download import Download, Found, reading, sex
from data_prep.readers.rows import Row
from data_prep.samples import Sample, Voice

SPLITS = {"train": "train", "dev": "dev", "test": "test"}
_DECADES = {
    "teens": 15, "twenties": 25, "thirties": 35, "fourties": 45, "forties": 45, "fifties": 55, "sixties": 65,
    "seventies": 75, "eighties": 85, "nineties": 95,
}  # fmt: skip
"""The data set itself writes `fourties`."""
_NEED = ("client_id", "path", "sentence")


def _seconds(source: Download, folder: Path) -> dict[str, float]:
    """Lengths of the clips by file name, where the release has the table."""
    path = folder / "clip_durations.tsv"
    found = {}
    for row in source.table(path, delimiter="\t", quoted=False, need=("clip",)) if path.is_file() else ():
        column = "duration[ms]" if isinstance(row, Row) and row.has("duration[ms]") else "duration"
        if isinstance(row, Row) and row.has("clip") and row.has(column):
            found[str(row.values["clip"])] = row.number(column) / 1000
    return found


def _voice(row: Row) -> Voice:
    age = row.text("age", "")
    return Voice(
        speaker=row.text("client_id"),
        sex=sex(row.text("gender", "")),
        age=_DECADES.get(age),
        age_group="forties" if age == "fourties" else age,
        accent=row.text("accents", row.text("accent", "")),
    )


def _clip(source: Download, folder: str, seconds: dict[str, float], split: str, row: Row) -> Sample:
    name = row.text("path")
    file = name if name.endswith(".mp3") else f"{name}.mp3"
    language = row.text("locale", folder.rpartition("/")[2])
    return source.sample(
        f"{language}/{file.removesuffix('.mp3')}",
        source.recording(*(f"{folder}/{place}".lstrip("/") for place in (f"clips/{file}", file))),
        split,
        group=row.text("client_id"),
        seconds=seconds.get(file),
        transcript=row.text("sentence"),
        language=language,
        voice=_voice(row),
        extras={"up_votes": row.maybe_integer("up_votes"), "down_votes": row.maybe_integer("down_votes")},
    )


def _languages(source: Download) -> list[Path]:
    """Folders with tables: the root itself, or up to two levels below it."""
    root = source.root
    found = [p for pattern in ("", "*", "*/*") for p in sorted(root.glob(pattern) if pattern else [root]) if _tables(p)]
    if not found:
        raise CorpusError(f"{root}: has no train.tsv, dev.tsv or test.tsv; `alm data sources common-voice` shows more")
    return found


def _tables(folder: Path) -> bool:
    return any((folder / f"{own}.tsv").is_file() for own in SPLITS)


def _read(source: Download) -> Found:
    wanted = source.parts(SPLITS)
    for folder in _languages(source):
        seconds, below = _try_seconds(source, folder), "" if folder == source.root else source.name(folder)
        for own, split in wanted.items():
            path = folder / f"{own}.tsv"
            found = source.table(path, delimiter="\t", quoted=False, need=_NEED) if path.is_file() else iter(())
            yield from source.each(found, partial(_clip, source, below, seconds, split))


def _try_seconds(source: Download, folder: Path) -> dict[str, float]:
    try:
        return _seconds(source, folder)
    except CorpusError:
        return {}


COMMON_VOICE = Source(
    name="common-voice",
    title="Common Voice",
    licence="CC0-1.0",
    home="https://commonvoice.mozilla.org/datasets",
    how_to_get="the .tar.gz of each language, unpacked (cv-corpus-VERSION/LANGUAGE/); one or several languages",
    size="some 20,000 validated hours in more than 130 languages, by release",
    tells=("transcript", "language", "voice", "seconds", "group", "extras"),
    layout="LANGUAGE/train.tsv, dev.tsv, test.tsv (also below cv-corpus-VERSION/, or without a folder)\n"
    "LANGUAGE/clips/NAME.mp3\nLANGUAGE/clip_durations.tsv (may be absent)",
    read=reading("common-voice", "CC0-1.0", _read),
    benchmark=True,
)
