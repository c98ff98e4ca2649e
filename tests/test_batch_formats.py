"""What the batch runner reads and writes: every format in, the same rows with answers out."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from batch_helpers import a_row, make_clips, must_not_load, read, run, user, write
from typer.testing import CliRunner

from alm.audio import waveform_to_wav_bytes
from alm.errors import AlmError, ConfigError, RecordError
from alm.testing import tone
from serve.__main__ import app
from serve.api.openai_schema import ChatResponse
from serve.batch.rows import Line
from serve.batch.runner import validate
from serve.batch.sources import Source, open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_clips(tmp_path)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def read_parquet(path: Path) -> list[dict[str, Any]]:
    return list(pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist())


# --- our rows in tables ---


def test_simple_columns_of_csv(folder: Path) -> None:
    rows = [
        {"id": "1", "audio": "clips/a.wav", "question": "What, \"this\"\nis it?", "place": "Köln"},
        {"id": "", "audio": "", "question": "Hello", "place": ""},
        {"id": "3", "audio": "clips/none.wav", "question": "What?", "place": "x"},
    ]
    target = folder / "out.csv"
    outcome = run(write_csv(folder / "in.csv", rows), target)
    assert (outcome.answered, outcome.failed) == (2, 1)
    done = read_csv(target)
    assert [{k: row[k] for k in ("audio", "question", "place")} for row in done] == [
        {k: row[k] for k in ("audio", "question", "place")} for row in rows
    ]
    assert done[0]["answer"].endswith('given 1.00 s. You asked: What, "this"\nis it?') and done[0]["error"] == ""
    assert len(done[1]["id"]) == 32 and "no new recording" in done[1]["answer"]
    assert done[2]["answer"] == "" and done[2]["error"].startswith("AudioError: none.wav: no such file")


def test_lists_in_columns(folder: Path) -> None:
    """As JSON in a CSV, as lists in Parquet; both are the row of a JSON line."""
    row = a_row("x", "<audio>Same as <audio>?", ["clips/b.wav", "clips/a.wav"])
    written = {key: value if key == "id" else json.dumps(value) for key, value in row.items()}
    sources = [
        write(folder, [row]),
        write_csv(folder / "in.csv", [written]),
        write_parquet(folder / "in.parquet", [row]),
        write_parquet(folder / "texts.parquet", [written]),
    ]
    answers = []
    for source in sources:
        target = folder / f"{source.name}.answers.jsonl"
        assert run(source, target).answered == 1
        answers.append(read(target)[0]["answer"])
    assert len(set(answers)) == 1 and "2.00 s and 1.00 s" in answers[0]


def test_parquet_keeps_types(folder: Path) -> None:
    rows = [{**a_row(i), "score": i / 2, "flags": [True], "none": None} for i in range(3)]
    rows[1]["audios"] = ["clips/bad.wav"]
    target = folder / "out.parquet"
    run(write_parquet(folder / "in.parquet", rows), target, details=True)
    done = read_parquet(target)
    assert [{key: row[key] for key in rows[0]} for row in done] == rows
    assert done[0]["answer"] and done[0]["error"] is None and json.loads(done[0]["usage"])["audio_tokens"] == 16
    assert done[1]["answer"] is None and "AudioError" in done[1]["error"]


def test_parquet_of_other_types(folder: Path) -> None:
    """Numbers as ids, some of them missing; types that JSON does not know."""
    when, cents = datetime(2026, 1, 2, 3, 4, 5), Decimal("1.50")
    rows = [{"id": i, "question": "What?", "when": when, "cents": cents, "raw": b"\xff"} for i in (1, None)]
    source = write_parquet(folder / "in.parquet", rows)
    for target in (folder / "out.parquet", folder / "out.csv", folder / "out.jsonl"):
        assert run(source, target).answered == 2
        assert run(source, target, load=must_not_load).already == 2
    done = read_parquet(folder / "out.parquet")
    assert done[0]["id"] == "1" and len(done[1]["id"]) == 32
    assert [(row["when"], row["cents"], row["raw"]) for row in done] == [(when, cents, b"\xff")] * 2
    run(write_parquet(folder / "whole.parquet", rows[:1]), folder / "whole.out.parquet")
    assert read_parquet(folder / "whole.out.parquet")[0]["id"] == 1


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_rows_of_lines_become_a_table(ending: str, folder: Path) -> None:
    rows = [a_row("ä", n=1), a_row(2, more={"x": [None]}), a_row("\ud800")]
    target = folder / f"out{ending}"
    run(write(folder, rows), target)
    done = read_csv(target) if ending == ".csv" else read_parquet(target)
    assert [row["id"] for row in done] == ["ä", "2", "\\ud800"]
    assert done[1]["more"] == '{"x": [null]}' and json.loads(done[0]["messages"]) == rows[0]["messages"]
    again = run(target.with_name("in.jsonl"), target, load=must_not_load)
    assert again.already == 3


def test_an_answered_table_is_refused_as_input(folder: Path) -> None:
    """Its answers would be overwritten; it is told before a model is loaded, and nothing is begun."""
    run(write(folder, [a_row(1)]), folder / "out.csv")
    with pytest.raises(RecordError, match="out.csv: the field 'answer' is written by the batch"):
        run(folder / "out.csv", folder / "again.jsonl", load=must_not_load)
    assert not (folder / "again.jsonl").exists()


def test_tables_with_other_columns_or_endings_are_refused_at_once(folder: Path) -> None:
    for text, columns in (("id,prompt\n1,What?\n", "id, prompt"), ("id;question\n1;What?\n", "id;question")):
        (folder / "table.csv").write_text(text)
        with pytest.raises(RecordError, match=f"no column 'question' or .*; the columns are {columns};.*commas"):
            open_source(folder / "table.csv")
    (folder / "table.csv").rename(folder / "table.tsv")
    with pytest.raises(RecordError, match="tables are read as .csv"):
        open_source(folder / "table.tsv")
    with pytest.raises(ConfigError, match="answers are written as .jsonl, .csv or .parquet"):
        run(write(folder, [a_row(1)]), folder / "out.xlsx", load=must_not_load)


def test_rows_without_a_recording_are_counted(folder: Path) -> None:
    """A column with another name than `audio` would else be answered without sound, and nobody told."""
    (folder / "table.csv").write_text("file,question\nclips/a.wav,What?\n")
    assert run(folder / "table.csv", folder / "out.jsonl").without_recording == 1
    assert validate(open_source(folder / "table.csv")).without_recording == 1
    assert run(write(folder, [a_row(1)]), folder / "good.jsonl").without_recording == 0, "control"


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_is_resumed_in_the_order_of_the_input(ending: str, folder: Path) -> None:
    rows = [a_row(i, audios=["clips/late.wav"] if i % 2 else ["clips/a.wav"]) for i in range(5)]
    source, target = write(folder, rows), folder / f"out{ending}"
    assert run(source, target, limit_rows=3).failed == 1
    reader: Callable[[Path], list[dict[str, Any]]] = read_csv if ending == ".csv" else read_parquet
    assert len(reader(target)) == 3, "what is there so far"
    (folder / "clips" / "late.wav").write_bytes((folder / "clips" / "b.wav").read_bytes())
    assert run(source, target, retry_errors=True).failed == 0
    assert [row["id"] for row in reader(target)] == ["0", "1", "2", "3", "4"]
    target.unlink()
    assert run(source, target, load=must_not_load).already == 5 and len(reader(target)) == 5


def test_a_file_of_somebody_else_is_left_alone(folder: Path) -> None:
    target = folder / "mine.csv"
    target.write_text("a,b\n")
    with pytest.raises(ConfigError, match=r"mine\.csv: there already"):
        run(write(folder, [a_row(1)]), target)
    assert target.read_text() == "a,b\n"


def test_parquet_without_pyarrow_names_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(folder, [a_row(1)])
    (folder / "in.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    for path, target in ((source, folder / "out.parquet"), (folder / "in.parquet", folder / "out.jsonl")):
        with pytest.raises(ConfigError, match=r"pip install 'alm\[tables\]'"):
            run(path, target, load=must_not_load)


def test_too_many_columns_are_refused(folder: Path) -> None:
    rows = [a_row(1, **{f"x{i}": i for i in range(1000)})]
    with pytest.raises(ConfigError, match="write .jsonl instead"):
        run(write(folder, rows), folder / "out.csv")
    assert run(write(folder, rows), folder / "out.jsonl").answered == 1


# --- OpenAQA, JSON lists, folders ---


def test_openaqa(folder: Path) -> None:
    entries = [
        {"instruction": "What?", "input": "", "audio_id": "clips/a.wav", "dataset": "as", "task": "t", "output": "A."},
        {"instruction": "<audio>Where", "input": "exactly?", "audio_id": "clips/b.wav", "dataset": "as", "output": ""},
        {"instruction": "No sound?", "audio_id": ""},
        {"instruction": 3, "audio_id": "clips/a.wav"},
    ]
    source = folder / "open.json"
    source.write_text(json.dumps(entries, indent=1))
    assert run(source, folder / "out.jsonl").failed == 1
    done = read(folder / "out.jsonl")
    assert [{k: row[k] for k in row if k not in ("id", "answer", "error")} for row in done] == entries
    assert done[0]["answer"].endswith("1.00 s. You asked: What?") and done[0]["output"] == "A."
    assert done[1]["answer"].endswith("2.00 s. You asked: Where\nexactly?")
    assert done[3]["error"]["message"].endswith("(item 4): 'instruction' is int '3'; give a text")
    assert run(source, folder / "out.csv").answered == 3 and len(read_csv(folder / "out.csv")) == 4


def test_json_files_hold_lists_or_lines(folder: Path) -> None:
    rows = [a_row(i, text="<audio>" + "long " * 300_000) for i in range(3)]  # longer than a piece that is read at once
    (folder / "list.json").write_text(" \n" + json.dumps(rows) + "\n")
    write(folder, rows, "lines.json")
    (folder / "empty.json").write_text("[ ]")
    assert [open_source(folder / f"{name}.json").container for name in ("list", "lines", "empty")] == [
        "json", "jsonl", "json",
    ]  # fmt: skip
    assert [fields for _, fields in open_source(folder / "list.json").records()] == rows
    assert run(folder / "lines.json", folder / "out.jsonl").answered == 3
    assert run(folder / "empty.json", folder / "none.jsonl", load=must_not_load).total == 0


def test_a_folder_of_recordings(folder: Path) -> None:
    (folder / "clips" / "notes.txt").write_text("no recording")
    (folder / "clips" / "deep").mkdir()
    (folder / "clips" / "deep" / "A.WAV").write_bytes((folder / "clips" / "a.wav").read_bytes())
    target = folder / "answers.jsonl"
    outcome = run(folder / "clips", target, question="What do you hear?")
    assert (outcome.answered, outcome.failed) == (3, 1)
    done = read(target)
    assert [row["audios"] for row in done] == [["a.wav"], ["b.wav"], ["bad.wav"], ["deep/A.WAV"]]
    assert done[3]["id"] == done[0]["id"] + "-2", "the same content, told apart"
    assert done[1]["answer"] == "Turn 1: I was given 2.00 s. You asked: What do you hear?"
    assert run(folder / "clips", target, load=must_not_load, question="What do you hear?").already == 4
    for question in (None, " "):
        with pytest.raises(ConfigError, match="--question"):
            run(folder / "clips", folder / "x.jsonl", question=question)
    (folder / "empty").mkdir()
    with pytest.raises(RecordError, match="no recording in it"):
        run(folder / "empty", folder / "x.jsonl", question="What?")
    with pytest.raises(ConfigError, match="--question goes with a folder"):
        run(write(folder, [a_row(1)]), folder / "x.jsonl", question="What?")


# --- ids ---


def test_ids_come_from_content(folder: Path) -> None:
    def ids(*rows: dict[str, Any]) -> list[str]:
        target = folder / "out.jsonl"
        for path in folder.glob("out.jsonl*"):
            path.unlink()
        run(write(folder, rows), target)
        return [row["id"] for row in read(target)]

    def row(audio: str = "clips/a.wav", text: str = "<audio>What?", **more: Any) -> dict[str, Any]:
        return {"messages": user(text), "audios": [audio], **more}

    (folder / "clips" / "copy.wav").write_bytes((folder / "clips" / "a.wav").read_bytes())
    first, other, asked, copy, simple = ids(
        row(), row("clips/b.wav"), row(text="<audio>Why?"), row("clips/copy.wav", n=1),
        {"audio": "clips/a.wav", "question": "<audio>What?"},
    )  # fmt: skip
    assert len({first, other, asked}) == 3
    assert (copy, simple) == (f"{first}-2", f"{first}-3"), "the path does not count, nor how the row is written"
    assert ids(row("clips/b.wav"), row()) == [other, first], "nor the place in the file"
    (folder / "clips" / "a.wav").write_bytes((folder / "clips" / "b.wav").read_bytes())
    assert ids(row()) == [other], "nor the name of the file"


def test_a_row_without_id_is_resumed_by_its_content(folder: Path) -> None:
    rows = [{"audio": f"clips/{name}.wav", "question": "What?"} for name in ("a", "later", "b")]
    source, target = write(folder, rows), folder / "out.jsonl"
    assert run(source, target).failed == 1
    assert run(source, target, load=must_not_load).already == 3
    (folder / "clips" / "later.wav").write_bytes((folder / "clips" / "a.wav").read_bytes())
    with pytest.raises(RecordError, match="--retry-errors, if a recording was missing"):
        run(source, target, load=must_not_load)
    assert run(source, target, retry_errors=True).answered == 1
    assert len(read(target)) == 3


# --- OpenAI's batch lines ---


def request(identity: str, content: Any, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {
        "custom_id": identity, "method": "POST", "url": "/v1/chat/completions", "body": {"messages": messages, **body}
    }  # fmt: skip


def sound(seconds: float = 1.0) -> dict[str, Any]:
    data = base64.b64encode(waveform_to_wav_bytes(tone(seconds))).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def test_openai_batch_lines(folder: Path) -> None:
    lines = [
        request("r1", [sound(2.0), text("What is <audio> here?")], include_evidence=True, model="tiny"),
        request("r2", "Hello"),
        request("r3", [text("What?"), {"type": "input_audio", "input_audio": {"data": "!", "format": "wav"}}]),
        request("r4", [text("explode")]),
        request("r5", [text("Go on"), {"type": "audio_url", "audio_url": {"url": "https://example.org/a.wav"}}]),
    ]
    source, target = write(folder, lines), folder / "out.jsonl"
    outcome = run(source, target)
    assert (outcome.answered, outcome.failed, outcome.audio_seconds) == (2, 3, 2.0)
    done = read(target)
    assert [line["custom_id"] for line in done] == ["r1", "r2", "r3", "r4", "r5"]
    assert [line["response"]["status_code"] for line in done] == [200, 200, 400, 500, 400]
    assert all(set(line) == {"id", "custom_id", "response", "error"} and line["error"] is None for line in done)
    assert len({line["id"] for line in done}) == 5
    body = ChatResponse.model_validate(done[0]["response"]["body"])
    assert body.choices[0].message.content.startswith("Turn 1: I was given 2.00 s. You asked: What is")
    assert body.usage.audio_seconds == 2.0 and body.choices[0].message.evidence
    assert done[1]["response"]["body"]["choices"][0]["message"]["evidence"] is None
    assert "no base64" in done[2]["response"]["body"]["error"]["message"]
    assert run(source, target, load=must_not_load).already == 5
    assert run(source, target, retry_errors=True).failed == 3
    assert read(target)[0] == done[0], "answers stay as they are"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "GET"}, "the method is 'GET'"),
        ({"url": "/v1/embeddings"}, "the url is '/v1/embeddings'"),
        ({"body": None}, "body: Input should be"),
        ({"body": {"messages": []}}, "body.messages: List should have at least 1"),
        ({"body": {"messages": user("x"), "stream": True}}, "asks for a stream"),
        ({"body": {"messages": user("x"), "n": 2}}, "body.n"),
        ({"body": {"messages": user("x"), "max_tokens": 10**6}}, "the limit is 8192"),
        ({"body": {"messages": [{"role": "assistant", "content": "x"}]}}, "must take turns"),
    ],
)
def test_requests_that_cannot_be_answered_are_told(change: dict[str, Any], message: str, folder: Path) -> None:
    from serve.batch.stages import RecordingCache

    source = Source(folder / "in.jsonl", "jsonl", "openai")
    with pytest.raises(AlmError, match=message):
        source.ready(Line(1, "q", {**request("q", "x"), **change}), RecordingCache())


def test_requests_without_an_own_id_or_for_a_table_are_refused(folder: Path) -> None:
    lines = [request("a", "x"), {**request("b", "x"), "custom_id": None}]
    with pytest.raises(RecordError, match="line 2: no 'custom_id'"):
        run(write(folder, lines), folder / "out.jsonl", load=must_not_load)
    with pytest.raises(RecordError, match=r"line 2: the id 'a' was used in line 1"):
        run(write(folder, [lines[0], lines[0]]), folder / "out.jsonl", load=must_not_load)
    with pytest.raises(ConfigError, match=r"call it \.jsonl"):
        run(write(folder, lines[:1]), folder / "out.csv", load=must_not_load)


def test_the_command_reads_any_of_them_and_checks_without_a_model(folder: Path) -> None:
    write_csv(folder / "in.csv", [{"audio": "clips/a.wav", "question": "What?"}])
    write(folder, [request("a", [sound(), text("What?")])], "requests.jsonl")
    for source in ("in.csv", "requests.jsonl"):
        done = CliRunner().invoke(app, ["batch", str(folder / source), "--dry-run", "--json"], prog_name="alm")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["audio_seconds"] == 1.0
    write(folder, [request("a", [{**sound(), "input_audio": {"data": "UklGRg=="}}])], "bad.jsonl")
    assert validate(open_source(folder / "bad.jsonl")).failed == 1
