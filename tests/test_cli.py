"""The command line: streaming, JSON, errors in one line, interrupts, contributed commands."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import assistant_double
import pytest
import typer
from typer.testing import CliRunner

import alm.cli
from alm import terminal
from alm.audio import waveform_to_wav_bytes
from alm.cli_group import ENTRY_POINT_GROUP
from alm.errors import ConversationError
from alm.testing import tone

TESTS = Path(__file__).parent
Run = Callable[..., Any]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a tone.wav"
    path.write_bytes(waveform_to_wav_bytes(tone(1.5)))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in this process, with the stand-in; standard output and error apart."""
    monkeypatch.setattr(alm.cli, "load_assistant", lambda *_, **__: assistant_double.Assistant())

    def invoke(*args: object, stdin: str | bytes | None = None) -> Any:
        return CliRunner().invoke(alm.cli.app, [str(arg) for arg in args], input=stdin, prog_name="alm")

    return invoke


def process(*args: object, delay: float = 0.0, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(TESTS / "cli_with_double.py"), str(delay), *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell starts its background jobs with SIGINT ignored, and what is ignored is inherited.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, env=environment, preexec_fn=heed, **{**pipes, **options})


# --- ask ---


def test_ask_answers_on_stdout_and_the_rest_on_stderr(run: Run, clip: Path) -> None:
    done = run("ask", clip, "What is this?")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "Turn 1: I was given 1.50 s. You asked: What is this?\n"
    assert "a tone.wav" in done.stderr and "dog bark" in done.stderr and "Good morning." in done.stderr
    assert "16 audio + 20 text tokens read" in done.stderr


def test_ask_with_several_recordings_and_none(run: Run, clip: Path) -> None:
    assert "1.50 s and 1.50 s." in run("ask", clip, clip, "Which is louder?").stdout
    assert "no new recording" in run("ask", "What can you do?").stdout


def test_ask_json_is_one_document(run: Run, clip: Path) -> None:
    done = run("ask", clip, "What?", "--json")
    document = json.loads(done.stdout)
    assert document["answer"].endswith("You asked: What?") and document["finish"] == "stop"
    (evidence,) = document["evidence"]
    assert evidence["name"] == "a tone.wav" and evidence["tags"][0]["label"] == "dog bark"
    assert document["usage"]["audio_tokens"] == 16
    assert done.stderr == ""


def test_question_and_recording_from_standard_input(run: Run, clip: Path) -> None:
    assert run("ask", clip, "-", stdin="What is\nthis?\n").stdout.endswith("What is\nthis?\n")
    assert "given 1.50 s" in run("ask", "-", "What?", stdin=clip.read_bytes()).stdout


@pytest.mark.parametrize("words", [["-"], ["CLIP"], ["CLIP", ""], ["CLIP", "CLIP"], ["no-such-file.wav"]])
def test_forgotten_questions_are_noticed(words: list[str], run: Run, clip: Path) -> None:
    done = run("ask", *(str(clip) if word == "CLIP" else word for word in words), stdin="  ")
    assert done.exit_code == 2 and done.stderr.startswith("error: ") and "question" in done.stderr
    assert done.stdout == ""


def test_quiet_leaves_only_the_answer(run: Run, clip: Path) -> None:
    done = run("ask", clip, "What?", "-q")
    assert done.stderr == "" and done.stdout.endswith("What?\n")


def test_longest_answer_is_noted(run: Run, clip: Path) -> None:
    done = run("ask", clip, "a long one", "--max-new-tokens", 3)
    assert done.stdout == "Turn 1: I\n" and "--max-new-tokens" in done.stderr


def test_control_characters_do_not_reach_the_terminal(run: Run, clip: Path) -> None:
    evil = "red \x1b[31m bell \x07 title \x1b]0;x\x07 back\rward \x9b2J \u202eabc"
    named = clip.rename(clip.with_name("evil \x1b[2J.wav"))
    done = run("ask", named, evil)
    for stream in (done.stdout, done.stderr):
        assert not set(stream) & {"\x1b", "\x07", "\r", "\x9b", "\u202e"}
    assert "\\x1b[31m" in done.stdout, "control: the question was repeated"
    raw = run("ask", named, evil, "--json").stdout
    assert "\x1b" not in raw and "\x1b" in json.loads(raw)["answer"]


