"""The batch runner: rows in and out, resuming after a kill, failures, refusals."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_helpers import a_row, double_answerer, make_clips, must_not_load, read, run, user, write
from typer.testing import CliRunner

import serve.batch.command
import serve.batch.stages
from alm.errors import AlmError, AudioError, ConfigError, RecordError
from alm.messages import from_row
from alm.testing import tone
from serve.__main__ import app
from serve.batch.answering import BatchAnswerer
from serve.batch.journal import Journal
from serve.batch.manifest import BatchSettings
from serve.batch.rows import Line, Row, check_row
from serve.batch.runner import BatchPolicy, run_batch, validate
from serve.batch.sources import open_source
from serve.batch.stages import Finished, Ready, RecordingCache, Results
from serve.chat.command import parse_auth
from serve.engines.conversations import begun_conversation
from serve.engines.transformers import TransformersEngine

TESTS = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_clips(tmp_path)


# --- rows in, rows out ---


def test_rows_come_back_with_answers(folder: Path) -> None:
    rows = [
        a_row("x", source="park", n=1.5),
        a_row(7, "<audio>Same as <audio>?", ["clips/b.wav", "clips/a.wav"]),
        a_row("t", "Hello", []),
    ]
    target = folder / "out" / "answers.jsonl"
    outcome = run(write(folder, rows), target)
    done = read(target)
    assert [{key: row[key] for key in row if key != "answer"} for row in done] == rows
    assert [row["answer"].partition(". You")[0] for row in done] == [
        "Turn 1: I was given 1.00 s", "Turn 1: I was given 2.00 s and 1.00 s", "Turn 1: I was given no new recording",
    ]  # fmt: skip
    assert (outcome.total, outcome.answered, outcome.failed, outcome.audio_seconds) == (3, 3, 0, 4.0)


def test_details_and_reference_answers(folder: Path) -> None:
    messages = [*user("<audio>What?"), {"role": "assistant", "content": "A tone."}]
    target = folder / "out.jsonl"
    run(write(folder, [{"id": 1, "messages": messages, "audios": ["clips/a.wav"]}]), target, details=True)
    (row,) = read(target)
    assert row["answer"].endswith("You asked: What?") and row["messages"][-1]["content"] == "A tone."
    assert row["finish"] == "stop" and row["usage"]["audio_tokens"] == 16
    assert row["evidence"][0]["tags"][0]["label"] == "dog bark" and row["asked"] == []
    assert run(folder / "in.jsonl", target, load=must_not_load, details=True).already == 1, "and it is known again"


def test_absolute_paths_and_blank_lines(folder: Path) -> None:
    row = json.dumps(a_row(1, audios=[str(folder / "clips" / "a.wav")]))
    target = folder / "out.jsonl"
    assert run(write(folder, ["", row, "   "]), target).answered == 1


def test_recordings_are_decoded_once_for_rows_in_a_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []
    real = serve.batch.stages.load_audio
    counted = lambda path, **more: decoded.append(path) or real(path, **more)  # noqa: E731
    monkeypatch.setattr(serve.batch.stages, "load_audio", counted)
    run(write(folder, [a_row(i) for i in range(5)]), folder / "out.jsonl")
    assert len(decoded) == 1
    cache = RecordingCache(max_bytes=1)
    assert cache.load(folder / "clips/a.wav") is cache.load(folder / "clips/a.wav")
    first = cache.load(folder / "clips/a.wav")
    cache.load(folder / "clips/b.wav")
    assert cache.load(folder / "clips/a.wav") is not first, "beyond the bound the older one goes"


# --- resuming ---


def test_a_second_run_answers_only_what_is_open(folder: Path) -> None:
    source, target = write(folder, [a_row(i) for i in range(5)]), folder / "out.jsonl"
    assert run(source, target, limit_rows=2).answered == 2
    kept = target.read_bytes()
    assert (second := run(source, target)).answered == 3 and second.already == 2
    assert target.read_bytes().startswith(kept)
    assert [row["id"] for row in read(target)] == list(range(5))
    assert run(source, target, load=must_not_load).already == 5


def test_a_torn_last_line_is_repaired_wherever_it_was_torn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.batch.journal.os.fsync", lambda _: None)  # hundreds of runs; nobody pulls the plug here
    source, target = write(folder, [a_row("ä", "<audio>Größe?"), a_row(2)]), folder / "out.jsonl"
    run(source, target)
    whole = target.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(len(whole)):
        target.write_bytes(whole[:cut])
        outcome = run(source, target)
        assert target.read_bytes() == whole
        assert outcome.already == (cut >= first - 1) + (cut >= len(whole) - 1)
        assert (outcome.repaired_bytes > 0) == (cut not in (0, first - 1, first, len(whole) - 1))


def test_damage_elsewhere_is_refused_and_named(folder: Path) -> None:
    source, target = write(folder, [a_row(1), a_row(2)]), folder / "out.jsonl"
    for damage in ('{"id": 1, "ans', '"text"', '{"id": 1}'):
        target.write_text(damage + "\n" + json.dumps(a_row(2, answer="b")) + "\n")
        with pytest.raises(RecordError, match=r"out\.jsonl line 1 is damaged"):
            run(source, target, load=must_not_load)


@pytest.mark.parametrize(
    ("times", "ending"),
    [
        (3, ".jsonl"),
        pytest.param(20, ".jsonl", marks=pytest.mark.slow),
        pytest.param(20, ".csv", marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_loses_and_doubles_nothing(times: int, ending: str, folder: Path) -> None:
    """SIGKILL again and again; the end is byte for byte what an undisturbed run writes."""
    rows = [a_row(i, f"<audio>Question {i}?", [f"clips/{'ab'[i % 2]}.wav"]) for i in range(20 * times)]
    source, target, calm = write(folder, rows), folder / f"out{ending}", folder / f"calm{ending}"
    journal = target if ending == ".jsonl" else folder / f"out{ending}.journal.jsonl"

    def start(to: Path, delay: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(TESTS / "cli_with_double.py"), str(delay), "batch", str(source), str(to), "-q"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    assert start(calm, 0.0).wait(60) == 0
    chance, kills = random.Random(7), 0
    while kills < times:
        with start(target, 0.002) as running:
            before = journal.stat().st_size if journal.exists() else 0
            while running.poll() is None and (not journal.exists() or journal.stat().st_size == before):
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.1))
            kills += running.poll() is None
            running.kill()
        if running.returncode == 0:
            break
    assert start(target, 0.0).wait(60) == 0
    assert kills == times and target.read_bytes() == calm.read_bytes()
    assert len(target.read_bytes().splitlines()) == len(rows) + (ending == ".csv")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(folder: Path) -> None:
    """What is known of 200,000 rows lies on disk; a table of their ids and hashes in memory took 80 MB more."""
    most_bytes = {}
    for count in (1_000, 200_000):
        source, target = folder / f"{count}.jsonl", folder / f"{count}.out.jsonl"
        with source.open("w") as file:
            file.writelines(json.dumps(a_row(f"row {i}", f"Question {i}?", [])) + "\n" for i in range(count))
        command = [sys.executable, str(TESTS / "cli_with_double.py"), "0", "batch", str(source), str(target), "-q"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
        _, status, used = os.wait4(subprocess.Popen(command, env=environment).pid, 0)
        assert status == 0 and len(target.read_bytes().splitlines()) == count
        most_bytes[count] = used.ru_maxrss * 1024
    assert most_bytes[200_000] - most_bytes[1_000] < 40 * 2**20, most_bytes


def test_a_full_disk_leaves_whole_rows_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = write(folder, [a_row(i) for i in range(3)]), folder / "out.jsonl"
    run(source, target, limit_rows=1)
    kept = target.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("serve.batch.journal.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            run(source, target)
    assert target.read_bytes() == kept
    assert run(source, target).answered == 2


def test_two_batches_do_not_write_to_one_file(folder: Path) -> None:
    source, target = write(folder, [a_row(1)]), folder / "out.jsonl"
    with Journal(target), pytest.raises(ConfigError, match="another batch"):
        run(source, target)
    assert run(source, target).answered == 1


def test_what_does_not_belong_together_is_refused(folder: Path) -> None:
    source, target = write(folder, [a_row(1), a_row(2)]), folder / "out.jsonl"
    run(source, target, limit_rows=1)
    changed = write(folder, [a_row(1, "<audio>Another question?"), a_row(2)], "changed.jsonl")
    with pytest.raises(RecordError, match="answered from another row"):
        run(changed, target, load=must_not_load)
    with pytest.raises(RecordError, match="holds the row '1', which"):
        run(write(folder, [a_row(2)], "other.jsonl"), target, load=must_not_load)
    with pytest.raises(ConfigError, match="temperature was 0.0 and is 0.7"):
        run(source, target, must_not_load, BatchSettings(temperature=0.7))
    with pytest.raises(ConfigError, match="engine was 'transformers' and is 'vllm'"):
        run(source, target, must_not_load, BatchSettings(engine="vllm"))
    with pytest.raises(ConfigError, match="same file"):
        run(source, source, load=must_not_load)
    with pytest.raises(ConfigError, match="no regular file"):
        run(source, folder, load=must_not_load)


# --- failures ---


def test_failed_rows_carry_their_error_and_are_tried_again_on_demand(folder: Path) -> None:
    rows = [
        a_row(1),
        a_row(2, audios=["clips/bad.wav"]),
        a_row(3, audios=["none.wav"]),
        a_row(4, "no marks <audio><audio>"),
        a_row(5),
    ]
    source, target = write(folder, rows), folder / "out.jsonl"
    outcome = run(source, target)
    assert (outcome.answered, outcome.failed) == (2, 3)
    assert [row["error"]["type"] for row in read(target) if "error" in row] == [
        "AudioError",
        "AudioError",
        "RecordError",
    ]
    assert "bad.wav" in read(target)[1]["error"]["message"] and "answer" not in read(target)[1]
    again = run(source, target, load=must_not_load)
    assert (again.already, again.failed_before) == (5, 3), "without being asked nothing is tried again"

    (folder / "clips" / "bad.wav").write_bytes((folder / "clips" / "a.wav").read_bytes())
    retried = run(source, target, retry_errors=True)
    assert (retried.already, retried.answered, retried.failed) == (2, 1, 2)
    assert sorted(row["id"] for row in read(target)) == [1, 2, 3, 4, 5]
    assert [row["id"] for row in read(target) if "answer" in row] == [1, 5, 2]


def test_stop_on_error_keeps_what_was_done(folder: Path) -> None:
    source, target = write(folder, [a_row(1), a_row(2, audios=["none.wav"]), a_row(3)]), folder / "out.jsonl"
    with pytest.raises(AudioError, match=r"none\.wav"):
        run(source, target, stop_on_error=True)
    assert [row["id"] for row in read(target)] == [1]


def test_stop_on_error_of_an_engine_elsewhere(folder: Path) -> None:
    """Which can tell what the error was, but not hand it over."""
    source, target = open_source(write(folder, [a_row(1), a_row(2)])), folder / "out.jsonl"

    def engine(lines: Iterator[Line]) -> Results:
        for line in lines:
            yield line, Finished({"error": {"type": "AudioError", "message": "bad.wav: too short"}})

    with pytest.raises(RecordError, match=r"row '1' \(line 1\): bad\.wav: too short"):
        run_batch(source, target, BatchSettings(), BatchPolicy(stop_on_error=True), lambda: engine)
    assert run_batch(source, target, BatchSettings(), BatchPolicy(), lambda: engine).failed == 2


def test_a_bug_in_one_row_does_not_end_the_batch(folder: Path) -> None:
    source, target = write(folder, [a_row(1, "<audio>explode"), a_row(2)]), folder / "out.jsonl"
    assert run(source, target).answered == 1
    assert read(target)[0]["error"]["type"] == "RuntimeError"


def test_too_many_failures_in_a_row_end_the_batch(folder: Path) -> None:
    source, target = write(folder, [a_row(i, audios=["none.wav"]) for i in range(9)]), folder / "out.jsonl"
    with pytest.raises(ConfigError, match="4 rows failed one after the other"):
        run(source, target, max_errors_in_a_row=4)
    assert len(read(target)) == 4


# --- refusals before any work ---


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "line 1: not JSON"),
        (["[1]"], "line 1: a list"),
        (['{"id": true}'], "'id' is 'True'"),
        (['{"id": ""}'], "'id' is ''"),
        (['{"id": 1}', "", '{"id": "1"}'], "line 3: the id '1' was used in line 1"),
    ],
)
def test_an_input_that_cannot_be_told_apart_is_refused(lines: list[str], message: str, folder: Path) -> None:
    with pytest.raises(RecordError, match=message):
        run(write(folder, lines), folder / "out.jsonl", load=must_not_load)
    assert not (folder / "out.jsonl").exists(), "nothing was begun"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"messages": None}, "'messages' is missing"),
        ({"messages": []}, "'messages' is list"),
        ({"messages": ["hi"]}, "message 0 has no role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "no role of system, user, assistant"),
        ({"messages": [{"role": "user", "content": 3}]}, "content of message 0 is int"),
        ({"messages": [{"role": "system", "content": "x"}]}, "a question by the user must be there"),
        ({"messages": [*user("a"), *user("b")]}, "must take turns"),
        ({"audios": "a.wav"}, "'audios' is str"),
        ({"audios": [1]}, "'audios' holds int"),
        ({"audios": ["https://example.org/a.wav"]}, "is an address"),
        ({"audios": ["a\0b"]}, "'audios' holds str"),
        ({"audios": []}, "1 <audio> in the user's messages but 0"),
        ({"audios": ["a", "b"]}, "1 <audio> in the user's messages but 2"),
        ({"answer": "x"}, "'answer' is written by the batch"),
    ],
)
def test_malformed_rows_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        check_row(Line(3, "q", {**a_row("q"), **change}), Path())
    assert "row 'q' (line 3)" in str(caught.value)


def test_rows_that_are_fine(folder: Path) -> None:
    turns = [
        {"role": "system", "content": "Be short."},
        *user("<audio>What?"),
        {"role": "assistant", "content": "<audio>"},
        *user("Sure?"),
    ]
    row = check_row(Line(1, "q", {"id": "q", "messages": turns, "audios": ["clips/a.wav"]}), folder)
    assert row.audios == (folder / "clips/a.wav",) and len(row.messages) == 4
    assert check_row(Line(1, "q", a_row("q", "no mark")), folder).audios, "without marks they stand first"


def test_dry_run_checks_rows_and_recordings(folder: Path) -> None:
    rows = [
        a_row(1),
        a_row(2),
        a_row(3, audios=["clips/bad.wav"]),
        a_row(4, "<audio>", []),
        a_row(5, audios=["clips/b.wav"]),
    ]
    outcome = validate(open_source(write(folder, rows)))
    assert (outcome.total, outcome.answered, outcome.failed, outcome.audio_seconds) == (5, 3, 2, 4.0)
    assert "row '3' (line 3): bad.wav" in outcome.problems[0]


# --- the command ---


def command(*args: object) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="alm")


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.batch.command, "_answerer", lambda *_: double_answerer())


@pytest.mark.usefixtures("light")
def test_exit_codes_and_summary(folder: Path) -> None:
    source, target = write(folder, [a_row(1), a_row(2)]), folder / "out.jsonl"
    done = command("batch", source, target)
    assert done.exit_code == 0 and "2 rows answered, 0 failed" in done.stderr and done.stdout == ""
    mixed, other = write(folder, [a_row(1), a_row(2, audios=["none.wav"])], "mixed.jsonl"), folder / "other.jsonl"
    done = command("batch", mixed, other)
    assert done.exit_code == 1 and "none.wav" in done.stderr and "--retry-errors" in done.stderr
    assert json.loads(command("batch", mixed, other, "--json").stdout)["failed_before"] == 1
    assert command("batch", mixed, folder / "third.jsonl", "--on-error", "stop").exit_code == 2
    assert command("batch", mixed).exit_code == 2, "no output named"
    assert command("batch", folder / "none.jsonl", target).exit_code == 2


def test_dry_run_writes_nothing(folder: Path) -> None:
    mixed = write(folder, [a_row(1), a_row(2, audios=["none.wav"])])
    done = command("batch", mixed, folder / "out.jsonl", "--dry-run")
    assert done.exit_code == 2 and "1 rows usable, 1 failed" in done.stderr
    assert not (folder / "out.jsonl").exists()
    assert command("batch", write(folder, [a_row(1)]), "--dry-run").exit_code == 0


@pytest.mark.parametrize("text", ["", "user", "user:", ":secret"])
def test_half_a_login_is_refused(text: str) -> None:
    with pytest.raises(AlmError, match="USER:PASSWORD"):
        parse_auth(text, "127.0.0.1")
    assert parse_auth("me:a:b", "0.0.0.0") == ("me", "a:b")


# --- with a model ---


def test_earlier_turns_and_recordings_reach_the_model(folder: Path) -> None:
    """A row of two turns equals the same conversation held turn by turn, with the row's answer as its history."""
    import tiny_model

    assistant = tiny_model.assistant(["dog", "cat"])
    sounds = [tone(1.0), tone(2.0, frequency_hz=900.0)]
    messages = (
        {"role": "system", "content": "Listen."},
        *user("<audio>What?"),
        {"role": "assistant", "content": "A dog."},
        *user("<audio>And?"),
    )
    row = Row("q", tuple(messages), (Path("a"), Path("b")))
    engine = TransformersEngine(assistant)
    ((place, answer),) = BatchAnswerer(engine, BatchSettings(max_new_tokens=4))([Ready(row, sounds)])
    engine.close()
    assert place == 0 and not isinstance(answer, Exception)
    assert answer.usage.audio_tokens == 12 and [e.seconds for e in answer.evidence] == [2.0]

    chat = assistant.conversation()
    chat.ask("What?", audio=sounds[0], max_new_tokens=1)
    chat._messages[1] = {"role": "assistant", "content": "A dog."}
    assert chat.ask("And?", audio=sounds[1], max_new_tokens=4).text == answer.text
    other = Row("q", (*messages[:2], {"role": "assistant", "content": "A cat, or so."}, messages[3]), row.audios)
    chat, parts = begun_conversation(assistant, from_row(other.messages, sounds))
    assert [p["type"] for p in parts] == ["audio", "text"] and parts[0]["audio"] == sounds[1]
    assert chat.history[1]["content"][0]["text"] == "A cat, or so."


