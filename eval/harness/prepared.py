"""A prepared benchmark on disk: `bench.json`, `items.jsonl`, `labels/NAME.json`; no recordings, only their paths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from alm.errors import RecordError
from eval.harness.items import BenchCard, Clip, Item
from eval.kinds.base import LabelSet, Surroundings

CARD, ITEMS, LABELS = "bench.json", "items.jsonl", "labels"


@dataclass(frozen=True)
class Prepared:
    """One benchmark, ready to be asked."""

    folder: Path
    card: BenchCard
    items: tuple[Item, ...]
    around: Surroundings

    def place_of(self, clip: Clip) -> Path:
        """Where a recording is."""
        return self.folder / self.card.data_root / clip.path

    @property
    def hash(self) -> str:
        """Of the items and labels: another hash is another test."""
        return content_hash(self.items, self.around.label_sets)


def content_hash(items: Iterable[Item], label_sets: Mapping[str, LabelSet]) -> str:
    """Independent of the order of the items."""
    digest = hashlib.sha256()
    for line in sorted(i.model_dump_json() for i in items):
        digest.update(line.encode() + b"\n")
    for name in sorted(label_sets):
        digest.update(json.dumps([name, sorted(label_sets[name].labels.items())]).encode())
    return digest.hexdigest()[:16]


def write_prepared(
    folder: Path, card: BenchCard, items: Iterable[Item], label_sets: Iterable[LabelSet] = ()
) -> Prepared:
    """Write a prepared benchmark, the card last: a folder with a card is whole.

    Raises:
        RecordError: two items have the same id, or their number is not the card's.
    """
    kept = tuple(items)
    _check_ids(kept, folder)
    if len(kept) != card.items:
        raise RecordError(f"{folder}: {len(kept)} items were made but the card says {card.items}")
    (folder / LABELS).mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    for one in label_sets:
        text = json.dumps(one.labels, indent=1, ensure_ascii=False) + "\n"
        (folder / LABELS / f"{one.name}.json").write_text(text, encoding="utf-8")
    lines = "".join(i.model_dump_json() + "\n" for i in kept)
    (folder / ITEMS).write_text(lines, encoding="utf-8")
    (folder / CARD).write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return read_prepared(folder)


def read_prepared(folder: Path) -> Prepared:
    """
    Raises:
        RecordError: there is no prepared benchmark, or a line of it is wrong.
    """
    try:
        card = BenchCard.model_validate_json((folder / CARD).read_bytes())
    except OSError:
        raise RecordError(f"{folder}: no {CARD}; make it with `alm eval prepare NAME --from DIR --out DIR`") from None
    except ValidationError as error:
        raise RecordError(f"{folder / CARD}: {_first(error)}; prepare the benchmark again") from error
    items = tuple(_items(folder / ITEMS))
    _check_ids(items, folder)
    if len(items) != card.items:
        raise RecordError(f"{folder / ITEMS}: {len(items)} items but {CARD} says {card.items}; prepare it again")
    return Prepared(folder, card, items, Surroundings({p.stem: _label_set(p) for p in _label_files(folder)}))


def _items(path: Path) -> Iterator[Item]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Item.model_validate_json(line)
            except ValidationError as error:
                raise RecordError(f"{path}, line {number}: {_first(error)}; prepare the benchmark again") from error


def _label_files(folder: Path) -> list[Path]:
    return sorted((folder / LABELS).glob("*.json"))


def _label_set(path: Path) -> LabelSet:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return LabelSet(path.stem, {str(k): tuple(map(str, v)) for k, v in found.items()})
    except (ValueError, AttributeError, TypeError) as error:
        raise RecordError(f"{path}: not a set of labels ({error}); prepare the benchmark again") from error


def _check_ids(items: Iterable[Item], folder: Path) -> None:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise RecordError(f"{folder}: two items are called {item.id!r}")
        seen.add(item.id)


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
