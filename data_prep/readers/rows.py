"""Rows of the tables and lists in a download: what is wrong with one row costs that row, with its line and its reason.

Files are read as streams, a line or an object at a time, so that memory is bounded whatever their size.
"""

from __future__ import annotations

import ast
import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from data_prep.errors import CorpusError
from data_prep.readers.base import Lost

MAX_LINE_BYTES = 1 << 24
MAX_FILE_BYTES = 1 << 32
MAX_WHOLE_BYTES = 1 << 24
"""Of files that are read whole: metadata of one recording, a playlist."""
SURROGATE = re.compile("[\ud800-\udfff]")

BAD_ROW, BAD_TEXT, MISSING, EMPTY = "bad row", "bad text", "missing file", "empty file"
UNSAFE, REPEATED, UNKNOWN, UNLABELLED = "unsafe path", "repeated id", "unknown label", "no label"


class RowError(CorpusError):
    """Why one row gives no sample."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def shown(value: object) -> str:
    """A short form of any value, however large or deep it is."""
    if isinstance(value, str):
        return repr(value[:80])
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**18):
        return repr(value)
    return f"of type {type(value).__name__}"


@dataclass(frozen=True)
class Row:
    """One row, and where it stands; fields are fetched with a check, and a fault names field, value and rule."""

    where: str
    """File and line or entry."""
    values: Mapping[str, Any]

    def fault(self, name: str, rule: str, reason: str = BAD_ROW) -> RowError:
        """The fault of one field."""
        return RowError(reason, f"field '{name}' is {shown(self.values.get(name))}; it {rule}")

    def has(self, name: str) -> bool:
        """Whether the field is there and not blank."""
        value = self.values.get(name)
        return value is not None and not (isinstance(value, str) and not value.strip())

    def text(self, name: str, default: str | None = None) -> str:
        """The field as text without blanks around it, or the default where it is blank.

        Raises:
            RowError: it is absent without a default, is no text, or has half of a surrogate pair or a zero byte.
        """
        if not self.has(name):
            if default is None:
                raise self.fault(name, "must be there")
            return default
        value = self.values[name]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
            return str(value)
        if not isinstance(value, str):
            raise self.fault(name, "must be text")
        if "\0" in value or SURROGATE.search(value):
            raise self.fault(name, "must be text that UTF-8 can hold, without zero bytes", BAD_TEXT)
        return value.strip()

    def maybe_number(self, name: str) -> float | None:
        """The field as a finite number; None where it is blank. Raises `RowError`."""
        if not self.has(name):
            return None
        value = self.values[name]
        try:
            found = math.nan if isinstance(value, bool) or not isinstance(value, int | float | str) else float(value)
        except (ValueError, OverflowError):
            found = math.nan
        if not math.isfinite(found):
            raise self.fault(name, "must be a finite number")
        return found

    def number(self, name: str) -> float:
        """The field as a finite number. Raises `RowError`."""
        found = self.maybe_number(name)
        if found is None:
            raise self.fault(name, "must be there")
        return found

    def maybe_integer(self, name: str) -> int | None:
        """The field as a whole number; None where it is blank. Raises `RowError`."""
        found = self.maybe_number(name)
        if found is not None and (found != int(found) or abs(found) > 10**15):
            raise self.fault(name, "must be a whole number")
        return None if found is None else int(found)

    def integer(self, name: str) -> int:
        """The field as a whole number. Raises `RowError`."""
        found = self.maybe_integer(name)
        if found is None:
            raise self.fault(name, "must be there")
        return found

    def entries(self, name: str) -> list[Any]:
        """The field as a list, also one that stands in the table as JSON or as Python writes it; blank: none.

        Raises:
            RowError: it is neither.
        """
        if not self.has(name) or self.values[name] == "None":
            return []
        value = self.values[name]
        found = literal(value) if isinstance(value, str) else value
        if not isinstance(found, list | tuple):
            raise self.fault(name, "must be a list")
        return list(found)

    def texts(self, name: str) -> tuple[str, ...]:
        """The field as a list of texts, blank ones left out. Raises `RowError`."""
        inner = [Row(self.where, {name: value}) for value in self.entries(name)]
        return tuple(one for one in (row.text(name, "") for row in inner) if one)

    def rows(self, name: str) -> list[Row]:
        """The field as a list of objects. Raises `RowError`."""
        found = self.entries(name)
        if not all(isinstance(one, Mapping) for one in found):
            raise self.fault(name, "must be a list of objects")
        return [Row(f"{self.where}, {name} {n}", one) for n, one in enumerate(found, start=1)]

    def row(self, name: str) -> Row:
        """The field as one object, also as text in a table; blank: an empty one. Raises `RowError`."""
        value = self.values.get(name) if self.has(name) else {}
        found = literal(value) if isinstance(value, str) else value
        if not isinstance(found, Mapping):
            raise self.fault(name, "must be an object")
        return Row(f"{self.where}, {name}", found)


def literal(text: str) -> Any:
    """JSON, or a list or dictionary as Python writes it; None where it is neither."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def lines(path: Path, name: str, encoding: str = "utf-8") -> Iterator[tuple[int, str] | Lost]:
    """Lines with their numbers and line ends; one that is too long, or not text of this encoding, is `Lost`.

    Raises:
        CorpusError: the file cannot be opened or read.
    """
    try:
        with path.open("rb") as stream:
            number = 0
            while raw := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                where = f"{name}, line {number}"
                if len(raw) > MAX_LINE_BYTES:
                    while raw and not raw.endswith(b"\n"):
                        raw = stream.readline(MAX_LINE_BYTES)
                    yield Lost(BAD_ROW, where, f"the line is longer than {MAX_LINE_BYTES} bytes; split it")
                    continue
                try:
                    yield number, raw.decode(encoding).removeprefix("\ufeff" if number == 1 else "")
                except UnicodeDecodeError as fault:
                    yield Lost(BAD_TEXT, where, f"is not {encoding} text ({fault.reason}); convert the file")
    except OSError as fault:
        raise CorpusError(f"{name}: cannot be read ({fault.strerror or fault}); download it again") from fault


