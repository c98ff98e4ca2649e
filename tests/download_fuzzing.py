"""Downloads made wrong on purpose, with a seed: one file of a good one is changed, and put back afterwards."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXTS = (
    "", " ", "../../etc/passwd", "/data/elsewhere/x.wav", "C:\\data\\x.wav", "..\\..\\x.wav", "\\\\host\\x",
    "a\0b", "9" * 5000, "-1", "0", "NaN", "inf", "1e309", "1e308", "x" * 200_000, "['open", "[" * 3000, "{'a': [1]}",
    "None", "[]",
    "ä€𝄞", "true", "<audio>", "\u202e", ".", "..", "a/../../b", "file:///etc/passwd", "https://example.org/x.wav", "~",
    "-", "[[1, 2], 3]", "0x10", "1_000", "١٢", "x" * 5000, "%00", "|", "a\tb",
)  # fmt: skip
HALF = "\ud800"
"""Half of a surrogate pair: text that JSON can hold and UTF-8 cannot."""
VALUES: tuple[Any, ...] = (
    *TEXTS, HALF, None, True, False, 0, -1, 1.5, 1e308, 10**17, 10**30, [], {}, [[]], [None], {"": {}}, {"a": "b"},
    ["x"] * 3000, [HALF],
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """What was changed, and by how much the number of rows; None: nobody can know."""

    what: str
    more: int | None


Change = Callable[[random.Random, bytes], tuple[bytes, Variant]]


def _write_table(table: list[list[str]], delimiter: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(table)
    return out.getvalue().encode("utf-8", "replace")


def _cell(draw: random.Random, table: list[list[str]], begin: int) -> str:
    """Change one cell below the header."""
    row = draw.choice(table[begin:])
    at, kind = draw.randrange(len(row)), draw.randrange(6)
    if kind == 0:
        row.pop()
    elif kind == 1:
        row += draw.choices(TEXTS[:12], k=3)
    elif kind == 2:
        row[at] = row[at][: draw.randrange(len(row[at]) + 1)]
    elif kind == 3:
        row[at] += draw.choice(TEXTS)
    else:
        row[at] = draw.choice(TEXTS)
    if not any(cell.strip() for cell in row):
        row[:] = ["x"]
    return f"cell {at} of {row[0][:20]!r}"


def change_csv(delimiter: str, header: int) -> Change:
    """Of a table with quotation marks."""

    def change(draw: random.Random, data: bytes) -> tuple[bytes, Variant]:
        table = list(csv.reader(io.StringIO(data.decode()), delimiter=delimiter))
        kind = draw.randrange(8)
        if kind == 0:
            table.insert(draw.randrange(header, len(table) + 1), list(draw.choice(table[header:])))
            return _write_table(table, delimiter), Variant("a row twice", 1)
        if kind == 1 and len(table) > header + 1:
            del table[draw.randrange(header, len(table))]
            return _write_table(table, delimiter), Variant("a row left out", -1)
        what = _cell(draw, table, header)
        return _write_table(table, delimiter), Variant(what, 0)

    return change


def change_tsv(delimiter: str, header: int) -> Change:
    """Of a table whose cells are split without more ado."""

    def change(draw: random.Random, data: bytes) -> tuple[bytes, Variant]:
        table = [line.split(delimiter) for line in data.decode().split("\n") if line]
        kind = draw.randrange(8)
        if kind == 0:
            table.append(list(draw.choice(table[header:])))
            more, what = 1, "a row twice"
        elif kind == 1 and len(table) > header + 1:
            del table[-1]
            more, what = -1, "a row left out"
        else:
            more, what = 0, _cell(draw, table, header)
        text = "\n".join(delimiter.join(cell.replace("\n", " ") for cell in row) for row in table) + "\n"
        return text.encode("utf-8", "replace"), Variant(what, more)

    return change


def _node(draw: random.Random, value: Any) -> Any:
    """The value with one node inside it changed."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        kind = draw.randrange(6)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return {**value, str(draw.choice(TEXTS))[:50]: draw.choice(VALUES)}
        return {**value, key: _node(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.7:
        at = draw.randrange(len(value))
        changed = [] if draw.random() < 0.2 else [_node(draw, value[at])] * draw.choice((1, 1, 2))
        return [*value[:at], *changed, *value[at + 1 :]]
    return draw.choice(VALUES)


def change_json(draw: random.Random, data: bytes) -> tuple[bytes, Variant]:
    """Of one JSON list or object of objects."""
    whole = json.loads(data)
    keys = list(whole) if isinstance(whole, dict) else list(range(len(whole)))
    key = draw.choice(keys)
    kind = draw.randrange(8)
    if kind == 0 and isinstance(whole, list):
        whole.append(whole[key])
        return json.dumps(whole).encode(), Variant("an entry twice", 1)
    if kind == 1 and len(keys) > 1:
        del whole[key]
        return json.dumps(whole).encode(), Variant("an entry left out", -1)
    if kind == 2 and isinstance(whole, dict):
        whole[draw.choice([*TEXTS, HALF])] = whole.pop(key)
        return json.dumps(whole).encode(), Variant("a key changed", 0)
    whole[key] = _node(draw, whole[key])
    return json.dumps(whole).encode(), Variant(f"entry {key}", 0)


def change_jsonl(draw: random.Random, data: bytes) -> tuple[bytes, Variant]:
    """Of one object a line."""
    lines = data.decode().rstrip("\n").split("\n")
    at = draw.randrange(len(lines))
    kind = draw.randrange(8)
    if kind == 0:
        lines.append(lines[at])
        more, what = 1, "a line twice"
    elif kind == 1 and len(lines) > 1:
        del lines[at]
        more, what = -1, "a line left out"
    elif kind == 2:
        lines[at] = draw.choice(("{", "[1]", "null", "x", '{"a":' * 3000, lines[at][:-5], '{"id": NaN}'))
        more, what = 0, f"line {at} is nonsense"
    else:
        lines[at] = json.dumps(_node(draw, json.loads(lines[at])))
        more, what = 0, f"line {at}"
    return ("\n".join(lines) + "\n").encode(), Variant(what, more)


def change_bytes(draw: random.Random, data: bytes) -> tuple[bytes, Variant]:
    """Of any file: cut, overwritten, in another encoding, with lines in disorder."""
    kind = draw.randrange(9)
    at = draw.randrange(len(data) + 1)
    if kind == 0:
        return data[:at], Variant("cut short", None)
    if kind == 1:
        byte = draw.choice((b"\xff", b"\0", b'"', b"\n", b"\r", b"\xed\xa0\x80"))
        return data[:at] + byte + data[at:], Variant("a byte", None)
    if kind == 2:
        return data.decode("utf-8", "replace").encode("utf-16"), Variant("in UTF-16", None)
    if kind == 3:
        nothing = (b"", b"\n\n", b"\xef\xbb\xbf", b"\0" * 500, b"x" * 100_000, b"[", b"{}", b"[]")
        return draw.choice(nothing), Variant("nothing in it", None)
    if kind == 4:
        return data[:at] + draw.choice(TEXTS).encode() + data[at:], Variant("a text put in", None)
    if kind == 5:
        lines = data.split(b"\n")
        draw.shuffle(lines)
        return b"\n".join(lines), Variant("lines in disorder", None)
    if kind == 6:
        length = draw.randrange(1, 20)
        return data[:at] + draw.randbytes(length) + data[at + length :], Variant("overwritten", None)
    if kind == 7:
        return data.replace(b"\n", b"\r\n"), Variant("lines of Windows", None)
    return data[:at] + data[: at // 2] + data[at:], Variant("a part twice", None)


def changes_of(path: Path, header: int, quoted: bool) -> list[Change]:
    """Ways to change a file of rows, by its kind."""
    with path.open("rb") as stream:
        begin = stream.read(1)
    if path.suffix == ".json":
        own = [change_json] * 3
    elif path.suffix == ".jsonl":
        own = [change_jsonl] * 3
    elif begin in (b"[", b"{"):
        own = [change_json] * 3
    else:
        delimiter = "\t" if b"\t" in path.read_bytes() else "," if path.suffix == ".csv" else " "
        own = [(change_csv if quoted else change_tsv)(delimiter, header)] * 3
    return [*own, change_bytes]


@contextmanager
def changed(path: Path, data: bytes | None) -> Iterator[None]:
    """A file with other contents, or gone, for a while."""
    before = path.read_bytes()
    try:
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        yield
    finally:
        path.write_bytes(before)
