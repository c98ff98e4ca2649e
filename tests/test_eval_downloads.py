"""Official downloads are not trusted: what they hold is bounded, and faults name file, line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_fixtures import build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alm.errors import RecordError
from eval.benchmarks import download, prepare
from eval.benchmarks.download import Download, Row
from eval.benchmarks.embedded import extracted


def refused(folder: Path, name: str, match: str) -> None:
    with pytest.raises(RecordError, match=match):
        prepare(name, folder, folder.parent / "out", allow_lost=True)


def mmau_row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "u", "audio_id": "./a.wav", "question": "Which?", "choices": ["a", "b"], "answer": "a", "task": "sound",
        "difficulty": "easy", "category": "Reasoning", "sub-category": "x",
    }
    return {**row, **changes}


def mmau(folder: Path, rows: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mmau-test-mini.json").write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return folder


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"audio_id": "../secret.wav"}, "does not stay inside"),
        ({"audio_id": "/etc/passwd"}, "does not stay inside"),
        ({"audio_id": "a\\..\\..\\b.wav"}, "does not stay inside"),
        ({"audio_id": "a\0b"}, "does not stay inside"),
        ({"audio_id": "x" * 5000}, "does not stay inside"),
        ({"audio_id": ""}, "entry 1, field 'audio_id'.*must be text that is not empty"),
        ({"question": None}, "mmau-test-mini.json, entry 1, field 'question'"),
        ({"question": ["list"]}, "field 'question'.*must be text"),
        ({"choices": "not a list"}, "field 'choices'.*not JSON"),
        ({"choices": 3}, "field 'choices'.*must be a list"),
        ({"choices": [{"a": 1}, "b"]}, "field 'choices'.*must be text"),
        ({"id": True}, "field 'id'.*must be text"),
        ({"question": "half \ud83d"}, "field 'question'.*half a character"),
    ],
)
def test_fields_that_are_wrong_are_named(change: dict[str, Any], match: str, tmp_path: Path) -> None:
    refused(mmau(tmp_path / "in", [mmau_row(**change)]), "mmau", match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[", "mmau-test-mini.json: not JSON"),
        ("[1]", "entry 1: must be an object"),
        ('{"choices": ["a", "b"], "answer": "a"}', "mmau-test-mini.json, line 1, field 'audio_id'"),
        ('{"a": 1}\n{', "line 2: not JSON"),
        ("[" * 100_000, "not JSON"),
        ('[{"id": NaN}]', "NaN is no number"),
        ('[{"id": ' + "9" * 10_000 + "}]", "not JSON"),
        ("[]", "not one item"),
    ],
)
def test_tables_that_are_broken_are_refused(text: str, match: str, tmp_path: Path) -> None:
    refused(mmau(tmp_path / "in", text), "mmau", match)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = mmau(tmp_path / "in", [mmau_row(question="x" * 2000, choices=["a", *map(str, range(200))])] * 20)
    for name, limit, match in (
        ("MAX_LETTERS", 1000, "2000 letters; at most 1000"),
        ("MAX_ENTRIES", 100, "201 entries; at most 100"),
        ("MAX_ROWS", 10, "at most 10 objects"),
        ("MAX_TABLE_BYTES", 5000, "bytes; at most 5000"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(download, name, limit)
            refused(folder, "mmau", match)


def test_other_tables_name_their_lines(tmp_path: Path) -> None:
    folder = build("clotho", tmp_path / "in")
    table = folder / "clotho_captions_evaluation.csv"
    table.write_text(table.read_text().replace("Caption 3 of steps.wav, as heard.", ""))
    refused(folder, "clotho", "clotho_captions_evaluation.csv, line 3, field 'caption_3'")
    table.write_bytes(b"file_name\xff\n")
    refused(folder, "clotho", "cannot be read as utf-8-sig text")
    parquet = build("mmau-pro", tmp_path / "pro")
    (parquet / "test.parquet").write_bytes(b"PAR1 and nothing else")
    refused(parquet, "mmau-pro", "test.parquet: not a Parquet file")
    scene = build("seld-2019", tmp_path / "seld")
    (scene / "metadata_eval/split0_ir0_ov1_1.csv").write_text(
        "sound_event_recording,start_time,end_time,ele,azi,dist\nbang,0,1,0,0,1\n"
    )
    refused(scene, "seld-2019", "field 'sound_event_recording': 'bang' must be one of knock")
    sets = build("audioset", tmp_path / "sets")
    (sets / "eval_segments.csv").write_text('abcdefghijk, 0.0, 10.0, "/m/unknown"\n')
    refused(sets, "audioset", "class_labels_indices.csv does not know")


def test_long_fields_leave_the_csv_module_as_it_was(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    (tmp_path / "t.csv").write_text("a\n" + "x" * 200_000 + "\n")
    rows = list(Download(tmp_path).csv_rows("t.csv"))
    assert len(rows[0].text("a")) == 200_000 and csv.field_size_limit() == before


def test_bytes_of_recordings_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Download(tmp_path)
    monkeypatch.setattr("eval.benchmarks.embedded.MAX_BYTES", 10)
    for value in (b"x" * 11, b"", None, "text"):
        with pytest.raises(RecordError, match="must hold the bytes of a recording"):
            extracted(source, Row("table, row 1", {"audio": {"bytes": value}}), "audio", "one")
    assert extracted(source, Row("table, row 1", {"audio": {"bytes": b"OggS"}}), "audio", "one") == "unpacked/one.ogg"
    with pytest.raises(RecordError, match="does not stay inside"):
        extracted(source, Row("table, row 1", {"audio": {"bytes": b"OggS"}}), "audio", "../../one")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.sampled_from(["id", "audio_id", "question", "choices", "answer", "task", "difficulty", "category"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(FIELDS, JUNK, max_size=3))
def test_rows_of_junk_end_in_items_or_typed_errors(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = mmau(tmp_path / "in", [mmau_row(**changes), mmau_row(id="other", audio_id="b.wav")])
    (folder / "b.wav").write_bytes(b"RIFF")
    try:
        assert prepare("mmau", folder, tmp_path / "out", allow_lost=True).items
    except RecordError as error:
        assert str(error)
