"""An official download on disk: its tables read row by row, its recordings named. Nothing in it is trusted."""

from __future__ import annotations

import ast
import csv
import io
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from alm.errors import RecordError

MAX_TABLE_BYTES = 1 << 30
MAX_ROWS = 2_000_000
MAX_LETTERS = 1_000_000
"""Of one field: the transcript of some hours."""
MAX_ENTRIES = 200_000
"""Of one list: the words of some hours."""


@dataclass(frozen=True)
class Row:
    """One row of a table; every getter names file, line and field when the value is not what it must be."""

    where: str
    values: Mapping[str, Any]

    def fault(self, name: str, rule: str) -> RecordError:
        """The error for a field that breaks a rule."""
        return RecordError(f"{self.where}, field '{name}': {str(self.values.get(name))[:80]!a} {rule}")

    def has(self, name: str) -> bool:
        """Whether the field is there and holds something."""
        value = self.values.get(name)
        return value is not None and value != "" and value != [] and not _is_nan(value)

    def text(self, name: str, default: str | None = None) -> str:
        """Text without white space around it; numbers as they are written.

        Raises:
            RecordError: there is none and no default, or it is no text or too long.
        """
        if not self.has(name):
            if default is None:
                raise self.fault(name, "must be text that is not empty")
            return default
        value = self.values[name]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.fault(name, "must be text")
        if len(text := str(value).strip()) > MAX_LETTERS:
            raise self.fault(name, f"has {len(text)} letters; at most {MAX_LETTERS} are read")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise self.fault(name, "holds half a character, which is no text")
        return text

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of text; a list that is written as JSON text counts, too; empty where there is none."""
        return tuple(Row(f"{self.where}, field '{name}'", {"entry": v}).text("entry", "") for v in self.entries(name))

    def entries(self, name: str) -> Sequence[Any]:
        """A list of anything."""
        value = self._structure(name) if self.has(name) else []
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise self.fault(name, "must be a list")
        if len(value) > MAX_ENTRIES:
            raise self.fault(name, f"has {len(value)} entries; at most {MAX_ENTRIES} are read")
        return value

    def rows(self, name: str) -> Iterator[Row]:
        """A list of objects."""
        for number, value in enumerate(self.entries(name), start=1):
            if not isinstance(value, Mapping):
                raise self.fault(name, "must be a list of objects")
            yield Row(f"{self.where}, field '{name}', entry {number}", value)

    def row(self, name: str) -> Row:
        """One object."""
        value = self._structure(name)
        if not isinstance(value, Mapping):
            raise self.fault(name, "must be an object")
        return Row(f"{self.where}, field '{name}'", value)

    def number(self, name: str) -> float:
        """A finite number; text that is written as one counts."""
        try:
            value = float(self.text(name))
        except ValueError:
            raise self.fault(name, "must be a number") from None
        if not math.isfinite(value):
            raise self.fault(name, "must be a finite number")
        return value

    def _structure(self, name: str) -> Any:
        value = self.values.get(name)
        if isinstance(value, str):
            return _literal(value, f"{self.where}, field '{name}'")
        return value


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


class Download:
    """The folder that a user downloaded and unpacked; it remembers which tables were read."""

    def __init__(self, root: Path) -> None:
        """
        Raises:
            RecordError: there is no such folder.
        """
        if not root.is_dir():
            raise RecordError(f"{root}: no such folder; give the folder of the unpacked official download")
        self.root = root.resolve()
        self.tables: set[str] = set()
        self._listed: dict[str, frozenset[str]] = {}

    def file(self, *names: str) -> str:
        """The first of these files that exists, as a path inside the download; it counts as a table that was read.

        Raises:
            RecordError: none exists.
        """
        for name in names:
            if self.has(place := self.inside(name)):
                self.tables.add(place)
                return place
        raise RecordError(f"{self.root}: no {' or '.join(names)}; is it the unpacked official download?")

    def folder(self, *names: str) -> str:
        """The first of these folders that exists.

        Raises:
            RecordError: none exists.
        """
        for name in names:
            if (self.root / self.inside(name)).is_dir():
                return self.inside(name)
        raise RecordError(f"{self.root}: no folder {' or '.join(names)}; is it the unpacked official download?")

    def files(self, folder: str, *endings: str) -> list[str]:
        """Files below a folder (empty: anywhere) with one of these endings, sorted."""
        start = self.root / self.inside(folder) if folder else self.root
        found = (p for p in start.rglob("*") if p.suffix.lower() in endings and p.is_file())
        return sorted(p.relative_to(self.root).as_posix() for p in found)

    def only(self, ending: str) -> str:
        """The one table with this ending, for downloads whose tables have no fixed name.

        Raises:
            RecordError: there is none, or several.
        """
        found = sorted(p.name for p in self.root.iterdir() if p.suffix.lower() == ending and p.is_file())
        if len(found) != 1:
            raise RecordError(f"{self.root}: {len(found)} files ending in {ending}, but the official table is one")
        return self.file(found[0])

    def recording(self, *names: str) -> str:
        """The first of these recordings that exists; the first one where none does, to be counted as missing."""
        places = [self.inside(name) for name in names]
        return next((p for p in places if self.has(p)), places[0])

    def inside(self, name: str) -> str:
        """A path of a row, relative to the download.

        Raises:
            RecordError: it is absolute or leaves the download.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts or len(name) > 4096:
            raise RecordError(f"{self.root}: path {name[:80]!a} does not stay inside the download")
        return path.as_posix()

    def json(self, *names: str) -> tuple[Any, str]:
        """A JSON file whole, and its name."""
        place = self.file(*names)
        return _json(self._read(place), place), place

    def json_rows(self, *names: str) -> Iterator[Row]:
        """Rows of a JSON list, or of one object a line."""
        place = self.file(*names)
        text = self._read(place)
        if text.lstrip().startswith("["):
            yield from _checked_rows(_json(text, place), place)
            return
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield _row(_json(line, f"{place}, line {number}"), f"{place}, line {number}")

    def csv_rows(
        self,
        *names: str,
        columns: Sequence[str] | None = None,
        delimiter: str = ",",
        quoted: bool = True,
        comments: bool = False,
        encoding: str = "utf-8-sig",
    ) -> Iterator[Row]:
        """Rows of a table with a header, or with these columns; what a line has beyond them is the field `more`.

        Args:
            quoted: Fields may stand in quotation marks; otherwise these are letters like others.
            comments: Lines that begin with `#` are none of the table.
        """
        place = self.file(*names)
        lines: Iterator[str] = io.StringIO(self._read(place, encoding), newline="")
        if comments:
            lines = (line for line in lines if not line.startswith("#"))
        quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        form = {"delimiter": delimiter, "quoting": quoting, "skipinitialspace": delimiter == ","}
        for line, values in _table(lines, columns, form, place):
            yield Row(f"{place}, line {line}", values)

    def parquet_rows(self, *names: str) -> Iterator[Row]:
        """Rows of a Parquet file.

        Raises:
            RecordError: it is none, or pyarrow is not installed.
        """
        place = self.file(*names)
        self._check_size(place)
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise RecordError(f"{place}: Parquet needs pyarrow; install it with `pip install alm[tables]`") from None
        try:
            table = pyarrow.parquet.ParquetFile(self.root / place)
            if table.metadata.num_rows > MAX_ROWS:
                raise RecordError(f"{place}: {table.metadata.num_rows} rows; at most {MAX_ROWS} are read")
            number = 0
            for batch in table.iter_batches(batch_size=64):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{place}, row {number}", values)
        except (pyarrow.ArrowException, OSError) as error:
            raise RecordError(f"{place}: not a Parquet file that can be read ({error})") from error

    def has(self, place: str) -> bool:
        """Whether a file is there; folders are listed once, since a benchmark may have 100,000 recordings.

        Args:
            place: A path inside the download.
        """
        folder, _, name = place.rpartition("/")
        if folder not in self._listed:
            path = self.root / folder
            there = path.iterdir() if path.is_dir() else ()
            self._listed[folder] = frozenset(p.name for p in there if p.is_file())
        return name in self._listed[folder]

    def _check_size(self, place: str) -> None:
        if (size := (self.root / place).stat().st_size) > MAX_TABLE_BYTES:
            raise RecordError(f"{place}: {size} bytes; at most {MAX_TABLE_BYTES} are read")

    def _read(self, place: str, encoding: str = "utf-8-sig") -> str:
        self._check_size(place)
        try:
            return (self.root / place).read_text(encoding=encoding)
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f"{place}: cannot be read as {encoding} text ({error})") from error


