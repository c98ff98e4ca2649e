"""Rows of other projects: what each layout becomes, that it comes back, and what is told of what does not."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from format_rows import ALM, COMPA_R, OPENAQA, ROWS, SUFFIXES, SWIFT, TWO, save
from typer.testing import CliRunner

from alm.errors import RecordError
from data_prep.cli import app
from data_prep.formats import FORMATS, BadRow, Format, ReadRows, RowReport
from data_prep.formats import json_rows as streaming
from data_prep.records import Message, Record, read_records, write_records

EXTRA_KEYS = ("swift", "llamafactory", "af3", "kimi", "salmonn2", "csv", "parquet", "alm")
"""Formats that allow further keys, and so hold all of a record."""
NO_SYSTEM = ("af3", "kimi", "openaqa")


def good(rows: list[Record | BadRow]) -> list[Record]:
    assert not [str(row) for row in rows if isinstance(row, BadRow)]
    return [row for row in rows if isinstance(row, Record)]


def read(name: str, path: Path, **options: Any) -> list[Record | BadRow]:
    return list(FORMATS[name].read(path, ReadRows(**options)))


def bad(name: str, row: Any, path: Path, **options: Any) -> BadRow:
    """The only row of a file, which must be a bad one that tells all it should."""
    (found,) = read(name, save(name, [row], path), **options)
    assert isinstance(found, BadRow), found
    assert found.file == str(path) and found.index == 1 and found.field and found.rule and found.remedy
    return found


def record(**more: Any) -> Record:
    messages = tuple(Message(one["role"], one["content"]) for one in ALM["messages"])
    return dataclasses.replace(Record(**(ALM | {"messages": messages, "audios": ("dog.flac",)})), **more)


def texts(one: Record) -> list[str]:
    return [message.content for message in one.messages]


# --- layouts ---


def test_the_list_of_formats_is_what_the_commands_offer() -> None:
    offered = CliRunner().invoke(app, ["validate", "x", "--from", "nothing"]).output
    assert list(FORMATS) == list(ROWS) and all(f"'{name}'" in offered for name in FORMATS)


@pytest.mark.parametrize("name", ROWS)
def test_rows_in_the_layout_of_a_project_are_read(name: str, tmp_path: Path) -> None:
    path = save(name, ROWS[name], tmp_path / f"rows{SUFFIXES[name]}")
    found = good(read(name, path))
    assert len(found) == len(ROWS[name]) and len({one.id for one in found}) == len(found)
    assert all(path.startswith(f"{tmp_path}/") for one in found for path in one.audios)
    assert sum(len(one.audios) for one in found) >= len(found)


def test_a_question_of_openaqa_becomes_a_turn_and_the_transcript_stays_aside(tmp_path: Path) -> None:
    first, second = good(read("openaqa", save("openaqa", OPENAQA, tmp_path / "x.json"), licence="CC BY 4.0"))
    assert texts(first) == ["<audio>Name the sounds of the recording.", "Labels: Dog; Wind"]
    assert (first.source, first.task, first.licence, first.meta) == ("as_20k", "cla_label", "CC BY 4.0", {})
    assert first.id == "x-0000001" and first.audios == (f"{tmp_path}/audio/yard_01.flac",)
    assert second.meta == {"input": "come here at once"} and "come here" not in "".join(texts(second))


def test_each_question_of_a_compa_r_row_is_a_record(tmp_path: Path) -> None:
    found = good(read("openaqa", save("openaqa", [COMPA_R], tmp_path / "test.json")))
    assert [texts(one)[1] for one in found] == ["A siren comes nearer.", "The birds make that likely."]
    assert [one.id for one in found] == ["test-0000001-1", "test-0000001-2"]
    assert found[1].meta == {name: COMPA_R[name] for name in ("caption", "timestamp_events")}


def test_the_ways_of_ms_swift_to_write_a_row(tmp_path: Path) -> None:
    found = good(read("swift", save("swift", SWIFT, tmp_path / "x.jsonl")))
    assert texts(found[2]) == ["<audio>Hi", "Hello", "What is it?", "Snow makes no sound."]
    assert texts(found[3]) == ["Short.", "<audio>Name it.\nOne word.", "Thunder."]
    assert texts(found[4]) == ["<audio>Who?", "A child."] and texts(found[5]) == ["<audio>Which?", "This."]
    assert found[1].meta == {"channel": "a"} and found[5].meta == {"message_extras": [{}, {"loss": False}]}


def test_what_a_batch_answered_is_a_row(tmp_path: Path) -> None:
    """`alm batch` writes its answer beside the turns; where these end with a reference, that one stays."""
    asked = [{"role": "user", "content": "<audio>What is it?"}]
    row = {"id": "1", "audios": ["a.wav"], "messages": asked, "answer": "A dog."}
    known = {**row, "id": "2", "messages": [*asked, {"role": "assistant", "content": "A cat."}]}
    first, second = good(read("swift", save("swift", [row, known], tmp_path / "x.jsonl")))
    assert texts(first) == ["<audio>What is it?", "A dog."] and first.meta == {}
    assert texts(second) == ["<audio>What is it?", "A cat."] and second.meta == {"answer": "A dog."}
    failed = {**row, "answer": "", "error": "no such file"}
    assert bad("swift", failed, tmp_path / "y.jsonl").field == "messages", "control: without an answer it is none"


def test_recordings_of_af3_come_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    found = good(read("af3", save("af3", ROWS["af3"], tmp_path / "x.json")))
    assert [Path(path).name for path in found[1].audios] == ["2.wav", "1.wav"]
    assert texts(found[1]) == ["<audio> before <audio>?", "No."]
    assert [one.id for one in found] == ["A1", "7", "A3"] and found[0].duration == 8


def test_parts_of_kimi_are_one_message(tmp_path: Path) -> None:
    found = good(read("kimi", save("kimi", ROWS["kimi"], tmp_path / "x.jsonl")))
    assert texts(found[0]) == ["Write it down.<audio>", "Hello there."]
    assert texts(found[1]) == ["<audio>What?\nIn a word.", "A cow.", "And here?<audio>", "Two cows."]


# --- round trips ---


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_what_was_read_and_written_is_read_again(name: str, suffix: str, tmp_path: Path) -> None:
    rows = good(read(name, save(name, ROWS[name], tmp_path / f"rows{SUFFIXES[name]}")))
    suffix = SUFFIXES[name] if name in ("csv", "parquet") else suffix
    losses = FORMATS[name].write(rows, tmp_path / f"out{suffix}")
    again = good(read(name, tmp_path / f"out{suffix}"))
    if name == "openaqa":
        assert losses.fields == {"id": len(rows)}
        again = [dataclasses.replace(one, id=was.id) for one, was in zip(again, rows, strict=True)]
    elif losses:
        raise AssertionError(losses)
    assert again == rows and losses.written == len(rows)
    text = (tmp_path / f"out{suffix}").read_bytes()
    FORMATS[name].write(again, tmp_path / f"out{suffix}")
    assert (tmp_path / f"out{suffix}").read_bytes() == text, "paths relative to the file, and the same bytes"


@pytest.mark.parametrize("name", EXTRA_KEYS)
def test_all_of_a_record_goes_through_a_format_that_allows_further_keys(name: str, tmp_path: Path) -> None:
    rows = good(read("alm", save("alm", [ALM, TWO], tmp_path / "alm.jsonl")))
    if name in NO_SYSTEM:
        rows = [dataclasses.replace(one, messages=one.messages[-2:]) for one in rows[:1]] + rows[1:]
    out = tmp_path / f"x{SUFFIXES[name]}"
    assert not FORMATS[name].write(rows, out, lossless=True)
    assert good(read(name, out)) == rows


def test_our_own_rows_are_those_of_records(tmp_path: Path) -> None:
    write_records([record()], tmp_path / "x.jsonl")
    assert good(read("alm", tmp_path / "x.jsonl")) == list(read_records(tmp_path / "x.jsonl"))
    FORMATS["alm"].write([record()], tmp_path / "y.jsonl")
    assert list(read_records(tmp_path / "y.jsonl", absolute=False)) == [record()]


def test_openaqa_comes_back_as_it_was_from_our_rows(tmp_path: Path) -> None:
    rows = good(read("openaqa", save("openaqa", OPENAQA, tmp_path / "x.json")))
    FORMATS["alm"].write(rows, tmp_path / "x.jsonl")
    FORMATS["openaqa"].write(good(read("alm", tmp_path / "x.jsonl")), tmp_path / "y.json")
    assert json.loads((tmp_path / "y.json").read_text()) == OPENAQA


@pytest.mark.slow
def test_what_llama_factory_loads_is_what_was_meant(tmp_path: Path) -> None:
    """Arrow's JSON reader, which LLaMA-Factory and ms-swift use, takes rows whose `meta` differ in kind."""
    from datasets import load_dataset

    rows = [record(), record(id="b", meta={"answer": ["a", "b"]}), record(id="c", meta={"answer": {"a": 1}})]
    for name in ("llamafactory", "swift", "salmonn2"):
        FORMATS[name].write(rows, tmp_path / f"{name}.jsonl")
        loaded = load_dataset("json", data_files=str(tmp_path / f"{name}.jsonl"), cache_dir=str(tmp_path / name))
        assert loaded["train"]["id"][:] == ["r1", "b", "c"]


