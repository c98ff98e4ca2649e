"""Speech Commands: single words by many speakers."""

from __future__ import annotations

from pathlib import PurePosixPath

from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import RowError
from data_prep.samples import Sample, Voice

SPLITS = {"train": "train", "validation": "dev", "testing": "test"}
"""What neither list names is for training."""


def _word(source: Download, place: str, split: str) -> Sample:
    parts = PurePosixPath(place.replace("\\", "/")).parts
    if len(parts) < 2 or parts[-2].startswith("_"):
        raise RowError("not a word", "background noise, or no folder that names a word")
    word, speaker = parts[-2], parts[-1].partition("_nohash_")[0]
    return source.sample(
        "/".join(parts[-2:]),
        source.recording(place),
        split,
        group=speaker,
        labels=(word,),
        label_set="speech-commands",
        transcript=word,
        language="en",
        voice=Voice(speaker),
    )


def _listed(source: Download, own: str) -> list[tuple[str, str] | Lost]:
    """Place in the list and path of each recording that it names."""
    path = source.place(f"{own}_list.txt")
    name = source.name(path)
    found: list[tuple[str, str] | Lost] = []
    for line in rows.lines(path, name):
        if isinstance(line, Lost):
            found.append(line)
        elif line[1].strip():
            found.append((f"{name}, line {line[0]}", line[1].strip()))
    return found


def _read(source: Download) -> Found:
    wanted = source.parts(SPLITS)
    elsewhere = set()
    for own, split in (("validation", "dev"), ("testing", "test")):
        for one in _listed(source, own):
            elsewhere.add("" if isinstance(one, Lost) else one[1])
            if own in wanted:
                yield one if isinstance(one, Lost) else source.one(one[0], _word, source, one[1], split)
    for path in source.files(source.root, ".wav") if "train" in wanted else ():
        if (place := source.name(path)) not in elsewhere:
            yield source.one(place, _word, source, place, "train")


SPEECH_COMMANDS = Source(
    name="speech-commands",
    title="Speech Commands",
    licence="CC BY 4.0",
    home="https://www.tensorflow.org/datasets/catalog/speech_commands",
    how_to_get="speech_commands_v0.02.tar.gz (or v0.01), unpacked",
    size="105,829 recordings of 35 words, 2,618 speakers (v0.02)",
    tells=("labels", "transcript", "language", "voice", "group"),
    layout="WORD/SPEAKER_nohash_0.wav\nvalidation_list.txt\ntesting_list.txt",
    read=reading("speech-commands", "CC BY 4.0", _read),
    splits=tuple(SPLITS),
    benchmark=True,
)