def _table(
    lines: Iterator[str], columns: Sequence[str] | None, form: dict[str, Any], place: str
) -> list[tuple[int, dict[str, Any]]]:
    """All rows with their line numbers; fields may be longer than the csv module's own limit, up to ours."""
    usual = csv.field_size_limit(MAX_TABLE_BYTES)
    reader = csv.DictReader(lines, columns, restkey="more", **form)
    try:
        found = [(reader.line_num, values) for values in itertools.islice(reader, MAX_ROWS + 1)]
    except csv.Error as error:
        raise RecordError(f"{place}, line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(usual)
    if len(found) > MAX_ROWS:
        raise RecordError(f"{place}: more than {MAX_ROWS} rows")
    return found


def _literal(text: str, where: str) -> Any:
    """JSON, or the same written as Python writes it."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise RecordError(f"{where}: not JSON ({error})") from error


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not JSON ({error})") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _checked_rows(found: Any, place: str) -> Iterator[Row]:
    if not isinstance(found, list) or len(found) > MAX_ROWS:
        raise RecordError(f"{place}: must be a list of at most {MAX_ROWS} objects")
    for number, values in enumerate(found, start=1):
        yield _row(values, f"{place}, entry {number}")


def _row(values: Any, where: str) -> Row:
    if not isinstance(values, Mapping):
        raise RecordError(f"{where}: must be an object")
    return Row(where, values)
