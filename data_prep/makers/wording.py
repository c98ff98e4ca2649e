"""How questions and answers are put: pools of phrasings, read from `manifest/questions/*.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import yaml
from numpy.random import Generator

from data_prep.corpus import MANIFEST_DIR
from data_prep.errors import CorpusError
from data_prep.phrases import capital
from data_prep.records import AUDIO_MARK, SPLITS

QUESTIONS_DIR = MANIFEST_DIR / "questions"
CLOSED_PREFIX = "Closed-ended question: "
"""What LTU writes before questions that have one right answer, so that a model may answer those in few words."""


@dataclass(frozen=True)
class Wording:
    """Phrasings of one question: by split, and the forms of its answers by their name."""

    name: str
    asked: Mapping[str, tuple[str, ...]]
    said: Mapping[str, tuple[str, ...]]

    def ask(self, rng: Generator, split: str, words: Mapping[str, str]) -> str:
        """One phrasing of the split, its blanks filled."""
        return fill(_one(rng, self.asked[split]), words)

    def say(self, rng: Generator, split: str, form: str, words: Mapping[str, str]) -> str:
        """A filled answer; test and dev always use the first form, which says most."""
        forms = self.said[form]
        return fill(_one(rng, forms) if split == "train" else forms[0], words)


def _one(rng: Generator, items: Sequence[str]) -> str:
    return items[int(rng.integers(len(items)))]


def fill(form: str, words: Mapping[str, str]) -> str:
    """The form with its blanks filled; `{X}` is `{x}` with a capital first letter, and so on."""
    return form.format(**words, **{key.upper(): capital(value) for key, value in words.items() if len(key) == 1})


def blanks(form: str) -> frozenset[str]:
    """Names of the blanks of a form, in lower case."""
    return frozenset(name.lower() for _, name, _, _ in Formatter().parse(form) if name)


@cache
def load_book(folder: Path = QUESTIONS_DIR) -> Mapping[str, Wording]:
    """All pools of a folder, by the name of their question.

    Raises:
        CorpusError: a file cannot be read, or a pool has no phrasings for a split, or no answers.
    """
    book: dict[str, Wording] = {}
    for path in sorted(folder.glob("*.yaml")):
        for name, parts in _parsed(path).items():
            if name in book:
                raise CorpusError(f"{path}: the question '{name}' is there twice; names must be unique over all files")
            book[name] = _wording(name, parts, f"{path}: question '{name}'")
    return book


def _parsed(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise CorpusError(f"{path}: cannot read the phrasings ({fault})") from fault
    if not isinstance(found, dict):
        raise CorpusError(f"{path}: must be a mapping from questions to their phrasings")
    return found


def _wording(name: str, parts: object, where: str) -> Wording:
    if not isinstance(parts, dict) or not all(isinstance(text, str) for text in parts.values()):
        raise CorpusError(f"{where}: must be a mapping to texts, one phrasing a line")
    pools = {key: tuple(line.strip() for line in text.splitlines() if line.strip()) for key, text in parts.items()}
    for key in (*SPLITS, "answers"):
        if not pools.get(key):
            raise CorpusError(f"{where}: has no '{key}'; needed are {', '.join(SPLITS)} and answers")
    asked = {split: pools.pop(split) for split in SPLITS}
    return Wording(name, asked, pools)


def plain(text: str) -> str:
    """Text of a source as it may stand in a message: on one line, and without the mark of a recording."""
    while AUDIO_MARK in text:
        text = text.replace(AUDIO_MARK, " ")
    return " ".join(text.split())


def sentence(text: str) -> str:
    """With a capital first letter and a full stop, unless it ends with a mark already."""
    shown = capital(plain(text))
    return shown if re.search(r"[.!?。！？…\"]$", shown) else f"{shown}."


def seconds_text(value: float) -> str:
    """Seconds as they are said: with one decimal."""
    return f"{value:.1f}"


def clock_text(value: float) -> str:
    """A time in a long recording: `4:05` or `1:04:05`."""
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def span_text(onset: float, offset: float) -> str:
    """An interval: `0.5-2.8 s`."""
    return f"{seconds_text(onset)}-{seconds_text(offset)} s"


def distinct(texts: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(texts))
