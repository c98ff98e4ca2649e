"""IEMOCAP: acted and improvised dialogues with emotions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import Row
from data_prep.samples import Sample, Voice

SPLITS = {"Session1": "train", "Session2": "train", "Session3": "train", "Session4": "train", "Session5": "test"}
"""There are no official splits; to test on the fifth session is what LTU-AS and others do."""
EMOTIONS = {
    "ang": "angry", "dis": "disgusted", "exc": "excited", "fea": "fearful", "fru": "frustrated", "hap": "happy",
    "neu": "neutral", "oth": "other", "sad": "sad", "sur": "surprised", "xxx": "",
}  # fmt: skip
"""`xxx`: the annotators did not agree."""
_TURN = re.compile(r"\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\t(\S+)\t(\w+)\t\[([\d.]+), ([\d.]+), ([\d.]+)\]")
_WORDS = re.compile(r"(\S+) \[[\d.]+-[\d.]+\]:\s*(.*)")
_SCORES = ("valence", "activation", "dominance")
_FIELDS = ("start", "end", "turn", "emotion", *_SCORES)


def _turns(source: Download, path: Path) -> Iterator[Row | Lost]:
    """Lines with the verdict on each turn; the opinions of single annotators between them are passed over."""
    for line in rows.lines(path, source.name(path)):
        if isinstance(line, Lost):
            yield line
        elif line[1].startswith("[") and "START_TIME" not in line[1] and "%" not in line[1][:2]:
            where = f"{source.name(path)}, line {line[0]}"
            found = _TURN.match(line[1])
            if found:
                yield Row(where, dict(zip(_FIELDS, found.groups(), strict=True)))
            else:
                yield Lost(rows.BAD_ROW, where, "must be [start - end], turn, emotion, [three scores]")


def _transcripts(source: Download, path: Path) -> dict[str, str]:
    """Words by turn."""
    found = {}
    for line in rows.lines(path, source.name(path)) if path.is_file() else ():
        if not isinstance(line, Lost) and (match := _WORDS.match(line[1].strip())):
            found[match[1]] = match[2]
    return found


def _turn(source: Download, folder: str, split: str, words: dict[str, str], row: Row) -> Sample:
    turn, code = row.text("turn"), row.text("emotion")
    if code not in EMOTIONS:
        raise row.fault("emotion", f"must be one of {', '.join(EMOTIONS)}", rows.UNKNOWN)
    dialogue, _, voice = turn.rpartition("_")
    sex = {"F": "female", "M": "male"}.get(voice[:1], "")
    return source.sample(
        turn,
        source.recording(f"{folder}/sentences/wav/{dialogue}/{turn}.wav"),
        split,
        group=turn[:5],
        seconds=round(row.number("end") - row.number("start"), 6),
        transcript=Row(row.where, {"words": words.get(turn, "")}).text("words", ""),
        language="en",
        voice=Voice(
            f"{turn[:5]} {voice[:1]}", sex, emotion=EMOTIONS[code], emotion_scores={s: row.number(s) for s in _SCORES}
        ),
        extras={"improvised": "impro" in turn},
    )


def _session(source: Download, folder: Path, split: str) -> Found:
    below = source.name(folder)
    for path in source.files(source.place(f"{below}/dialog/EmoEvaluation"), ".txt"):
        if path.parent.name != "EmoEvaluation":
            continue
        words = _transcripts(source, folder / "dialog" / "transcriptions" / path.name)
        yield from source.each(_turns(source, path), partial(_turn, source, below, split, words))


def _read(source: Download) -> Found:
    for _, split, folder in source.present(SPLITS, "{}", "IEMOCAP_full_release/{}"):
        try:
            yield from _session(source, folder, split)
        except CorpusError:
            if source.options.splits:
                raise
            yield Lost(rows.MISSING, source.name(folder), "has no dialog/EmoEvaluation")


IEMOCAP = Source(
    name="iemocap",
    title="IEMOCAP",
    licence="IEMOCAP release agreement: research, no passing on",
    home="https://sail.usc.edu/iemocap/iemocap_release.htm",
    how_to_get="ask for it on the page; unpack IEMOCAP_full_release.tar.gz",
    size="12 hours, 10,039 turns, 10 speakers",
    tells=("voice", "transcript", "language", "seconds", "group", "extras"),
    layout="SessionN/dialog/EmoEvaluation/DIALOGUE.txt (also below IEMOCAP_full_release/)\n"
    "SessionN/dialog/transcriptions/DIALOGUE.txt\nSessionN/sentences/wav/DIALOGUE/TURN.wav",
    read=reading("iemocap", "IEMOCAP release agreement", _read),
    splits=tuple(SPLITS),
    benchmark=True,
)
