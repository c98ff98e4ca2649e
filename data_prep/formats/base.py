"""What a format of rows is: how a file of another project is read as records, and written from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alm.errors import RecordError
from data_prep.records import Record

UNKNOWN = "unknown"
"""Source, task and licence of a row that does not tell them."""
SHOWN, SHOWN_IN_ALL = 20, 200
LOOKED_FOR = 20
"""Recordings of the first rows that are looked for, whether asked to or not."""
MAX_NAMES = 1000
LETTERS_SHOWN = 80
Row = dict[str, Any]


@dataclass(frozen=True)
class ReadRows:
    """How to read a file of rows."""

    audio_root: Path | None = None
    """Where relative paths begin; None: the folder of the file."""
    path_map: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of paths written in the file, and what they are replaced by."""
    check_files: bool = False
    """Whether a recording that is not there makes its row a bad one."""
    split: str = "train"
    """Of rows that tell none; so are the next two."""
    source: str = UNKNOWN
    licence: str = UNKNOWN
    new_ids: bool = False
    """Number the rows anew; an id that a row has stays in `meta.id`."""
    advance: Callable[[int], None] = lambda done: None
    """Called with numbers of bytes read."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be a record, and what to do about it; never passed over in silence."""

    file: str
    index: int
    """Of the row in the file, from 1."""
    line: int | None
    """Where the row begins, from 1; None where the file has no lines."""
    field: str
    value: str
    """The beginning of it."""
    rule: str
    """What it must be."""
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: row {self.index}: field '{self.field}' is {self.value!r}; it {self.rule}; {self.remedy}"


class RowError(RecordError):
    """A value of a row that cannot be used, before it is known which row of which file it is in."""

    def __init__(self, name: str, value: object, rule: str, remedy: str = "") -> None:
        super().__init__(f"field '{name}' is {shown(value)!r}; it {rule}")
        self.name, self.value, self.rule, self.remedy = name, value, rule, remedy


def shown(value: object) -> str:
    """The beginning of a value, for a message."""
    if isinstance(value, str):
        return value[:LETTERS_SHOWN]
    if isinstance(value, list | tuple):
        inside = [one[:LETTERS_SHOWN] if isinstance(one, str) else type(one).__name__ for one in value[:3]]
        return f"a list of {len(value)}: {', '.join(inside)}"[:LETTERS_SHOWN]
    if isinstance(value, dict):
        return f"an object of {len(value)}: {', '.join(str(name) for name in value)}"[:LETTERS_SHOWN]
    if isinstance(value, int) and abs(value) >> 256:
        return "a number of many digits"
    return str(value)[:LETTERS_SHOWN]


def counted(counts: Counter[str], name: str) -> str:
    """Count one more of `name`, or of `other fields` once there are too many names; gives what was counted."""
    name = name if name in counts or len(counts) < MAX_NAMES else "other fields"
    counts[name] += 1
    return name


@dataclass
class Losses:
    """What a written file does not hold of the records; the numbers add up to the records given."""

    target: str
    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Records that the target cannot hold at all, by reason; they are not in the file."""
    fields: Counter[str] = field(default_factory=Counter)
    """Written records that lost the value of a field, by field."""
    shown: list[str] = field(default_factory=list)
    """The first refused ones, with their reason."""

    def refuse(self, record: Record, reason: str) -> None:
        """A record cannot be held."""
        counted(self.refused, reason)
        if len(self.shown) < SHOWN:
            self.shown.append(f"record '{record.id[:LETTERS_SHOWN]}': {reason}")

    def lose(self, *names: str) -> None:
        """One record is written without these."""
        for name in names:
            counted(self.fields, name)

    def __bool__(self) -> bool:
        return bool(self.refused or self.fields)


@dataclass(frozen=True)
class Raw:
    """A parsed row that nothing has looked into."""

    index: int
    line: int | None
    value: Any


ReadContainer = Callable[[Path, ReadRows], Iterator[Raw | BadRow]]
WriteContainer = Callable[[Path, Iterable[Row]], None]


@dataclass
class RowReport:
    """What a reading brought; `good` and `bad` add up to the rows of the file (CompA-R: to its pairs)."""

    good: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    """By field."""
    splits: Counter[str] = field(default_factory=Counter)
    shown: list[BadRow] = field(default_factory=list)
    """The first of each field."""
    looked: int = 0
    """Recordings looked for, the first ones."""
    gone: list[str] = field(default_factory=list)
    """Those of them that are not there."""

    def taken(self, rows: Iterable[Record | BadRow]) -> Iterator[Record]:
        """The records among `rows`; the others are counted."""
        for one in rows:
            if isinstance(one, Record):
                self.good += 1
                self.splits[one.split] += 1
                self._look_for(one.audios[: LOOKED_FOR - self.looked])
                yield one
            else:
                name = counted(self.bad, one.field)
                if self.bad[name] <= SHOWN and len(self.shown) < SHOWN_IN_ALL:
                    self.shown.append(one)

    def _look_for(self, audios: Sequence[str]) -> None:
        self.looked += len(audios)
        self.gone += [a for a in audios if Path(a).is_absolute() and not Path(a).is_file()]  # others are addresses