# --- errors ---


@pytest.mark.parametrize("content", [b"", b"this is text", b"RIFF\x00\x00"])
def test_a_bad_recording_is_one_line_and_exit_code_2(content: bytes, run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(content)
    done = run("ask", bad, "What?")
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith("error: bad.wav: ") and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback_wherever_it_stands(run: Run, tmp_path: Path) -> None:
    for args in (("--debug", "ask", "a b.wav", "c d?"), ("ask", "a b.wav", "c d?", "--debug")):
        assert type(run(*args).exception).__name__ == "AudioError"
    assert type(run("ask", "a b.wav", "c d?").exception) is SystemExit, "control"
    assert run("ask", "--", "--debug").stdout.endswith("You asked: --debug\n"), "after -- it is a question"


def test_an_unexpected_error_says_so(run: Run) -> None:
    done = run("ask", "please explode")
    assert done.exit_code == 1 and "unexpected RuntimeError" in done.stderr and "--debug" in done.stderr
    assert done.stderr.count("\n") == 1


def test_errors_of_the_model_are_user_errors(run: Run) -> None:
    done = run("ask", "too much")
    assert done.exit_code == 2 and done.stderr.startswith("error: the conversation would take 9999 tokens")


def test_wrong_options_are_usage_errors(run: Run, clip: Path) -> None:
    for option in ("--temperature=-1", "--max-new-tokens=0", "--no-such-option"):
        assert run("ask", clip, "What?", option).exit_code == 2
    assert "no preset is called 'huge'" in CliRunner().invoke(alm.cli.app, ["weights", "--preset", "huge"]).stderr


def test_interrupt_ends_cleanly_with_130(clip: Path) -> None:
    with process("ask", clip, "a long one", delay=0.02) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.read(8) == "Turn 1: "
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=20) == 130
        said = running.stderr.read()
    assert "Traceback" not in said and "interrupted" in said


def test_a_closed_pipe_is_no_error(clip: Path) -> None:
    with process("ask", clip, "a long one", delay=0.002) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.read(8)
        running.stdout.close()
        assert running.wait(timeout=20) == 0
        assert "Traceback" not in (said := running.stderr.read()) and "Broken" not in said, said


# --- tag, info, weights ---


def test_tag_draws_a_timeline(run: Run, clip: Path) -> None:
    lines = run("tag", clip).stdout.splitlines()
    assert lines[0] == "a tone.wav  0:01.5"
    assert "████████················ dog bark  0.91" in lines[1]
    assert "\u201cGood morning.\u201d" in lines[4]
    assert json.loads(run("tag", clip, "--json").stdout)["transcript"].startswith("Good morning.")


def test_info_names_licences_and_places(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALM_HOME", str(tmp_path / "home"))
    text = run("info").stdout
    for expected in ("tiny", "CC-BY-4.0", "Apache-2.0", "MIT", str(tmp_path / "home"), "not made yet"):
        assert expected in text
    document = json.loads(run("info", "--json").stdout)
    assert {row["part"] for row in document["weights"]} >= {"llm", "whisper", "aisfx"}
    assert document["presets"][0]["fusion"][0]["scheme"]
    failed = run("info", "--verify")
    assert failed.exit_code == 2 and "alm weights" in failed.stderr, "nothing is there to verify"


@pytest.mark.weights
def test_weights_and_verification(run: Run) -> None:
    assert "are ready in" in run("weights").stdout
    assert run("weights", "--quiet").stdout == ""
    assert json.loads(run("info", "--verify", "--json").stdout)["verified"] == ["tiny"]


# --- help and contributed commands ---


def test_help_teaches(run: Run) -> None:
    text = run("--help").stdout
    for command in ("ask", "tag", "info", "weights", "alm chat", "alm batch questions.jsonl answers.jsonl"):
        assert command in text
    assert "What do you hear?" in run("ask", "--help").stdout


class Entry(importlib.metadata.EntryPoint):
    """An entry point whose object is given, not imported."""

    loaded: Any = None

    def load(self) -> Any:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def contribute(monkeypatch: pytest.MonkeyPatch, **commands: Any) -> None:
    entries = []
    for name, loaded in commands.items():
        entry = Entry(name, f"room.cli:{name}", ENTRY_POINT_GROUP)
        object.__setattr__(entry, "__dict__", {**vars(entry), "loaded": loaded})
        entries.append(entry)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries if group == ENTRY_POINT_GROUP else [])


