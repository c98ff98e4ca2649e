"""What a batch knows of its rows, in a temporary database on disk: a million rows need no memory to speak of."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType

from alm.errors import ConfigError, RecordError
from serve.batch.journal import Entry
from serve.batch.readers import Record
from serve.batch.rows import Line, fingerprint
from serve.batch.sources import ContentIds, Source

_CHUNK_ROWS = 1000
_MAX_COLUMNS = 1000
_SCHEMA = """
CREATE TABLE input (number INTEGER PRIMARY KEY, key BLOB UNIQUE, id BLOB, print BLOB, mine INTEGER);
CREATE TABLE made (key BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID;
CREATE TABLE done
  (key BLOB PRIMARY KEY, id BLOB, print BLOB, failed INTEGER, file INTEGER, place INTEGER) WITHOUT ROWID;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -16384;
"""


@dataclass(frozen=True)
class Shard:
    """The `number`th of `count` parts of the rows, told by the hash of their ids."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Of `2/8`. Raises: ConfigError."""
        first, slash, last = text.partition("/")
        with suppress(ValueError):
            number, count = int(first), int(last)
            if slash and 1 <= number <= count <= 2**31:
                return cls(number, count)
        raise ConfigError(f"--shard {text[:40]!r}: give a part and their number, 1/4 to 4/4")

    def holds(self, key: bytes) -> bool:
        return int.from_bytes(key[:8], "big") % self.count == self.number - 1


@dataclass(frozen=True)
class Counts:
    """Of the rows of the shard."""

    total: int
    done: int
    failed: int


def key_of(identity: str) -> bytes:
    """What rows are compared and sharded by."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()[:16]


class Index:
    """The rows of the input and those of the output; closed, it is gone."""

    def __init__(self, source: Source, shard: Shard = Shard()) -> None:
        self.source, self.shard = source, shard
        self.columns: dict[str, None] = {}
        """Names of the fields that were met, in the order of their coming; of the first thousand."""
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.executescript(_SCHEMA)

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def read_input(self) -> None:
        """Take in every row of the input.

        Raises:
            RecordError: it is damaged, or two rows have the same id.
        """
        ids = ContentIds(self.source)
        records = self.source.records()
        while chunk := list(islice(records, _CHUNK_ROWS)):
            rows = [self._input_row(record, ids) for record in chunk]
            before = self._base.total_changes
            self._base.execute("BEGIN")
            self._base.executemany("INSERT OR IGNORE INTO input VALUES (?, ?, ?, ?, ?)", rows)
            self._base.execute("COMMIT")
            if self._base.total_changes - before != len(rows):
                self._refuse_repeated(rows)

    def read_done(self, entries: Iterable[Entry], file: int = 0) -> None:
        """Take in finished rows of an output; of two with one id, an answer beats an error, and the later one wins."""
        rows = (
            (key_of(e.id), _stored(e.id), bytes.fromhex(e.fingerprint)[:16], e.failed, file, e.place) for e in entries
        )
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            self._base.execute("BEGIN")
            self._base.executemany(
                "INSERT INTO done VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
                "SET (print, failed, file, place) = (excluded.print, excluded.failed, excluded.file, excluded.place) "
                "WHERE excluded.failed <= failed",
                chunk,
            )
            self._base.execute("COMMIT")

    def forget_done(self) -> None:
        """Let go of the finished rows, to take them in anew."""
        self._base.execute("DELETE FROM done")

    def check(self, output: Path) -> None:
        """Whether the output belongs to the input.

        Raises:
            RecordError: it holds an id that was answered from another row, or is not in the input.
        """
        changed = "SELECT input.id, number FROM input JOIN done USING (key) WHERE input.print != done.print LIMIT 1"
        for identity, number in self._base.execute(changed):
            raise RecordError(
                f"{output}: the row {_told(identity)!r} was answered from another row than {self.source.unit} {number} "
                f"of {self.source.path.name} holds now; use another output file, or another id for the changed row"
            )
        strange = "SELECT done.id FROM done LEFT JOIN input USING (key) WHERE input.key IS NULL LIMIT 1"
        for (identity,) in self._base.execute(strange):
            raise RecordError(
                f"{output}: holds the row {_told(identity)!r}, which {self.source.path.name} does not; choose another "
                "output file (or --retry-errors, if a recording was missing before)"
            )

    def counts(self) -> Counts:
        query = (
            "SELECT count(*), count(done.key), coalesce(sum(done.failed), 0) "
            "FROM input LEFT JOIN done USING (key) WHERE mine"
        )
        return Counts(*self._base.execute(query).fetchone())

    def open_lines(self) -> Iterator[Line]:
        """Rows of the shard that the output does not hold, in order."""
        query = (
            "SELECT number, input.id FROM input LEFT JOIN done USING (key) "
            "WHERE mine AND done.key IS NULL ORDER BY number"
        )
        for record, (identity,) in self._joined(query):
            yield self._line(record, identity)

    def done_lines(self) -> Iterator[tuple[Line, int, int]]:
        """Finished rows in the order of the input, each with the file and the place of its entry."""
        query = "SELECT number, input.id, file, place FROM input JOIN done USING (key) ORDER BY number"
        for record, (identity, file, place) in self._joined(query):
            yield self._line(record, identity), file, place

    def done_places(self) -> Iterator[tuple[int, int]]:
        """File and place of every finished row, in the order of the input."""
        query = "SELECT file, place FROM input JOIN done USING (key) ORDER BY number"
        yield from self._base.execute(query)

    def _joined(self, query: str) -> Iterator[tuple[Record, tuple[int, ...]]]:
        """Records of the input beside what a query says of them, both by number."""
        rows = self._base.execute(query)
        wanted = rows.fetchone()
        for record in self.source.records() if wanted else ():
            if record[0] == wanted[0]:
                yield record, wanted[1:]
                wanted = rows.fetchone()
                if wanted is None:
                    return
        if wanted:
            raise RecordError(f"{self.source.path}: changed while it was read; run again")

    def _line(self, record: Record, identity: object) -> Line:
        number, fields = record
        told = _told(identity)
        return Line(number, told, _with_id(fields, told, self.source), self.source.unit)

    def _input_row(self, record: Record, ids: ContentIds) -> tuple[int, bytes, bytes, bytes, bool]:
        number, fields = record
        identity = self.source.given_id(record) or self._made_id(ids.of(record))
        own = _with_id(fields, identity, self.source)
        if len(self.columns) < _MAX_COLUMNS:
            self.columns.update(dict.fromkeys(own))
        key = key_of(identity)
        return number, key, _stored(identity), bytes.fromhex(fingerprint(own))[:16], self.shard.holds(key)

    def _made_id(self, content: str) -> str:
        """Rows of the very same content are told apart by how often it came before."""
        query = "INSERT INTO made VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"
        (times,) = self._base.execute(query, (bytes.fromhex(content),)).fetchone()
        return content if times == 1 else f"{content}-{times}"

    def _refuse_repeated(self, rows: list[tuple[int, bytes, bytes, bytes, bool]]) -> None:
        unit, name = self.source.unit, self.source.path.name
        for number, key, identity, _, _ in rows:
            (first,) = self._base.execute("SELECT number FROM input WHERE key = ?", (key,)).fetchone()
            if first != number:
                raise RecordError(
                    f"{name} {unit} {number}: the id {_told(identity)!r} was used in {unit} {first} already; "
                    "ids tell answered rows from open ones, so each may occur once"
                )


def _with_id(fields: dict[str, object], identity: str, source: Source) -> dict[str, object]:
    """The fields, with the id of a row that had none."""
    if source.dialect == "openai" or fields.get("id") not in (None, ""):
        return fields
    return {"id": identity, **{k: v for k, v in fields.items() if k != "id"}}


def _stored(identity: str) -> bytes:
    return identity.encode("utf-8", "surrogatepass")


def _told(identity: object) -> str:
    assert isinstance(identity, bytes)
    return identity.decode("utf-8", "surrogatepass")
