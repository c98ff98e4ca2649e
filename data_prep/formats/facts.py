"""What the rows of one file have in common, and what every format tells of a row besides its turns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data_prep.formats.base import UNKNOWN, Losses, ReadRows, Row, RowError, shown
from data_prep.formats.json_rows import loads
from data_prep.formats.paths import Places
from data_prep.records import SPLITS, Message, Record

MAX_NAME_LETTERS = 1000
MAX_SECONDS = 1e9
MAX_DEPTH = 64
SPLIT_NAMES = {name: name for name in SPLITS} | dict.fromkeys(("val", "valid", "validation"), "dev")
FACTS = ("id", "source", "task", "split", "licence", "duration", "meta")
"""Names of a record's fields besides its turns, as formats that allow further keys write them."""


class Reading:
    """One file of rows being read."""

    def __init__(self, path: Path, options: ReadRows) -> None:
        self.places = Places(path, options)
        self._options = options
        self._name = path.name.split(".")[0] or "row"
        self._seen: set[str] = set()

    def record(
        self, row: Row, index: str, messages: Sequence[Message], audios: Sequence[str], used: Iterable[str]
    ) -> Record:
        """The record of a row whose turns are read; keys that are neither `used` nor known go into `meta`.

        Raises:
            RecordError: a field is not what it must be.
        """
        meta = self._meta(row, used)
        name = row.get("id")
        if name is None or name == "":
            name = f"{self._name}-{index}"
        else:
            name = self._id(name, index, meta)
        split = _name(row, "split", self._options.split)
        if split not in SPLIT_NAMES:
            raise RowError("split", split, f"must be one of {', '.join(SPLIT_NAMES)}", "name one or leave it out")
        source = _name(row, "source", self._options.source)
        task, licence = _name(row, "task", UNKNOWN), _name(row, "licence", self._options.licence)
        seconds = _seconds(row.get("duration"))
        return Record(name, tuple(messages), tuple(audios), source, task, SPLIT_NAMES[split], licence, seconds, meta)

    def _id(self, given: object, index: str, meta: Row) -> str:
        if isinstance(given, bool) or not isinstance(given, str | int) or not -(10**18) < _number(given) < 10**18:
            raise RowError("id", given, "must be text or a number of at most 18 digits", "write it as text")
        name = str(given)
        if self._options.new_ids:
            meta.setdefault("id", name)
            return f"{self._name}-{index}"
        if len(name) > MAX_NAME_LETTERS:
            raise RowError("id", name, f"may have {MAX_NAME_LETTERS} letters", "read with --new-ids")
        if name in self._seen:
            raise RowError("id", name, "must be unique in a file and occurs twice", "read with --new-ids")
        self._seen.add(name)
        return name

    def _meta(self, row: Row, used: Iterable[str]) -> Row:
        given = row.get("meta")
        if isinstance(given, str):
            try:
                given = loads(given) if given.strip() else None
            except (ValueError, RecursionError) as fault:
                raise RowError("meta", row["meta"], f"must be a JSON object ({fault})", "mend it") from None
        if given is not None and not isinstance(given, dict):
            raise RowError("meta", given, "must be a JSON object", "put single values under names")
        meta = dict(given or {})
        for name in row:
            if name not in FACTS and name not in used:
                if name in meta:
                    raise RowError(name, row[name], "is in 'meta', too", "name it once")
                meta[name] = row[name]
        for name, value in meta.items():
            if isinstance(value, dict | list) and not _shallow(value, MAX_DEPTH):
                raise RowError(f"meta.{shown(name)}", value, f"may be nested {MAX_DEPTH} deep", "write it as text")
        return meta


def _shallow(value: object, depth: int) -> bool:
    """Whether a value has at most so many levels: what is deeper, not every reader of JSON takes."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_shallow(one, depth - 1) for one in inside if isinstance(one, dict | list))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _name(row: Row, field: str, absent: str) -> str:
    value = row.get(field)
    if value is None or value == "":
        return absent
    if not isinstance(value, str) or len(value) > MAX_NAME_LETTERS:
        raise RowError(field, value, f"must be text of at most {MAX_NAME_LETTERS} letters", "name it or leave it out")
    return value


def _seconds(value: object) -> float:
    """Seconds of all recordings together; 0 when nobody tells."""
    if value is None or value == "":
        return 0.0
    if isinstance(value, list) and value and not any(isinstance(one, list) for one in value):
        return sum(_seconds(one) for one in value)
    number: Any = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= MAX_SECONDS:
        raise RowError("duration", value, f"must be seconds from 0 to {MAX_SECONDS:.0f}", "give them or leave it out")
    return number


def text_of(row: Row, field: str) -> str:
    """Text of a field that must be there.

    Raises:
        RowError: it is absent, empty or no text.
    """
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise RowError(field, value, "must be text that is not empty", "write it, or leave the row out")
    return value


def written_facts(record: Record, meta: str) -> Row:
    """All of a record but its turns; `meta` as JSON text, because Arrow wants one type for a column."""
    return {
        "id": record.id,
        "source": record.source,
        "task": record.task,
        "split": record.split,
        "licence": record.licence,
        "duration": record.duration,
        "meta": meta,
    }


def lose_facts(record: Record, losses: Losses, kept: Iterable[str] = ()) -> None:
    """Count what a format without further keys loses of a record, but for what it `kept`."""
    lost = [f"meta.{shown(name)}" for name in record.meta] + ["id"]
    empty = {"split": "train", "licence": UNKNOWN, "source": UNKNOWN, "task": UNKNOWN, "duration": 0}
    lost += [name for name, value in empty.items() if getattr(record, name) != value]
    losses.lose(*(name for name in lost if name not in kept))
