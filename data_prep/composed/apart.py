"""Which labels can be told apart: two that a listener may take for each other are never in one scene."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data_prep.composed.plan import PLANS_DIR
from data_prep.ontology import Ontology, load_ontology

FAMILIES_FILE = PLANS_DIR / "families.csv"
EMPTY_WORDS = frozenset("a an and at by from in into of off on or other over the to with sound small large".split())
SPEECH, MUSIC = "speech", "music"


@dataclass(frozen=True)
class Apart:
    """Decides by words that labels share, by families of words, and by the classes of the project where both are."""

    families: dict[str, tuple[str, ...]]
    """Beginnings of words, by the name of their family."""
    ontology: Ontology

    def families_of(self, label: str) -> frozenset[str]:
        """Families that a label has a word of."""
        words = _words(label)
        return frozenset(
            name for name, starts in self.families.items() if any(w.startswith(s) for w in words for s in starts)
        )

    def confusable(self, one: str, other: str) -> bool:
        """Whether one might be taken for the other."""
        if one == other or _words(one) & _words(other) or self.families_of(one) & self.families_of(other):
            return True
        first, second = self.ontology.class_of(one), self.ontology.class_of(other)
        return bool(first and second) and second in self.ontology.confusable(first)

    def opposites(self, present: Iterable[str], among: Iterable[str]) -> list[str]:
        """Those of `among` that cannot be taken for any of `present`."""
        heard = list(present)
        return [name for name in among if not any(_confusable(self, name, one) for one in heard)]

    def __hash__(self) -> int:
        return id(self)


@cache
def _confusable(apart: Apart, one: str, other: str) -> bool:
    return apart.confusable(one, other)


@cache
def _words(label: str) -> frozenset[str]:
    """Words that matter, without the ending of the plural."""
    words = re.findall(r"[^\W_]+", label.lower())
    return frozenset(word[:-1] if len(word) > 3 and word[-1] == "s" else word for word in words) - EMPTY_WORDS


@cache
def load_apart(path: Path = FAMILIES_FILE) -> Apart:
    """The families of a CSV file, with the classes of the project."""
    with path.open(encoding="utf-8", newline="") as stream:
        families = {row["family"]: tuple(row["beginnings"].split("|")) for row in csv.DictReader(stream)}
    return Apart(families, load_ontology())
