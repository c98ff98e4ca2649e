"""Tables of a download, read as streams: CSV and TSV by lines, JSON by entries, Parquet by batches. Nothing is trusted:
a line that cannot be used is `Lost`, a file that cannot be used is a `CorpusError`."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from data_prep.errors import CorpusError
from data_prep.readers.base import Lost
from data_prep.readers.rows import BAD_ROW

MAX_LINE_BYTES = 1 << 20
MAX_ROW_LINES = 20
"""Of one row whose quoted text has line breaks."""
MAX_ENTRY_LETTERS = 1 << 24
MAX_JSON_BYTES = 1 << 28
"""Of a JSON file that is read whole; larger ones are read by entries."""
_WINDOW_LETTERS = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class Row:
    """One row of a table; every getter names file, line and field when the value is not what it must be."""

    where: str
    values: Mapping[str, Any]

    def fault(self, name: str, rule: str) -> CorpusError:
        """The error for a field that breaks a rule."""
        return CorpusError(f"{self.where}, field '{name}': {str(self.values.get(name))[:80]!a} {rule}")

    def has(self, name: str) -> bool:
        """Whether the field is there and holds something."""
        value = self.values.get(name)
        return value is not None and value != "" and value != [] and not _is_nan(value)

    def text(self, name: str, default: str | None = None) -> str:
        """Text without white space around it; whole numbers count.

        Raises:
            CorpusError: there is none and no default, or it is no text.
        """
        value = None if _is_nan(self.values.get(name)) else self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise self.fault(name, "must be text")
        text = (value or "").strip()
        if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in text):
            raise self.fault(name, "is not UTF-8 text, or holds a zero")
        if not text and default is None:
            raise self.fault(name, "must be text that is not empty")
        return text or default or ""

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of text without what is empty; one text counts as a list of one.

        Raises:
            CorpusError: it is neither.
        """
        value = self.values.get(name)
        if value is None:
            return ()
        many = [value] if isinstance(value, str) else value
        if not isinstance(many, Sequence):
            raise self.fault(name, "must be a list of text")
        rows = (Row(f"{self.where}, field '{name}'", {"entry": one}) for one in many)
        return tuple(text for row in rows if (text := row.text("entry", "")))

    def number(self, name: str, low: float = 0.0, high: float = 86_400.0) -> float:
        """A number within limits; text that is written as one counts.

        Raises:
            CorpusError: it is none, or outside.
        """
        value = self.values.get(name)
        try:
            found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not low <= found <= high:
            raise self.fault(name, f"must be a number from {low:g} to {high:g}")
        return found


def _is_nan(value: object) -> bool:
    """Tables that pandas wrote have it where nothing is."""
    return isinstance(value, float) and math.isnan(value)


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    fault: str = ""


def table(
    path: Path,
    *,
    columns: Sequence[str] = (),
    needs: Sequence[str] = (),
    delimiter: str = ",",
    comment: str = "",
    fallback: str = "",
    row_lines: int = 1,
) -> Iterator[Row | Lost]:
    """Rows of a text table, one a line; blank lines are none.

    Args:
        columns: Names of the columns of a table without a header; a row may have fewer of them.
        needs: Columns that the header must have.
        delimiter: `,` with fields in quotation marks where they need it, a tab or a blank without.
        comment: How lines begin that are none of the table.
        fallback: Encoding of lines that are not UTF-8; none: rows are `Lost` whose fields are not.
        row_lines: Lines that a row may have at most, where quoted text has line breaks.

    Raises:
        CorpusError: the file cannot be read, or its header lacks what is needed.
    """
    rows = _parsed(_lines(path, comment, fallback), delimiter, row_lines)
    names = list(columns) or _header(path, next(rows, None), needs)
    for number, cells in rows:
        where = f"{path}:{number}"
        if isinstance(cells, str):
            yield Lost(BAD_ROW, where, cells)
        elif len(cells) > len(names):
            yield Lost(BAD_ROW, where, f"has {len(cells)} fields; the table has {len(names)} columns")
        else:
            yield Row(where, dict(zip(names, cells, strict=False)))


def _header(path: Path, first: tuple[int, list[str] | str] | None, needs: Sequence[str]) -> list[str]:
    names = [name.strip() for name in first[1]] if first and not isinstance(first[1], str) else []
    if missing := [name for name in needs if name not in names]:
        shown = ", ".join(names)[:120] or "nothing that can be read"
        raise CorpusError(f"{path}:1: the header has {shown!a}, but no {', '.join(missing)}; is it the official table?")
    return names


