"""Labels in words, and which of them must never stand against each other."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.makers.wording import plain
from data_prep.ontology import Ontology, load_ontology

MAX_HIERARCHY_BYTES = 64_000_000
RELATIONS_KEPT = 262_144
EVERYWHERE = frozenset(
    "a an and at by for from in into of on or the to with sound sounds noise noises music musical playing other others "
    "person people human instrument instruments small large close far effect effects unknown object".split()
)
"""Words that say too little to make two labels related."""


def words_of(label: str) -> frozenset[str]:
    """Stems of the telling words of a label."""
    found = re.findall(r"[^\W\d_]+", label.lower())
    return frozenset(_stem(word) for word in found if word not in EVERYWHERE)


def _stem(word: str) -> str:
    """Roughly: `barking`, `barks` and `barked` become `bark`."""
    for ending in ("ing", "ers", "er", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


@dataclass(frozen=True, eq=False)
class Names:
    """Phrases and relations of labels: the project's classes, AudioSet's hierarchy where given, and words in common."""

    ontology: Ontology
    ancestors: Mapping[str, frozenset[str]]
    """Label in lower case: all labels above it."""

    def phrase(self, label: str) -> str:
        """What completes "I hear ...": the phrase of one of the project's classes, else the label as it is written."""
        known = self.ontology.by_name.get(label)
        if known is not None:
            return known.phrase
        return self.name(label)

    def name(self, label: str) -> str:
        """The label itself, fit to be read."""
        return label if label in self.ontology.by_name else lower_first(plain(label.replace("_", " ")))

    def accepted(self, label: str) -> list[str]:
        """Other words for the label that a right answer may use."""
        known = self.ontology.by_name.get(label)
        return [known.phrase, *known.synonyms] if known is not None else [self.phrase(label)]

    def group(self, label: str) -> str:
        """The group of one of the project's classes, else ''."""
        known = self.ontology.by_name.get(label)
        return known.group if known is not None else ""

    def countable(self, label: str) -> bool:
        """Whether one event of the label is short and separate, as far as is known."""
        known = self.ontology.by_name.get(label)
        return known is None or known.repeats

    def related(self, label: str, other: str) -> bool:
        """Whether one may be heard as the other, or names the other in part."""
        return _related(self, label, other)

    def absent(self, present: Collection[str], among: Collection[str]) -> list[str]:
        """Those of `among` that are related to none of `present`, in their order."""
        return [name for name in among if not any(_related(self, name, other) for other in present)]


@lru_cache(maxsize=RELATIONS_KEPT)
def _related(names: Names, label: str, other: str) -> bool:
    ontology = names.ontology
    if label == other:
        return True
    if label in ontology.by_name and other in ontology.by_name:
        return other in ontology.confusable(label)
    first, second = label.lower(), other.lower()
    if second in names.ancestors.get(first, ()) or first in names.ancestors.get(second, ()):
        return True
    classes = ontology.class_of(first), ontology.class_of(second)
    if all(classes) and classes[1] in ontology.confusable(classes[0]):
        return True
    return bool(words_of(label) & words_of(other))


def lower_first(text: str) -> str:
    """`Dog` becomes `dog`, `UFO` and `I` stay."""
    word = text.split(" ", 1)[0]
    return text if word[1:] != word[1:].lower() or len(word) == 1 else text[:1].lower() + text[1:]


@cache
def load_names(hierarchy: str = "") -> Names:
    """The project's classes, with the hierarchy of an AudioSet `ontology.json` when its path is given."""
    return Names(load_ontology(), _read_hierarchy(Path(hierarchy)) if hierarchy else {})


def _read_hierarchy(path: Path) -> Mapping[str, frozenset[str]]:
    try:
        if path.stat().st_size > MAX_HIERARCHY_BYTES:
            raise CorpusError(f"{path}: is larger than {MAX_HIERARCHY_BYTES} bytes; give AudioSet's ontology.json")
        rows = json.loads(path.read_text(encoding="utf-8"))
        names = {row["id"]: str(row["name"]).lower() for row in rows}
        parents: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            for child in row.get("child_ids", ()):
                parents[names[child]].add(names[row["id"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise CorpusError(f"{path}: is not AudioSet's ontology ({fault!r}); give its ontology.json") from fault
    return {name: _above(name, parents) for name in names.values()}


def _above(name: str, parents: Mapping[str, set[str]]) -> frozenset[str]:
    """All that is reached by going up; a circle ends where it began."""
    found: set[str] = set()
    left = list(parents.get(name, ()))
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += parents.get(one, ())
    return frozenset(found - {name})
