"""Files of JSON rows, as a stream: one list of gigabytes, or a row a line. Memory is that of the longest row.

The standard library's decoder is asked for one value after the other in a window of text. A streaming parser such as
ijson is no faster here, gives no line numbers, and turns half a surrogate pair into a question mark without a word.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from alm.errors import RecordError
from data_prep.formats.base import BadRow, Raw, ReadRows, shown

CHUNK_BYTES = 1 << 20
PEEK_BYTES = 1 << 16
MAX_ROW_LETTERS = 1 << 24
BOM = "\ufeff"
_SPACE = re.compile(r"[ \t\n\r]*")
_NEAR_END = 16
"""Letters of the longest word of JSON, and some."""
REMEDY = "mend the row, or write the file anew as UTF-8 JSON"


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if abs(number) != float("inf") else _no_number(text)


DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)
"""As strict as the standard: files with NaN or 1e999 are not read, because JSON cannot give them back."""


def loads(text: str) -> Any:
    """One JSON value. Raises ValueError or RecursionError."""
    value = DECODER.decode(text)
    if _doubtful(text):
        check_text(value)
    return value


def _doubtful(text: str) -> bool:
    """Whether there may be half a surrogate pair in it, written out or left by bytes that are not UTF-8."""
    if "\\ud" in text or "\\uD" in text:
        return True
    try:
        return not text.isascii() and not text.encode()
    except UnicodeEncodeError:
        return True


def check_text(value: object) -> None:
    """Raises ValueError for text that has no UTF-8 and numbers that JSON does not have, TypeError for other things."""
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def read_json(path: Path, options: ReadRows) -> Iterator[Raw | BadRow]:
    """Rows of a JSON list, or of lines of JSON: whichever the file begins with.

    Raises:
        RecordError: there is no such file.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file of rows")
    with path.open("rb") as stream:
        first = stream.read(PEEK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
        stream.seek(0)
        yield from (_List(path, stream, options) if first[:1] == b"[" else _Lines(path, stream, options)).rows()


class _Lines:
    """A row a line; what one line does wrong is over with it."""

    def __init__(self, path: Path, stream: BinaryIO, options: ReadRows) -> None:
        self._path, self._stream, self._options = path, stream, options

    def rows(self) -> Iterator[Raw | BadRow]:
        index = 0
        for line, data in enumerate(self._lines(), start=1):
            text = data.decode("utf-8", "surrogateescape").strip()
            if line == 1:
                text = text.removeprefix(BOM)
            if not text:
                continue
            index += 1
            yield self._row(index, line, text)

    def _lines(self) -> Iterator[bytes]:
        """Lines; of one that is too long the beginning, which is too long as well."""
        while data := self._stream.readline(MAX_ROW_LETTERS + 1):
            self._options.advance(len(data))
            whole = len(data) <= MAX_ROW_LETTERS
            yield data
            while not whole and data and not data.endswith(b"\n"):
                data = self._stream.readline(CHUNK_BYTES)
                self._options.advance(len(data))

    def _row(self, index: int, line: int, text: str) -> Raw | BadRow:
        if len(text) > MAX_ROW_LETTERS:
            return _too_long(self._path, index, line, text)
        try:
            return Raw(index, line, loads(text))
        except (ValueError, RecursionError) as fault:
            return _not_json(self._path, index, line, text, fault)


class _List:
    """Rows of one list; a fault of JSON inside it ends the reading, because nobody knows where the next row begins."""

    def __init__(self, path: Path, stream: BinaryIO, options: ReadRows) -> None:
        self._path, self._stream, self._options = path, stream, options
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._text, self._at, self._line = "", 0, 1
        self._ended, self._suspect = False, False

    def rows(self) -> Iterator[Raw | BadRow]:
        self._next()
        self._at += 1  # the bracket
        index = 0
        while (char := self._next()) != "]":
            index += 1
            line = self._line
            try:
                yield Raw(index, line, self._value())
            except (ValueError, RecursionError) as fault:
                yield self._fault(index, line, fault)
                return
            char = self._next()
            if char == ",":
                self._at += 1
            elif char != "]":
                yield self._fault(index + 1, self._line, ValueError("neither ',' nor ']' after a row"))
                return
        self._at += 1
        if self._next():
            yield self._fault(index + 1, self._line, ValueError("text after the end of the list"))

    def _fault(self, index: int, line: int, fault: Exception) -> BadRow:
        text = self._text[self._at : self._at + 200]
        if isinstance(fault, _LengthError):
            return _too_long(self._path, index, line, text)
        return _not_json(self._path, index, line, text, fault, "; nothing behind it is read")

    def _next(self) -> str:
        """The next letter that is no space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._go(found.end() if found else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _go(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _more(self) -> bool:
        """Read on; the window doubles where a row is long, so that it is not parsed again and again."""
        if self._ended:
            return False
        rest = self._text[self._at :]
        data = self._stream.read(max(CHUNK_BYTES, len(rest)))
        self._options.advance(len(data))
        self._ended = not data
        more = self._decode(data, self._ended)
        if self._line == 1 and not rest:
            more = more.removeprefix(BOM)
        self._suspect = (bool(rest) and self._suspect) or _doubtful(rest[-6:] + more)
        self._text, self._at = rest + more, 0
        return True

    def _value(self) -> Any:
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as fault:
                cut = fault.pos >= len(self._text) - _NEAR_END or fault.msg.startswith("Unterminated string")
                if self._ended or not cut:
                    raise
            else:
                if end < len(self._text) or self._ended:
                    break
            if len(self._text) - self._at > MAX_ROW_LETTERS:
                raise _LengthError
            self._more()
        if end - self._at > MAX_ROW_LETTERS:
            raise _LengthError
        if self._suspect:
            check_text(value)
        self._go(end)
        return value


class _LengthError(ValueError):
    pass


def _too_long(path: Path, index: int, line: int, text: str) -> BadRow:
    rule = f"may have {MAX_ROW_LETTERS} letters"
    return BadRow(str(path), index, line, "row", shown(text), rule, "split it, or move what is long into a file")


def _not_json(path: Path, index: int, line: int, text: str, fault: Exception, more: str = "") -> BadRow:
    reason = "too deeply nested" if isinstance(fault, RecursionError) else str(fault)[:200]
    return BadRow(str(path), index, line, "row", shown(text), f"must be JSON in UTF-8 ({reason}){more}", REMEDY)