def _lines(path: Path, comment: str, fallback: str) -> Iterator[_Line]:
    try:
        with path.open("rb") as stream:
            for number in itertools.count(1):
                if not (raw := stream.readline(MAX_LINE_BYTES)):
                    return
                cut = len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n")
                while cut and (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
                if cut:
                    yield _Line(number, "", f"is longer than {MAX_LINE_BYTES} bytes")
                raw = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                if not cut and raw.strip() and not (comment and raw.startswith(comment.encode())):
                    yield _Line(number, _decoded(raw, fallback))
    except OSError as fault:
        raise CorpusError(f"{path}: cannot be read ({fault})") from fault


def _decoded(raw: bytes, fallback: str) -> str:
    """Without a fallback, bytes that are no UTF-8 become half characters, which no field may hold."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(fallback) if fallback else raw.decode("utf-8", "surrogateescape")


def _parsed(lines: Iterator[_Line], delimiter: str, row_lines: int) -> Iterator[tuple[int, list[str] | str]]:
    """Fields of each row, or what is wrong with its line. A quotation mark that is never closed spoils its own line
    only: the lines after it are read again by themselves."""
    again: deque[_Line] = deque()
    while (line := again.popleft() if again else next(lines, None)) is not None:
        taken, cells = [line], _cells(line, delimiter)
        while cells is None and len(taken) < row_lines:
            more = again.popleft() if again else next(lines, None)
            if more is None:
                break
            taken.append(more)
            cells = _cells(_Line(line.number, "".join(part.text for part in taken), more.fault), delimiter)
        if cells is None or (isinstance(cells, str) and len(taken) > 1):
            again.extendleft(reversed(taken[1:]))
            cells = "has a quotation mark that is not closed"
        yield line.number, cells


def _cells(line: _Line, delimiter: str) -> list[str] | str | None:
    """Fields, or what is wrong; None: a quotation mark is open at the end."""
    if line.fault:
        return line.fault
    if delimiter == " ":
        return line.text.split()
    if delimiter == "\t":
        return [cell.strip() for cell in line.text.rstrip("\r\n").split("\t")]
    if len(line.text) > MAX_LINE_BYTES:
        return f"is longer than {MAX_LINE_BYTES} letters"
    *before, last = line.text.rstrip("\r\n").split("\n")
    try:
        return next(csv.reader([*(f"{b}\n" for b in before), last], skipinitialspace=True, strict=True), [])
    except csv.Error as fault:
        return None if "unexpected end" in str(fault) else str(fault)


def good_rows(rows: Iterable[Row | Lost], why: str) -> Iterator[Row]:
    """Rows of a list that must be good throughout.

    Raises:
        CorpusError: a row is not; `why` says what would follow.
    """
    for row in rows:
        if isinstance(row, Lost):
            raise CorpusError(f"{row.where}: {row.detail}; download it again: {why}")
        yield row


def json_file(path: Path) -> Any:
    """A JSON file whole.

    Raises:
        CorpusError: it cannot be read, is none, or is larger than `MAX_JSON_BYTES`.
    """
    try:
        if (size := path.stat().st_size) > MAX_JSON_BYTES:
            raise CorpusError(f"{path}: {size} bytes; at most {MAX_JSON_BYTES} are read")
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as fault:
        raise CorpusError(f"{path}: is not JSON that can be read ({fault}); download it again") from fault


def json_object(path: Path) -> Mapping[str, Any]:
    """A JSON file that holds one object.

    Raises:
        CorpusError: see `json_file`, or it holds something else.
    """
    if not isinstance(found := json_file(path), Mapping):
        raise CorpusError(f"{path}: holds a {type(found).__name__}, but must hold an object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def json_entries(path: Path, name: str) -> Iterator[Row | Lost]:
    """Objects of the list that a JSON file of any size has under this name, one at a time in a window of text.

    Raises:
        CorpusError: the file cannot be read, has no such list, or stops being JSON within it.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
            for number, value in enumerate(_values(stream, name), start=1):
                where = f"{path}, entry {number}"
                good = isinstance(value, Mapping)
                yield Row(where, value) if good else Lost(BAD_ROW, where, f"is {str(value)[:40]!a}, not an object")
    except (OSError, ValueError, RecursionError) as fault:
        raise CorpusError(f"{path}: is not the JSON that it must be ({fault}); download it again") from fault


def _values(stream: TextIO, name: str) -> Iterator[Any]:
    text = stream.read(_WINDOW_LETTERS)
    if not (begin := re.match(rf'\s*\{{.*?"{name}"\s*:\s*\[', text, re.DOTALL)):
        raise ValueError(f"an object with a list '{name}' near its beginning is not there")
    at, ended = begin.end(), False
    while True:
        space = _BETWEEN.match(text, at)
        at = space.end() if space else at
        value, end = None, -1
        if text[at : at + 1] == "]":
            return
        try:
            value, end = json.JSONDecoder().raw_decode(text, at)
        except json.JSONDecodeError:
            if ended or len(text) - at > MAX_ENTRY_LETTERS:
                raise
        if 0 <= end < len(text):
            yield value
            at = end
        elif ended:
            raise ValueError(f"the list '{name}' has no end")
        else:
            more = stream.read(max(_WINDOW_LETTERS, len(text) - at))
            text, at, ended = text[at:] + more, 0, not more


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file.

    Raises:
        CorpusError: it is none, or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise CorpusError(f"{path}: Parquet needs pyarrow; install it with `pip install alm[tables]`") from None
    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1024):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"{path}, row {number}", values)
    except (pyarrow.ArrowException, OSError, ValueError) as fault:
        raise CorpusError(f"{path}: not a Parquet file that can be read ({fault})") from fault
