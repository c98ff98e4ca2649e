"""Records: what a row may be, and that files come back as they were written."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alm.errors import RecordError
from data_prep.records import Message, Record, from_row, read_records, to_row, write_records


def record(**more: Any) -> Record:
    facts: dict[str, Any] = {
        "id": "r1",
        "messages": (Message("user", "<audio>What is it?"), Message("assistant", "A dog.")),
        "audios": ("a.flac",),
        "source": "scratch",
        "task": "label",
        "split": "train",
        "licence": "CC0-1.0",
        "duration": 1.5,
        "meta": {"answer": "dog bark"},
    }
    return Record(**(facts | more))


def test_round_trip(tmp_path: Path) -> None:
    rows = [record(), record(id="r2", meta={"options": ["a", "b"], "text": "änderung ünd 語"})]
    assert write_records(rows, tmp_path / "x.jsonl") == 2
    assert list(read_records(tmp_path / "x.jsonl", absolute=False)) == rows
    assert next(iter(read_records(tmp_path / "x.jsonl"))).audios == (str(tmp_path / "a.flac"),)
    before = (tmp_path / "x.jsonl").read_bytes()
    write_records(list(read_records(tmp_path / "x.jsonl", absolute=False)), tmp_path / "x.jsonl")
    assert (tmp_path / "x.jsonl").read_bytes() == before


USER, REPLY = Message("user", "<audio>Hi"), Message("assistant", "Yes.")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("split", "validation"),
        ("licence", ""),
        ("duration", float("nan")),
        ("duration", -1.0),
        ("audios", ()),
        ("audios", ("a.flac", "b.flac")),
        ("audios", ("",)),
        ("messages", ()),
        ("messages", (USER,)),
        ("messages", (REPLY, USER)),
        ("messages", (USER, REPLY, REPLY)),
        ("messages", (USER, Message("assistant", "<audio> no"))),
        ("messages", (USER, Message("assistant", "  "))),
        ("messages", (Message("user", "<audio>"), REPLY)),
        ("messages", (USER, REPLY, Message("system", "late"), REPLY)),
        ("meta", []),
    ],
)
def test_faulty_records_are_refused(field: str, value: object) -> None:
    with pytest.raises(RecordError, match=field):
        record(**{field: value})


def test_good_shapes_pass() -> None:
    record(messages=(Message("system", "Be brief."), USER, REPLY, Message("user", "And?"), REPLY))
    record(messages=(Message("user", "Same?<audio><audio>"), REPLY), audios=("a.flac", "b.flac"))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '"x"', "{}", json.dumps({"id": 1}), "\ud800".encode("utf-8", "surrogatepass").decode("latin1")],
)
def test_faulty_lines_name_file_and_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(to_row(record())) + "\n" + text + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"x\.jsonl:2"):
        list(read_records(path))


def test_unknown_and_missing_fields_and_doubles(tmp_path: Path) -> None:
    row = to_row(record())
    with pytest.raises(RecordError, match="answer"):
        from_row(row | {"answer": "x"})
    with pytest.raises(RecordError, match="licence"):
        from_row({name: value for name, value in row.items() if name != "licence"})
    assert from_row({name: value for name, value in row.items() if name != "meta"}).meta == {}
    with pytest.raises(RecordError, match="twice"):
        write_records([record(), record()], tmp_path / "x.jsonl")
    with pytest.raises(RecordError, match="no such file"):
        list(read_records(tmp_path / "y.jsonl"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None)
@given(value=json_values, field=st.sampled_from([item.name for item in dataclasses.fields(Record)]))
def test_any_value_in_any_field_gives_a_record_or_a_typed_error(value: object, field: str) -> None:
    for row in (value, to_row(record()) | {field: value}):
        with contextlib.suppress(RecordError):
            from_row(row)
