"""LibriSpeech and LibriTTS: read books with words and speakers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading, sex
from data_prep.readers.rows import Row
from data_prep.samples import Sample, Voice

SPLITS = {
    "train-clean-100": "train", "train-clean-360": "train", "train-other-500": "train",
    "dev-clean": "dev", "dev-other": "dev", "test-clean": "test", "test-other": "test",
}  # fmt: skip
_FOLDERS = ("", "LibriSpeech/", "LibriTTS/", "LibriTTS_R/")


def _speakers(source: Download) -> dict[str, str]:
    """Sex by number of the speaker; lines that begin with a semicolon are remarks, and some names have a bar."""
    path = source.find(*(f"{folder}SPEAKERS.{end}" for folder in _FOLDERS for end in ("TXT", "txt")))
    found = {}
    for line in rows.cells(path, source.name(path), "|", False) if path else ():
        if not isinstance(line, Lost) and len(line[1]) > 2 and not line[1][0].startswith(";"):
            found[line[1][0].strip()] = sex(line[1][1])
    return found


def _words(source: Download, path: Path) -> Iterator[Row | Lost]:
    """One utterance a line: its name, a blank, its words."""
    for line in rows.lines(path, source.name(path)):
        if isinstance(line, Lost):
            yield line
        elif line[1].strip():
            name, _, text = line[1].strip().partition(" ")
            yield Row(f"{source.name(path)}, line {line[0]}", {"id": name, "text": text})


def _librispeech(source: Download) -> Found:
    speakers = _speakers(source)
    for own, split, folder in source.present(SPLITS, "LibriSpeech/{}", "{}"):
        for path in source.files(folder, ".trans.txt"):
            make = partial(_line, source, speakers, source.name(path.parent), own, split)
            yield from source.each(_words(source, path), make)


def _line(source: Download, speakers: dict[str, str], folder: str, own: str, split: str, row: Row) -> Sample:
    name = row.text("id")
    speaker = name.split("-")[0]
    return source.sample(
        name,
        source.recording(f"{folder}/{name}.flac"),
        split,
        group=f"speaker {speaker}",
        transcript=row.text("text"),
        language="en",
        voice=Voice(speaker, speakers.get(speaker, "")),
        extras={"part": own},
    )


def _libritts(source: Download) -> Found:
    speakers = _speakers(source)
    for own, split, folder in source.present(SPLITS, "LibriTTS/{}", "LibriTTS_R/{}", "{}"):
        for path in source.files(folder, ".wav"):
            yield source.one(source.name(path), _utterance, source, speakers, path, own, split)


def _utterance(source: Download, speakers: dict[str, str], path: Path, own: str, split: str) -> Sample:
    """The texts lie beside each recording."""
    stem = path.with_suffix("")
    texts = {}
    for form in ("normalized", "original"):
        beside = stem.with_name(f"{stem.name}.{form}.txt")
        if beside.is_file():
            texts[form] = " ".join(rows.whole_text(beside, source.name(beside)).split())
    if "normalized" not in texts:
        raise rows.RowError(rows.MISSING, f"no {stem.name}.normalized.txt beside the recording")
    speaker = stem.name.split("_")[0]
    return source.sample(
        stem.name,
        source.recording(source.name(path)),
        split,
        group=f"speaker {speaker}",
        transcript=Row(source.name(path), texts).text("normalized"),
        language="en",
        voice=Voice(speaker, speakers.get(speaker, "")),
        extras={"part": own, "original": texts.get("original", "")},
    )


LIBRISPEECH = Source(
    name="librispeech",
    title="LibriSpeech",
    licence="CC BY 4.0",
    home="https://www.openslr.org/12",
    how_to_get="the .tar.gz of each part, unpacked (folder LibriSpeech/)",
    size="982 hours, 292,367 utterances, 2,484 speakers",
    tells=("transcript", "language", "voice", "group", "extras"),
    layout="LibriSpeech/PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt\n"
    "LibriSpeech/PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER-0000.flac\nLibriSpeech/SPEAKERS.TXT (may be absent)",
    read=reading("librispeech", "CC BY 4.0", _librispeech),
    splits=tuple(SPLITS),
    benchmark=True,
)

LIBRITTS = Source(
    name="libritts",
    title="LibriTTS and LibriTTS-R",
    licence="CC BY 4.0",
    home="https://www.openslr.org/60",
    how_to_get="the .tar.gz of each part, unpacked (folder LibriTTS/ or, from openslr.org/141, LibriTTS_R/)",
    size="585 hours, 2,456 speakers, 24 kHz, with punctuation",
    tells=("transcript", "language", "voice", "group", "extras"),
    layout="LibriTTS/PART/SPEAKER/CHAPTER/NAME.wav\nLibriTTS/PART/SPEAKER/CHAPTER/NAME.normalized.txt\n"
    "LibriTTS/PART/SPEAKER/CHAPTER/NAME.original.txt (may be absent)\nLibriTTS/SPEAKERS.txt (may be absent)",
    read=reading("libritts", "CC BY 4.0", _libritts),
    splits=tuple(SPLITS),
)
