"""Whatever a file holds, a reader gives records or one typed error that names the file; nothing else leaves it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from batch_helpers import a_row, must_not_load, read, run, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alm.errors import AlmError, ConfigError, RecordError
from serve.batch import readers
from serve.batch.sources import open_source
from serve.batch.stages import RecordingCache

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
NAMES = st.sampled_from(
    "id messages audios audio question role content custom_id method url body instruction input audio_id".split()
)
OBJECTS = st.dictionaries(NAMES | st.text(max_size=4), VALUES, max_size=5)


def outcome_or_error(path: Path, target: Path) -> Any:
    """Every row answered or failed, or one error that names the file."""
    for old in target.parent.glob(f"{target.name}*"):
        old.unlink()
    try:
        outcome = run(path, target, max_errors_in_a_row=10**6)
    except AlmError as error:
        assert path.name in str(error) and "\n" not in str(error)
        assert isinstance(error, RecordError | ConfigError)
        return error
    assert outcome.answered + outcome.failed == outcome.total
    return outcome


@pytest.mark.parametrize("ending", ENDINGS)
@given(content=st.binary(max_size=200) | st.text("[]{}\",:\\ \n\r\t\0a1é\ud800", max_size=80).map(
    lambda text: text.encode("utf-8", "surrogatepass")
))  # fmt: skip
@QUICK
def test_garbage_is_one_typed_error(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"in{ending}"
    path.write_bytes(content)
    outcome_or_error(path, tmp_path / "out.jsonl")


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv"])
@given(rows=st.lists(OBJECTS, max_size=4))
@QUICK
def test_any_fields_give_a_row_out_for_every_row_in(ending: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path, target = tmp_path / f"in{ending}", tmp_path / "out.jsonl"
    if ending == ".csv":
        file = io.StringIO(newline="")
        names = list(dict.fromkeys(name for row in rows for name in row)) or ["id"]
        csv.writer(file).writerow(names)
        csv.writer(file).writerows([json.dumps(row.get(name)) for name in names] for row in rows)
        path.write_bytes(file.getvalue().encode("utf-8", "surrogatepass"))
    else:
        lines = [json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) if ending == ".jsonl" else f"[{','.join(lines)}]")
    result = outcome_or_error(path, target)
    if not isinstance(result, AlmError):
        if open_source(path).dialect != "openai":
            assert len(read(target)) == result.total
        again = run(path, target, load=must_not_load)
        assert again.already == again.total, "what was written is known again"


@given(data=st.data())
@QUICK
def test_a_damaged_parquet_is_one_typed_error(data: st.DataObject, tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([a_row(i, audios=[]) for i in range(9)]), file)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "in.parquet"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    outcome_or_error(path, tmp_path / "out.jsonl")


@given(rows=st.lists(OBJECTS, max_size=6), step=st.integers(1, 9))
@QUICK
def test_a_list_is_read_alike_in_any_pieces(rows: list[dict[str, Any]], step: int, tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text(json.dumps(rows, indent=step % 3 or None))
    before = readers._CHUNK_CHARACTERS
    readers._CHUNK_CHARACTERS = step
    try:
        found = [fields for _, fields in readers.json_records(path)]
    finally:
        readers._CHUNK_CHARACTERS = before
    assert json.dumps(found) == json.dumps(rows)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"id": 1}\n\xff\n', "a.jsonl line 2: not JSON"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl line 1: not JSON"),
        ("a.jsonl", b'{"x": ' + b"[" * 70 + b"]" * 70 + b"}", "a.jsonl line 1: more than 64"),
        ("a.jsonl", b'{"x": ' + b"9" * 5000 + b"}", "a.jsonl line 1: not JSON"),
        ("a.jsonl", b'{"x": "' + b"y" * 2**20 + b'"}', "a.jsonl line 1: longer than 1048576 bytes"),
        ("a.json", b'[{"id": 1}, {', "a.json item 2: not JSON"),
        ("a.json", b'[{"id": 1} {"id": 2}]', "a.json item 1: '{' where ',' should follow"),
        ("a.json", b'[{"id": 1}', "a.json item 1: the end where ',' should follow"),
        ("a.json", b"[{}, 7]", "a.json item 2: a int"),
        ("a.json", b"[{}] x", "a.json: goes on after the end"),
        ("a.json", b'[{"a": "\xff"}]', "a.json item 0: not UTF-8"),
        ("a.json", b"[" * 100_000, "a.json item 1: not JSON"),
        ("a.csv", b"id,question\n1,a,b\n", "a.csv line 2: 3 fields under a header of 2"),
        ("a.csv", b"id,id\n1,2\n", "a.csv: two columns are called 'id'"),
        ("a.csv", b'id,question\n1,"open\n', "a.csv line 2: no CSV in UTF-8"),
        ("a.csv", b"id,question\n1,\xff\n", "no CSV in UTF-8"),
        ("a.csv", b"id,question\n1," + b"x" * 200_000, "a.csv line 2: no CSV .* more than 131072 characters"),
        ("a.csv", b'id,question\n1,"' + b"y\n" * 100_000, "a.csv line 2: no CSV"),
        ("a.csv", b"id,question\n1," + b'"y\n",' * 300_000, "a row of more than 1048576 characters"),
        ("a.parquet", b"PAR1", "a.parquet after row 0: no readable Parquet"),
        ("a.csv", b"id,question\n1,a\n1,b\n", "a.csv line 3: the id '1' was used in line 2"),
        ("a.json", b'[{"id": 1}, {"id": "1"}]', "a.json item 2: the id '1' was used in item 1"),
    ],
)  # fmt: skip
def test_damage_is_named_by_file_and_place(
    name: str, content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_RECORD_BYTES", 2**20)
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordError, match=message):
        run(tmp_path / name, tmp_path / "out.jsonl", load=must_not_load)
    assert not (tmp_path / "out.jsonl").exists(), "nothing was begun"


def test_nul_in_any_field_is_a_failed_row(tmp_path: Path) -> None:
    source = write(tmp_path, [{"id": "a\0", "audio": "x\0.wav", "question": "\0"}, {"id": "b", "question": "fine"}])
    assert run(source, tmp_path / "out.jsonl").failed == 1
    (tmp_path / "in.csv").write_bytes(b"id,audio,question\na\0,x\0.wav,what\0\n")
    assert run(tmp_path / "in.csv", tmp_path / "out.csv").failed == 1


@pytest.mark.parametrize("path", ["missing.jsonl", "missing.csv", "no\0name.json"])
def test_what_cannot_be_opened_is_named(path: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        open_source(tmp_path / path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(RecordError, match="is a pipe"):
        open_source(tmp_path / "pipe.jsonl")


@given(fields=OBJECTS)
@QUICK
def test_a_row_is_made_ready_or_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    from serve.batch.rows import Line
    from serve.batch.sources import Source

    for dialect in ("rows", "openaqa", "openai"):
        for container in ("jsonl", "csv"):
            source = Source(tmp_path / "in", container, dialect)  # type: ignore[arg-type]
            try:
                source.ready(Line(1, "q", fields), RecordingCache())
            except AlmError as error:
                assert str(error)