def cells(
    path: Path, name: str, delimiter: str, quoted: bool, encoding: str = "utf-8"
) -> Iterator[tuple[str, list[str]] | Lost]:
    """Cells of each line that is not blank, with its place.

    Raises:
        CorpusError: a quotation mark is not closed, so that nobody knows how many rows it hides.
    """
    if quoted:
        yield from _quoted_cells(path, name, delimiter, encoding)
        return
    for line in lines(path, name, encoding):
        if isinstance(line, Lost):
            yield line
        elif line[1].strip():
            yield f"{name}, line {line[0]}", line[1].rstrip("\r\n").split(delimiter)


def _quoted_cells(path: Path, name: str, delimiter: str, encoding: str) -> Iterator[tuple[str, list[str]] | Lost]:
    lost: list[Lost] = []
    last = 0

    def good() -> Iterator[str]:
        nonlocal last
        for line in lines(path, name, encoding):
            if isinstance(line, Lost):
                lost.append(line)
            else:
                last = line[0]
                yield line[1]

    reader = csv.reader(good(), delimiter=delimiter, strict=True)
    while True:
        first = last
        found: list[str] | None = None
        try:
            found = next(reader, None)
            ended = found is None
        except csv.Error as fault:
            if last - first > 1 or "end of data" in str(fault):
                begin = f"{name}, lines {first + 1} to {last}"
                raise CorpusError(f"{begin}: {fault}; close the quotation mark that begins there") from fault
            lost.append(Lost(BAD_ROW, f"{name}, line {last}", f"is no row of a table ({fault})"))
            ended = False
        yield from lost
        lost.clear()
        if ended:
            return
        if found and any(cell.strip() for cell in found):
            yield f"{name}, line {last}", found


def table(
    path: Path,
    name: str,
    *,
    columns: Sequence[str] = (),
    need: Sequence[str] = (),
    delimiter: str = ",",
    quoted: bool = True,
    encoding: str = "utf-8",
) -> Iterator[Row | Lost]:
    """Rows of a table with a header line, or with these columns.

    Args:
        name: What to call the file in messages.
        need: Columns without which it is another table.
        quoted: Cells may stand in quotation marks; otherwise these are letters like others.

    Raises:
        CorpusError: it is empty or lacks a needed column, or a quotation mark is not closed.
    """
    names = tuple(columns)
    for line in cells(path, name, delimiter, quoted, encoding):
        if isinstance(line, Lost):
            yield line
            continue
        where, found = line
        if not names:
            names = tuple(cell.strip() for cell in found)
            _check_header(name, names, need)
        elif len(found) > len(names):
            yield Lost(BAD_ROW, where, f"has {len(found)} cells, the table {len(names)} columns")
        else:
            yield Row(where, dict(zip(names, found, strict=False)))
    if not names:
        raise CorpusError(f"{name}: is empty; download it again")