# --- losses ---


def test_losses_name_each_field_and_how_often(tmp_path: Path) -> None:
    rows = [record(), record(id="r2", audios=(), messages=(Message("user", "Hi"), Message("assistant", "Hello")))]
    losses = FORMATS["openaqa"].write(rows, tmp_path / "x.json")
    lost = {"id": 1, "split": 1, "licence": 1, "duration": 1, "system message": 1}
    assert losses.fields == lost | {"meta.answer": 1, "meta.options": 1, "meta.big": 1}
    assert losses.written == 1 and losses.refused.total() == 1 and "'r2'" in losses.shown[0]
    assert losses == FORMATS["openaqa"].losses(rows), "known without writing"


@pytest.mark.parametrize("name", NO_SYSTEM)
def test_a_lost_system_message_is_told(name: str) -> None:
    assert FORMATS[name].losses([record()]).fields["system message"] == 1
    assert not FORMATS["llamafactory"].losses([record()])


def test_text_that_would_become_a_recording_is_refused() -> None:
    asked = record(messages=(Message("user", "<audio>What does <sound> mean?"), Message("assistant", "A mark.")))
    losses = FORMATS["af3"].losses([asked])
    assert losses.written == 0 and "<sound>" in losses.shown[0]


def test_a_cell_that_no_reader_of_csv_takes_is_refused(tmp_path: Path) -> None:
    long = [record(id=f"r{size}", meta={"text": "x" * size}) for size in (131_000, 131_072)]
    losses = FORMATS["csv"].write(long, tmp_path / "x.csv")
    assert (losses.written, losses.refused.total()) == (1, 1) and "'r131072'" in losses.shown[0]
    assert len(good(read("csv", tmp_path / "x.csv"))) == 1


