"""The classes of everyday sounds, effects and instruments: names, groups, caption phrases, synonyms, near relations."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data_prep.corpus import MANIFEST_DIR
from data_prep.errors import CorpusError

CLASSES_FILE = MANIFEST_DIR / "classes.csv"
COLUMNS = ("class", "group", "phrase", "synonyms", "merges", "near", "repeats")
SPEECH_CLASS = "speech"
MUSIC_GROUPS = ("instrument", "music")

LANGUAGES = {
    "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fi": "Finnish", "fr": "French", "ga": "Irish",
    "gl": "Galician", "he": "Hebrew", "hu": "Hungarian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "lt": "Lithuanian", "ml": "Malayalam", "nb": "Norwegian", "nds": "Low German", "nl": "Dutch", "nn": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sl": "Slovenian", "sr": "Serbian",
    "sv": "Swedish", "tn": "Tswana", "uk": "Ukrainian", "wa": "Walloon", "zh": "Mandarin Chinese",
}  # fmt: skip


def language_name(code: str) -> str:
    """English name of a language code (`pt_BR` -> Portuguese), or '' when unknown."""
    return LANGUAGES.get(code.replace("-", "_").split("_")[0].lower(), "")


@dataclass(frozen=True)
class SoundClass:
    """One class; `phrase` completes the sentence "I hear ..."."""

    name: str
    group: str
    phrase: str
    synonyms: tuple[str, ...]
    """Words that a correct free answer may use instead of the name."""
    merges: tuple[str, ...]
    """Finer or older labels that count as this class."""
    near: tuple[str, ...]
    """Classes that a fair listener may not tell apart or that overlap; `*group` is a whole group."""
    repeats: bool
    """Whether one event is short and separate, so that events can be counted."""


@dataclass(frozen=True)
class Ontology:
    """All classes, in file order."""

    classes: tuple[SoundClass, ...]

    @cached_property
    def by_name(self) -> dict[str, SoundClass]:
        """Class by name."""
        return {item.name: item for item in self.classes}

    @cached_property
    def _label_to_class(self) -> dict[str, str]:
        table = {label: item.name for item in self.classes for label in item.merges}
        return table | {item.name: item.name for item in self.classes}

    def class_of(self, label: str) -> str:
        """The class that a label means, or ''."""
        return self._label_to_class.get(label, "")

    def classes_of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Classes of several labels, each once, unknown ones left out."""
        return tuple(dict.fromkeys(name for name in map(self.class_of, labels) if name))

    @cached_property
    def _confusable(self) -> dict[str, frozenset[str]]:
        related: dict[str, set[str]] = {item.name: {item.name} for item in self.classes}
        for item in self.classes:
            for entry in item.near:
                others = [entry] if not entry.startswith("*") else self.in_group(entry[1:])
                for other in others:
                    related[item.name].add(other)
                    related[other].add(item.name)
        return {name: frozenset(others) for name, others in related.items()}

    def confusable(self, name: str) -> frozenset[str]:
        """The class itself and all classes that must not serve as its opposite."""
        return self._confusable[name]

    def in_group(self, group: str) -> list[str]:
        """Names of the classes of one group."""
        return [item.name for item in self.classes if item.group == group]

    def opposites(self, present: Iterable[str], among: Iterable[str]) -> list[str]:
        """Those of `among` that are surely absent when `present` are present."""
        excluded = frozenset[str]().union(*(self.confusable(name) for name in present))
        return [name for name in among if name not in excluded]


def _row_to_class(row: dict[str, str], where: str) -> SoundClass:
    if any(row.get(name) is None for name in COLUMNS) or not (row["class"] and row["group"] and row["phrase"]):
        raise CorpusError(f"{where}: a class needs the columns {', '.join(COLUMNS)}, the first three not empty")
    return SoundClass(
        name=row["class"],
        group=row["group"],
        phrase=row["phrase"],
        synonyms=_parts(row["synonyms"]),
        merges=_parts(row["merges"]),
        near=_parts(row["near"]),
        repeats=row["repeats"] == "1",
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("|") if part)


def load_ontology(path: Path = CLASSES_FILE) -> Ontology:
    """The classes of a CSV file; raises `CorpusError` for doubles and unknown relations."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    classes = tuple(_row_to_class(row, f"{path}:{line}") for line, row in enumerate(rows, start=2))
    names = {item.name for item in classes}
    groups = {f"*{item.group}" for item in classes}
    if len(names) != len(classes):
        raise CorpusError(f"{path}: a class is listed twice")
    for item in classes:
        unknown = set(item.near) - names - groups
        if unknown:
            raise CorpusError(f"{path}: class '{item.name}' is near to unknown {', '.join(sorted(unknown))}")
    return Ontology(classes)