def greet(name: str, loud: bool = False) -> None:
    """Greets."""
    typer.echo(f"Hello {name.upper() if loud else name}")


def fail() -> None:
    raise ConversationError("value 3 is above the limit of 2; use less")


def test_contributed_functions_and_groups(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    group = typer.Typer()
    group.command("greet")(greet)
    group.command("fail")(fail)
    contribute(monkeypatch, greet=greet, group=group)
    assert run("greet", "Ann", "--loud").stdout == "Hello ANN\n"
    assert run("group", "greet", "Ann").stdout == "Hello Ann\n"
    failed = run("group", "fail")
    assert (failed.exit_code, failed.stderr) == (2, "error: value 3 is above the limit of 2; use less\n")
    text = run("--help").stdout
    assert "Greets." in text and "group" in text


def test_a_broken_command_does_not_take_the_others_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    contribute(monkeypatch, broken=ImportError("no module named room"), greet=greet)
    assert "Cannot be loaded" in run("--help").stdout
    done = run("broken", "--some", "argument")
    assert done.exit_code == 2 and "no module named room" in done.stderr
    assert run("greet", "Ann").exit_code == 0


def test_commands_that_are_not_registered_say_how(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    contribute(monkeypatch)
    done = run("chat", "--port", "1")
    assert done.exit_code == 2 and "pip install -e ." in done.stderr
    assert "No such command" in run("frobnicate").stderr


# --- small parts ---


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (7.34, "0:07.3"), (59.96, "1:00.0"), (725, "12:05.0"), (3723.5, "1:02:03.5")]
)
def test_clock(seconds: float, text: str) -> None:
    assert terminal.clock(seconds) == text


def test_span_bar_always_shows_something() -> None:
    assert terminal.span_bar(0, 5, 10, 10) == "█████·····"
    assert terminal.span_bar(9.99, 10, 10, 10) == "·········█"
    assert terminal.span_bar(0, 0, 0, 4) == "█···"
    assert terminal.span_bar(20, 30, 10, 4) == "···█"


def shape_of(path: Path, name: str) -> set[str]:
    """Fields, properties and methods with their arguments of a class, read from its source; other constructors not."""
    (found,) = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef) and n.name == name)
    fields = {
        node.target.id for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    methods = [
        node
        for node in found.body
        if isinstance(node, ast.FunctionDef) and "classmethod" not in map(ast.unparse, node.decorator_list)
    ]
    calls = {f"{m.name}({', '.join(a.arg for a in [*m.args.args, *m.args.kwonlyargs])})" for m in methods}
    return {name for name in fields | calls if not name.startswith("_")}


def test_the_stand_in_has_the_shape_of_the_real_one() -> None:
    """So that tests with it keep their meaning."""
    double, real = TESTS / "assistant_double.py", TESTS.parent / "alm"
    for name in ("Usage", "Answer"):
        assert shape_of(double, name) == shape_of(real / "conversation.py", name)
    assert shape_of(double, "Conversation") <= shape_of(real / "conversation.py", "Conversation")
    own = {"delay_seconds", "most_at_once", "most_turns", "preset", "enter(self)", "leave(self)"}
    own |= {name for name in shape_of(double, "Assistant") if name.startswith("words(")}
    assert shape_of(double, "Assistant") - own <= shape_of(real / "assistant.py", "Assistant")


@pytest.mark.weights
@pytest.mark.slow
def test_the_real_assistant_answers_from_a_cold_process(clip: Path) -> None:
    """Cold process to first answer in at most 10 s of processor time on two cores."""
    started = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "alm.cli",
        "ask",
        str(clip),
        "What do you hear?",
        "--max-new-tokens",
        "12",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=TESTS.parent)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["answer"] and document["evidence"][0]["seconds"] == pytest.approx(1.5)
    assert document["usage"]["encoded_recordings"] == 1 and document["usage"]["audio_tokens"] > 0
    print(f"cold process: {time.monotonic() - started:.1f} s")