def _check_header(name: str, names: Sequence[str], need: Sequence[str]) -> None:
    if absent := [column for column in need if column not in names]:
        has = ", ".join(names)[:200]
        raise CorpusError(f"{name}: has no column {', '.join(absent)}; it has {has}: another version of the data set?")


def json_lines(path: Path, name: str) -> Iterator[Row | Lost]:
    """One object a line. Raises `CorpusError` where the file cannot be read."""
    for line in lines(path, name):
        if isinstance(line, Lost):
            yield line
        elif line[1].strip():
            yield _parsed(line[1], f"{name}, line {line[0]}")


def _parsed(text: str, where: str) -> Row | Lost:
    try:
        return as_row(json.loads(text, parse_constant=_no_number), where)
    except (ValueError, RecursionError) as fault:
        return Lost(BAD_ROW, where, f"is not JSON ({str(fault)[:120]})")


def as_row(values: Any, where: str) -> Row | Lost:
    """The row of a parsed object; anything else is `Lost`."""
    if not isinstance(values, Mapping):
        return Lost(BAD_ROW, where, f"is {shown(values)}; it must be an object")
    return Row(where, values)


def json_items(path: Path, name: str) -> Iterator[Row | Lost]:
    """Objects of one JSON list, as a stream. Raises `CorpusError` where it is damaged: what follows is not known."""
    for number, (_, values) in enumerate(_streamed(path, name, "["), start=1):
        yield as_row(values, f"{name}, entry {number}")


def json_pairs(path: Path, name: str) -> Iterator[tuple[str, Row | Lost]]:
    """Keys and objects of one JSON object, as a stream. Raises `CorpusError` where it is damaged."""
    for key, values in _streamed(path, name, "{"):
        yield key, as_row(values, f"{name}, {shown(key)}")


def _streamed(path: Path, name: str, kind: str) -> Iterator[tuple[str, Any]]:
    check_size(path, name, MAX_FILE_BYTES)
    try:
        with path.open(encoding="utf-8-sig") as stream:
            yield from _JsonStream(stream).entries(kind)
    except (ValueError, RecursionError, OSError) as fault:
        raise CorpusError(f"{name}: is damaged JSON ({str(fault)[:120]}); download it again") from fault


class _JsonStream:
    """Entries of a JSON list or object, each parsed as soon as it is whole; memory is that of the largest one.

    The standard parser does the work: it refuses what is nested too deep, at which streaming parsers grow without end.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text, self._at = "", 0
        self._decoder = json.JSONDecoder(parse_constant=_no_number)

    def entries(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Key (of an object) and value of each entry. Raises `ValueError` and `RecursionError`."""
        close = {"[": "]", "{": "}"}[kind]
        self._expect(kind)
        if self._next() == close:
            self._expect(close)
        else:
            while True:
                key = ""
                if kind == "{":
                    key = self._value()
                    if not isinstance(key, str):
                        raise ValueError("a key is no text")
                    self._expect(":")
                yield key, self._value()
                if self._next() == close:
                    self._expect(close)
                    break
                self._expect(",")
        if self._next():
            raise ValueError("something follows the end")

    def _next(self) -> str:
        """The next letter that is no blank; nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _expect(self, letter: str) -> None:
        if (found := self._next()) != letter:
            raise ValueError(f"{found!r} where {letter!r} must be")
        self._at += 1

    def _more(self) -> bool:
        """Read as much again as is there, so that a long entry is tried few times."""
        rest = self._text[self._at :]
        if len(rest) > MAX_LINE_BYTES:
            raise ValueError(f"an entry of more than {MAX_LINE_BYTES} letters, or one that is damaged")
        read = self._stream.read(max(1 << 16, len(rest)))
        self._text, self._at = rest + read, 0
        return bool(read)

    def _value(self) -> Any:
        """The next value; a number or a word at the end of what is read may go on, so it is tried again."""
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            if end == len(self._text):
                begin = self._at
                if self._more():
                    continue
                end -= begin
            self._at = end
            return value


def whole_text(path: Path, name: str) -> str:
    """A small file as UTF-8 text. Raises `CorpusError`: it is too large, not text, or cannot be read."""
    check_size(path, name, MAX_WHOLE_BYTES)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise CorpusError(f"{name}: cannot be read as UTF-8 text ({fault})") from fault


def check_size(path: Path, name: str, most: int) -> None:
    """Raises `CorpusError` for a file that is absent or larger than `most` bytes."""
    try:
        size = path.stat().st_size
    except OSError as fault:
        raise CorpusError(f"{name}: cannot be read ({fault.strerror or fault})") from fault
    if size > most:
        raise CorpusError(f"{name}: has {size} bytes; at most {most} are read")
