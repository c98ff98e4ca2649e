"""Spoilt rows and spoilt files of each format (2,000 of each with --run-slow): each row is a record or told of."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from format_rows import COMPA_R, ROWS, SUFFIXES, save, table_rows

from alm.errors import RecordError
from data_prep.formats import FORMATS, BadRow
from data_prep.formats.paths import ADDRESSES
from data_prep.records import Record, from_row, to_row

VARIANTS = pytest.mark.parametrize("variants", [100, pytest.param(2000, marks=pytest.mark.slow)])
PATHS = (
    "/etc/passwd", "../../a.wav", "a/../../b.wav", "/disk/of/others/a.wav", "C:\\a.wav", "..\\..\\a.wav", "a\0.wav",
    "file:///a.wav", "ftp://a/b.wav", "https://example.org/a.wav", "data:audio/wav;base64,AA", " ", ".", "..", "/",
    "x" * 5000, "<audio>", "a.wav\n",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 2**63, 2**64, -(2**70), 10**400, 1.5, -0.0, 1e308, "", " ", "\n", "x", "nan", "inf",
    "1e999", "train", "val", "<audio>", "<audio><audio>", "<sound>", "<sound-2>", "<sound-99>", "\u202e", "é" * 99,
    "y" * 200_001,
    [], [[]], {}, [1], ["a.wav"], ["a.wav", "b.wav"], {"path": "a.wav"}, {"a": {"b": [None]}}, [{"role": "user"}],
    '{"a": 1}', "[1]", '["a.wav"]', "{", [["q", "a"]], [{"role": "user", "content": "x"}], "tool", "system",
)  # fmt: skip
PIECES = (b'"', b"\\", b"{", b"[", b",", b"\n", b"\xff", b"\xc3", b"\0", b"\xef\xbb\xbf", b"1e999", b"\\ud800")
KEYS = ("id", "meta", "duration", "split", "system", "audios", "audio", "images", "messages", "message_extras", "", "é")


def spoilt(row: Any, rng: random.Random, spoil: Callable[[Any, random.Random], Any]) -> Any:
    """A copy of a row with one to three things in it changed, at any depth."""
    row = copy.deepcopy(row)
    for _ in range(rng.randint(1, 3)):
        _spoil(row, rng, spoil)
    return row


def _spoil(value: Any, rng: random.Random, spoil: Callable[[Any, random.Random], Any]) -> None:
    places = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not places or rng.random() < 0.1:
        if isinstance(value, dict):
            value[rng.choice(KEYS)] = spoil(None, rng)
        else:
            value.append(spoil(None, rng))
        return
    place = rng.choice(places)
    if isinstance(value[place], dict | list) and rng.random() < 0.7:
        _spoil(value[place], rng, spoil)
    elif rng.random() < 0.25:
        del value[place]
    else:
        value[place] = spoil(value[place], rng)


def any_value(was: Any, rng: random.Random) -> Any:
    if isinstance(was, str) and "." in was and rng.random() < 0.7:
        return rng.choice(PATHS)
    return copy.deepcopy(rng.choice(VALUES))


def text_value(was: Any, rng: random.Random) -> str:
    """For tables, whose cells are text."""
    value = any_value(was, rng)
    if isinstance(was, str) and rng.random() < 0.3:
        return was[: rng.randrange(len(was) + 1)] + rng.choice('"[]{}\\,') + was[rng.randrange(len(was) + 1) :]
    return value if isinstance(value, str) else json.dumps(value)


def complaints(found: Sequence[Record | BadRow], rows: int, root: Path) -> list[str]:
    """What is wrong with a reading, whatever the rows were."""
    wrong = [] if len(found) == rows else [f"{len(found)} of {rows} rows are told of"]
    for one in found:
        if isinstance(one, BadRow):
            if not (one.field and one.rule and one.remedy and one.index and len(str(one)) < 1500):
                wrong.append(f"says too little or too much: {one}")
            str(one).encode("utf-8", "backslashreplace")
            continue
        for path in one.audios:
            if not path.startswith(ADDRESSES) and (not path.startswith(f"{root}/") or ".." in Path(path).parts):
                wrong.append(f"leads out: {path[:80]}")
        try:
            row = json.loads(json.dumps(to_row(one), allow_nan=False, ensure_ascii=False).encode())
            assert from_row(row) == one
        except (ValueError, RecordError, AssertionError, RecursionError) as fault:
            wrong.append(f"is no record: {fault}")
    return wrong


def cases(name: str, rng: random.Random, variants: int) -> list[Any]:
    rows = ROWS[name] + ([COMPA_R] if name == "openaqa" else [])
    if name in ("csv", "parquet"):
        rows = rows + table_rows(ROWS["alm"])
        made = [spoilt(_named(rng.choice(rows), place), rng, text_value) for place in range(variants)]
        names = sorted({key for row in made for key in row if key})
        return [{key: row.get(key, "") for key in names} for row in made]
    whole: list[Any] = [None, 3, "x", [], {}, [{}]]
    made = [spoilt(_named(rng.choice(rows), place), rng, any_value) for place in range(variants)]
    return [row if rng.random() > 0.01 else rng.choice(whole) for row in made]


def _named(row: Any, place: int) -> Any:
    """A row that has an id has one of its own."""
    return row | {"id": f"row {place}"} if "id" in row else row


def expected(rows: list[Any]) -> int:
    """How many records or bad rows must come of these rows: one each, but of CompA-R one for each of its pairs."""
    return sum(_pairs(row) for row in rows)


def _pairs(row: Any) -> int:
    pairs = row.get("instruction_output") if isinstance(row, dict) else None
    return len(pairs) if isinstance(pairs, list) and pairs else 1


@VARIANTS
@pytest.mark.parametrize("name", ROWS)
def test_each_spoilt_row_is_a_record_or_told(name: str, variants: int, tmp_path: Path) -> None:
    rows = cases(name, random.Random(f"rows {name}"), variants)
    path = save(name, rows, tmp_path / f"x{SUFFIXES[name]}")
    found = list(FORMATS[name].read(path))
    count = expected(rows) if name == "openaqa" else len(rows)
    assert not complaints(found, count, tmp_path)
    good = [one for one in found if isinstance(one, Record)]
    assert len(rows) * 0.02 < len(good) < len(rows) * 0.9, "the rows are spoilt enough, and not too much"
    for target in FORMATS.values():
        losses = target.losses(good)
        assert losses.written + losses.refused.total() == len(good)
    FORMATS[name].write(good, out := tmp_path / f"again{SUFFIXES[name]}")
    if name != "openaqa":
        assert list(FORMATS[name].read(out)) == good


@VARIANTS
@pytest.mark.parametrize("name", ROWS)
def test_each_spoilt_file_is_read_or_told(name: str, variants: int, tmp_path: Path) -> None:
    rng = random.Random(f"files {name}")
    suffixes = (SUFFIXES[name],) if name in ("csv", "parquet") else (".json", ".jsonl")
    paths = [save(name, ROWS[name], tmp_path / f"x{suffix}") for suffix in suffixes]
    whole = {path: path.read_bytes() for path in paths}
    for _ in range(variants):
        path = rng.choice(paths)
        data = spoilt_bytes(whole[path], rng)
        path.write_bytes(data)
        try:
            found = list(FORMATS[name].read(path))
        except RecordError as fault:
            assert str(path) in str(fault)
            continue
        count = len([line for line in data.split(b"\n") if line.strip()]) if path.suffix == ".jsonl" else len(found)
        if not data.lstrip().startswith(b"["):
            assert not complaints(found, count, tmp_path), data


def spoilt_bytes(data: bytes, rng: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, kind = rng.randrange(len(made) or 1), rng.randrange(5)
        if kind == 0:
            made[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            made[place:place] = rng.choice(PIECES)
        elif kind == 2:
            del made[place : place + rng.randint(1, 9)]
        elif kind == 3:
            del made[place:]
        else:
            made[place:place] = made[place // 2 : place]
    return bytes(made)


@pytest.mark.parametrize("break_it", [lambda found: found[1:], lambda found: found + found[:1]])
def test_a_row_lost_in_silence_is_seen(break_it: Callable[[list[Any]], list[Any]], tmp_path: Path) -> None:
    found = list(FORMATS["openaqa"].read(save("openaqa", ROWS["openaqa"], tmp_path / "x.jsonl")))
    assert not complaints(found, 2, tmp_path)
    assert complaints(break_it(found), 2, tmp_path)


def test_a_path_that_leads_out_is_seen(tmp_path: Path) -> None:
    found = list(FORMATS["openaqa"].read(save("openaqa", ROWS["openaqa"], tmp_path / "x.jsonl")))
    assert complaints(found, 2, tmp_path / "audio" / "deeper")