def test_a_file_that_must_lose_nothing_is_not_written_when_it_would(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("before")
    with pytest.raises(RecordError, match="r1.*openaqa would lose .*system message"):
        FORMATS["openaqa"].write([record()], tmp_path / "x.json", lossless=True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"] and (tmp_path / "x.json").read_text() == "before"


# --- wrong rows ---


@pytest.mark.parametrize(
    ("name", "row", "field"),
    [
        ("alm", {"id": "x"}, "messages"),
        ("alm", ALM | {"extra": 1}, "extra"),
        ("alm", ALM | {"duration": 10**400}, "duration"),
        ("alm", ALM | {"duration": True}, "duration"),
        ("alm", ALM | {"split": "validation"}, "split"),
        ("alm", ALM | {"audios": []}, "audios"),
        ("alm", ALM | {"messages": ALM["messages"][:2]}, "messages"),
        ("alm", ALM | {"meta": {"a": json.loads("[" * 99 + "]" * 99)}}, "meta.a"),
        ("alm", [1], "row"),
        ("openaqa", OPENAQA[0] | {"instruction": ""}, "instruction"),
        ("openaqa", OPENAQA[0] | {"output": None}, "output"),
        ("openaqa", OPENAQA[0] | {"audio_id": 3}, "audio_id"),
        ("openaqa", OPENAQA[0] | {"input": {}}, "input"),
        ("openaqa", OPENAQA[0] | {"instruction": "What does <audio> mean?"}, "audios"),
        ("openaqa", COMPA_R | {"instruction_output": {}}, "instruction_output"),
        ("swift", {"messages": SWIFT[0]["messages"], "audios": ["a.wav", "b.wav"]}, "audios"),
        ("swift", SWIFT[0] | {"images": ["a.png"]}, "images"),
        ("swift", {"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        ("swift", {"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ("swift", SWIFT[0] | {"audios": ["data:audio/wav;base64,AAAA"]}, "audios"),
        ("llamafactory", {"conversations": [{"from": "human", "value": "x"}], "audios": []}, "messages"),
        ("llamafactory", {"query": "What?", "response": "x", "audios": ["a.wav"]}, "audios"),
        ("af3", {"sound": "a.wav", "conversations": ROWS["llamafactory"][0]["conversations"]}, "conversations"),
        ("af3", ROWS["af3"][0] | {"sound": ["a.wav", "b.wav"]}, "conversations"),
        ("kimi", {"conversation": [{"role": "user", "message_type": "video", "content": "a"}]}, "conversation"),
        ("kimi", {"conversation": [{"role": "assistant", "message_type": "audio", "content": "a"}]}, "conversation"),
        ("salmonn2", {"audios": ["a.wav"], "prompt": "What?"}, "question"),
        ("csv", ROWS["csv"][0] | {"id": "", "audio": ""}, "audios"),
        ("csv", ROWS["csv"][0] | {"duration": "long"}, "duration"),
        ("parquet", ROWS["parquet"][0] | {"data": b"\xff"}, "data"),
    ],
)
def test_a_wrong_row_is_told_with_its_field(name: str, row: Any, field: str, tmp_path: Path) -> None:
    if name == "csv" and not row["audio"]:
        row["question"] = "<audio>What?"
    assert bad(name, row, tmp_path / f"x{SUFFIXES[name]}").field == field


def test_a_wrong_row_is_told_with_line_value_rule_and_remedy(tmp_path: Path) -> None:
    path = save("openaqa", [OPENAQA[0], OPENAQA[1] | {"audio_id": "/disk/of/others/a.wav"}], tmp_path / "x.json")
    (found,) = [row for row in read("openaqa", path) if isinstance(row, BadRow)]
    line = path.read_text().splitlines().index(" {", 2) + 1
    assert (found.line, found.index) == (line, 2)
    for part in (f"{path}:{line}: row 2: field 'audio_id' is '/disk/of/others/a.wav'", f"below {tmp_path}", "--map"):
        assert part in str(found)


OUTSIDE = (
    "/etc/passwd", ".", "./", "../a.wav", "a/../../b.wav", "..\\a.wav", "C:\\a.wav", "file:///a.wav", "a\0.wav",
    "x" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("name", ["alm", "openaqa", "af3", "csv"])
def test_a_path_that_leads_out_is_refused(name: str, path: str, tmp_path: Path) -> None:
    field = {"alm": "audios", "openaqa": "audio_id", "af3": "sound", "csv": "audio"}[name]
    row = ROWS[name][0] | {field: [path] if name == "alm" else path}
    assert bad(name, row, tmp_path / f"x{SUFFIXES[name]}").field == field


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("/disk/a/b.wav", "FOLDER/m/a/b.wav"),
        ("FOLDER/a.wav", "FOLDER/a.wav"),
        ("./a//b.wav", "FOLDER/a/b.wav"),
        ("a\\b.wav", "FOLDER/a/b.wav"),
        ("https://example.org/a.wav", "https://example.org/a.wav"),
    ],
)
def test_paths_are_mapped_and_kept_below_the_folder(written: str, found: str, tmp_path: Path) -> None:
    row = OPENAQA[0] | {"audio_id": written.replace("FOLDER", str(tmp_path))}
    path = save("openaqa", [row], tmp_path / "x.json")
    (one,) = good(read("openaqa", path, path_map={"/disk/": f"{tmp_path}/m"}))
    assert one.audios == (found.replace("FOLDER", str(tmp_path)),)


def test_a_mapped_path_cannot_lead_out_either(tmp_path: Path) -> None:
    row = OPENAQA[0] | {"audio_id": "/disk/../../etc/passwd"}
    assert bad("openaqa", row, tmp_path / "x.json", path_map={"/disk/": f"{tmp_path}/m"}).field == "audio_id"


def test_recordings_that_are_not_there_are_told_when_asked(tmp_path: Path) -> None:
    path = save("openaqa", OPENAQA, tmp_path / "x.json")
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "yard_01.flac").touch()
    assert [type(row) for row in read("openaqa", path, check_files=True)] == [Record, BadRow]


def test_an_id_that_occurs_twice_is_told_and_can_be_numbered_anew(tmp_path: Path) -> None:
    path = save("swift", [SWIFT[0] | {"id": "a"}, SWIFT[1] | {"id": "a"}], tmp_path / "x.jsonl")
    assert [row.field for row in read("swift", path) if isinstance(row, BadRow)] == ["id"]
    found = good(read("swift", path, new_ids=True))
    assert [one.id for one in found] == ["x-0000001", "x-0000002"] and found[1].meta["id"] == "a"


# --- files ---

LONG = "語é\\"


def test_a_list_is_read_the_same_whatever_the_size_of_the_window(tmp_path: Path, monkeypatch: Any) -> None:
    rows = [OPENAQA[0] | {"output": LONG * k + f"\n{k}", "k": [k, 1.5, True, None]} for k in range(1, 40)]
    path = save("openaqa", rows, tmp_path / "x.json")
    path.write_bytes(b"\xef\xbb\xbf \n" + path.read_bytes().replace("語".encode(), b"\\u8a9e", 50))
    whole = good(read("openaqa", path))
    assert [texts(one)[1] for one in whole] == [row["output"] for row in rows]
    for size in (1, 2, 3, 7, 61, 997):
        monkeypatch.setattr(streaming, "CHUNK_BYTES", size)
        assert good(read("openaqa", path)) == whole


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("[]", ""),
        ("", ""),
        ("[ROW, ROW]", "gg"),
        ("[ROW, ROW", "ggb"),
        ("[ROW, ROW] x", "ggb"),
        ("[ROW, {'a']", "gb"),
        ("[ROW ROW]", "gb"),
        ("[ROW, NaN, ROW]", "gb"),
        ("ROW\n\nROW\n", "gg"),
        ("ROW\n{'a'\nROW", "gbg"),
        ("ROW\n[1]\nROW", "gbg"),
        ("ROW\nÿ\nROW", "gbg"),
        ('ROW\n{"instruction": "\\ud800"}\nROW', "gbg"),
        ("ROW\n" + "[" * 100_000 + "\nROW", "gbg"),
        ("[ROW, " + "[" * 100_000, "gb"),
        ("ROW\n" + "9" * 5000 + "\nROW", "gbg"),
        ("ROW\nlong" + "x" * 3000 + "\nROW", "gbg"),
        ('[ROW, "' + "x" * 3000 + '"]', "gb"),
    ],
)
def test_faults_of_json_are_told_where_they_are(text: str, kinds: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(streaming, "MAX_ROW_LETTERS", 200_000 if "[[[" in text or "999" in text else 2000)
    row = json.dumps(OPENAQA[0])
    (tmp_path / "x.json").write_bytes(text.replace("ROW", row).encode("latin-1"))
    found = read("openaqa", tmp_path / "x.json")
    assert "".join("g" if isinstance(one, Record) else "b" for one in found) == kinds
    lines = [one.line for one in found if isinstance(one, BadRow)]
    assert lines in ([], [2 if "\n" in text else 1])


def test_text_cells_of_a_table_that_are_no_utf8_or_too_long_are_told(tmp_path: Path) -> None:
    head = b"audio,question,answer\n"
    rows = [b"a.wav,What?,\xff\n", b"a.wav,What?," + b"x" * 200_000 + b"\n", b"a.wav,What?\n", b"a.wav,What?,Rain.\n"]
    (tmp_path / "x.csv").write_bytes(head + b"".join(rows))
    found = read("csv", tmp_path / "x.csv")
    assert [type(one) for one in found] == [BadRow, BadRow, BadRow, Record]
    assert [one.line for one in found if isinstance(one, BadRow)] == [2, 3, 4]


@pytest.mark.parametrize("data", [b"", b"a,a\n1,2\n", b"a,,b\n", b"\xff\n"])
def test_a_table_without_names_of_columns_is_no_table(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(data)
    with pytest.raises(RecordError, match=r"x.csv:1"):
        read("csv", tmp_path / "x.csv")


@pytest.mark.parametrize("name", ROWS)
def test_a_file_that_is_not_there_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="nowhere"):
        read(name, tmp_path / "nowhere")


def test_a_damaged_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = save("parquet", ROWS["parquet"], tmp_path / "x.parquet")
    for data in (path.read_bytes()[:-5], b"PAR1", b""):
        path.write_bytes(data)
        with pytest.raises(RecordError, match=r"x.parquet: is not a Parquet file"):
            read("parquet", path)


def test_counts_of_a_report_add_up(tmp_path: Path) -> None:
    path = save("swift", [*SWIFT, {}, {"messages": 3}], tmp_path / "x.jsonl")
    report = RowReport()
    records = list(report.taken(FORMATS["swift"].read(path)))
    assert (report.good, report.bad.total(), report.splits) == (len(records), 2, Counter(train=len(records)))
    assert len(report.shown) == 2


# --- commands ---


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, " ".join(done.output.split())


def test_validate_tells_wrong_rows_and_exits_with_2(tmp_path: Path) -> None:
    path = save("openaqa", [OPENAQA[0], OPENAQA[1] | {"output": ""}], tmp_path / "x.json")
    code, told = run("validate", path, "--from", "openaqa")
    assert code == 2 and "row 2: field 'output'" in told and "2 rows: 1 good, 1 wrong (output: 1)" in told
    code, told = run("validate", save("openaqa", OPENAQA, path), "--from", "openaqa", "--json")
    assert code == 0 and json.loads(told)["good"] == 2
    assert run("validate", tmp_path / "none.json", "--from", "openaqa")[0] == 2


def test_convert_writes_and_tells_losses(tmp_path: Path) -> None:
    path = save("alm", [ALM, TWO], tmp_path / "x.jsonl")
    code, told = run("convert", path, tmp_path / "y.json", "--from", "alm", "--to", "openaqa")
    assert code == 0 and "left out, 1: has several turns" in told and "lost in 1 rows: licence" in told
    assert len(json.loads((tmp_path / "y.json").read_text())) == 1
    code, told = run("convert", path, tmp_path / "z.json", "--from", "alm", "--to", "llamafactory", "--lossless")
    assert code == 0 and "2 written for llamafactory; nothing is lost" in told and '"formatting": "sharegpt"' in told


def test_recordings_that_are_not_there_are_told(tmp_path: Path) -> None:
    path = save("openaqa", OPENAQA, tmp_path / "x.json")
    target, root = tmp_path / "y.jsonl", tmp_path / "audio"
    words = ("convert", path, target, "--from", "openaqa", "--to", "alm", "--audio-root", root)
    code, told = run(*words)
    assert code == 0 and "of the first recordings are not there, such as" in told and "--audio-root" in told
    assert "are not there" in run("validate", path, "--from", "openaqa")[1]
    for record in read_records(target):
        for audio in record.audios:
            Path(audio).parent.mkdir(parents=True, exist_ok=True)
            Path(audio).touch()
    assert "are not there" not in run(*words)[1], "control"


def test_convert_writes_nothing_when_a_row_is_wrong_unless_it_may_skip_it(tmp_path: Path) -> None:
    path = save("openaqa", [OPENAQA[0], OPENAQA[1] | {"output": ""}], tmp_path / "x.json")
    words = ("convert", path, tmp_path / "y.jsonl", "--from", "openaqa", "--to", "alm")
    code, told = run(*words)
    assert code == 2 and "Nothing is written" in told and not (tmp_path / "y.jsonl").exists()
    code, told = run(*words, "--dry-run")
    assert code == 2 and "1 good, 1 wrong" in told and not (tmp_path / "y.jsonl").exists()
    code, told = run(*words, "--on-bad", "skip")
    assert code == 0 and "row 2: field 'output'" in told and len(list(read_records(tmp_path / "y.jsonl"))) == 1


@pytest.mark.parametrize("words", [("--map", "nonsense"), ("--map", "=x")])
def test_a_wrong_option_is_an_error(words: tuple[str, ...], tmp_path: Path) -> None:
    path = save("openaqa", OPENAQA, tmp_path / "x.json")
    assert run("validate", path, "--from", "openaqa", *words)[0] == 2
    assert run("convert", path, path, "--from", "openaqa", "--to", "alm")[0] == 2


def test_a_format_is_a_value(tmp_path: Path) -> None:
    """The control of the round trips: a format that forgets something is seen."""
    forgetful = dataclasses.replace(FORMATS["swift"], pack=lambda record, folder, losses: {"audios": ["a.wav"]})
    rows = good(read("swift", save("swift", SWIFT, tmp_path / "x.jsonl")))
    assert isinstance(forgetful, Format)
    forgetful.write(rows, tmp_path / "y.jsonl")
    assert [type(row) for row in read("swift", tmp_path / "y.jsonl")] == [BadRow] * len(rows)
