"""AudioSet's ontology: names of codes, and which sounds are kinds of which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.readers.base import Lost
from data_prep.readers.sounds.tables import Row, good_rows, json_file, table


@dataclass(frozen=True)
class SoundOntology:
    """Names of codes such as `/m/0bt9lr`; above and below are known where `ontology.json` is there."""

    names: Mapping[str, str]
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    abstract: frozenset[str] = frozenset()
    """Codes that only group others and label no recording."""

    def above(self, codes: Iterable[str]) -> tuple[str, ...]:
        """Names of all kinds that these are kinds of, without themselves: what is there although nobody says so."""
        given = tuple(codes)
        waiting, found = list(given), dict[str, None]()
        while waiting:
            for parent in self.parents.get(waiting.pop(), ()):
                if parent not in found:
                    found[parent] = None
                    waiting.append(parent)
        return tuple(self.names[c] for c in found if c in self.names and c not in given and c not in self.abstract)


def read_ontology(root: Path) -> SoundOntology:
    """All that the lists of names in a download say.

    Raises:
        CorpusError: there is none of `class_labels_indices.csv`, `mid_to_display_name.tsv`, `ontology.json`, or one
            is not what it must be.
    """
    names: dict[str, str] = {}
    full = _full(root / "ontology.json") if (root / "ontology.json").is_file() else SoundOntology({})
    names.update(full.names)
    if (weak := root / "class_labels_indices.csv").is_file():
        names.update(_pairs(table(weak, needs=("index", "mid", "display_name"))))
    if (strong := root / "mid_to_display_name.tsv").is_file():
        names.update(_pairs(table(strong, columns=("mid", "display_name"), delimiter="\t")))
    if not names:
        listed = "class_labels_indices.csv, mid_to_display_name.tsv or ontology.json"
        raise CorpusError(f"{root}: no {listed}; codes such as /m/0bt9lr have no names without one of them")
    return SoundOntology(names, full.parents, full.abstract)


def _pairs(rows: Iterable[Row | Lost]) -> dict[str, str]:
    good = good_rows(rows, "without a name, every recording with its code is lost")
    return {row.text("mid"): row.text("display_name") for row in good}


def _full(path: Path) -> SoundOntology:
    if not isinstance(entries := json_file(path), list):
        raise CorpusError(f"{path}: holds a {type(entries).__name__}, but must hold a list")
    names, abstract = {}, set()
    parents: dict[str, list[str]] = {}
    for number, entry in enumerate(entries, start=1):
        row = Row(f"{path}, entry {number}", entry if isinstance(entry, Mapping) else {})
        code = row.text("id")
        names[code] = row.text("name")
        for child in row.texts("child_ids"):
            parents.setdefault(child, []).append(code)
        if "abstract" in row.texts("restrictions"):
            abstract.add(code)
    return SoundOntology(names, {child: tuple(codes) for child, codes in parents.items()}, frozenset(abstract))