def test_rows_answered_together_are_answered_as_alone() -> None:
    """Whatever the number in step: text alone, one recording for several rows, two recordings, a row that fails."""
    import tiny_model

    sounds = [tone(1.0), tone(2.0, frequency_hz=900.0)]
    rows = [
        Ready(Row("a", tuple(user("<audio>What is this?")), (Path("a"),)), sounds[:1]),
        Ready(Row("b", tuple(user("Hello")), ()), []),
        Ready(Row("c", tuple(user("<audio>" * 5 + "Too many")), (Path("a"),) * 5), sounds[:1] * 5),
        Ready(Row("d", tuple(user("<audio><audio>Compare")), (Path("a"), Path("b"))), sounds),
        Ready(Row("e", tuple(user("<audio>And this, is it a dog or a cat?")), (Path("a"),)), sounds[:1]),
    ]
    found = []
    for at_once in (1, 2, 16):
        assistant = tiny_model.assistant(["dog", "cat"])
        engine = TransformersEngine(assistant, at_once, lanes=1)
        results = dict(BatchAnswerer(engine, BatchSettings(max_new_tokens=9))(rows))
        engine.close()
        assert sorted(results) == [0, 1, 2, 3, 4]
        assert isinstance(results[2], AlmError) and "limit is 4" in str(results[2])
        answers = {i: r for i, r in results.items() if not isinstance(r, Exception)}
        assert sum(a.usage.encoded_recordings for a in answers.values()) == 2, "each recording is heard once"
        assert answers[4].usage.reused_tokens > answers[4].usage.audio_tokens, "and read once"
        found.append({i: a.text for i, a in answers.items()})
        for place, answer in answers.items():
            text = rows[place].row.messages[0]["content"].replace("<audio>", "")
            chat = tiny_model.assistant(["dog", "cat"]).conversation()
            assert chat.ask(text, audio=rows[place].recordings, max_new_tokens=9).text == answer.text
    assert found[0] == found[1] == found[2]
