"""The commands of the harness from end to end, with random weights and, where they are, with the real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import harness_helpers as toys
import pytest
import tiny_model
from harness_helpers import toy
from typer.testing import CliRunner, Result

from eval.cli import app
from eval.harness.items import JudgeSpec, LabelWant, OpenWant, TranscriptWant
from eval.harness.ours import PresetModel


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


@pytest.fixture
def miniature(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The preset `tiny` with random weights in miniature."""
    assistant = tiny_model.assistant()
    monkeypatch.setattr(PresetModel, "load", lambda self: assistant)
    yield


@pytest.mark.usefixtures("miniature")
def test_one_command_asks_scores_and_reports(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 6)
    done = call("run", "--bench", prepared.folder, "--out", tmp_path / "run", "--loglik")
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["complete"] and set(summary["conditions"]) == {"heard", "text-only", "shuffled"}
    keys = {m["key"] for m in summary["conditions"]["heard"]["kinds"]["choice"]["measures"]}
    assert {"official", "robust", "loglik", "chance"} <= keys
    assert summary["conditions"]["heard"]["calibration"]["items"] == 6
    assert str(tmp_path / "run" / "report.md") in done.stdout
    before = (tmp_path / "run" / "generate.heard.jsonl").read_bytes()
    again = call("run", "--bench", prepared.folder, "--out", tmp_path / "run", "--loglik")
    assert again.exit_code == 0 and "6 answered before, 0 now" in again.output
    assert (tmp_path / "run" / "generate.heard.jsonl").read_bytes() == before
    (tmp_path / "run" / "summary.json").unlink()
    assert call("score", tmp_path / "run").exit_code == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary, "scored again: the same"


@pytest.mark.usefixtures("miniature")
def test_several_kinds_in_one_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    wants = [
        LabelWant(labels=("dog",), label_set="pets"),
        LabelWant(labels=("cat",), label_set="pets", mode="loglik"),
        TranscriptWant(reference="press two"),
    ]
    prepared = toy(tmp_path, made=toys.items(tmp_path / "data", 6, 3, lambda n: wants[n % 3]))
    done = call("run", "--bench", prepared.folder, "--out", tmp_path / "run", "--condition", "heard")
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary["conditions"]["heard"]["kinds"]) == {"label", "transcript"}


@pytest.mark.usefixtures("miniature")
@pytest.mark.slow
def test_a_run_waits_for_grades_that_no_judge_gave(tmp_path: Path, server: str) -> None:
    """A judge of random weights says nothing that can be read; an endpoint fills the gaps."""
    (tmp_path / "data").mkdir()
    want = OpenWant(references=("yes",), context="A dog barks.", judge=JudgeSpec(prompt="ahelm", scale=(1, 5)))
    made = [toys.choice_item(n, toys.recording(tmp_path / "data", n), want=want, official="") for n in range(3)]
    prepared, out = toy(tmp_path, made=made), tmp_path / "run"
    done = call("run", "--bench", prepared.folder, "--out", out, "--condition", "heard")
    assert done.exit_code == 1 and "3 graded answers are missing" in done.output, done.output
    assert call("score", out, "--judge-missing", "zero").exit_code == 0
    undated = call("judge", out, "--judge", "big", "--judge-endpoint", server)
    assert undated.exit_code == 2 and "--judge-revision" in undated.output
    judged = call("judge", out, "--judge", "grader-2026-01-31", "--judge-endpoint", server)
    assert judged.exit_code == 0, judged.output
    assert call("score", out).exit_code == 0
    found = json.loads((out / "summary.json").read_text())["conditions"]["heard"]["kinds"]["open"]["measures"]
    assert {m["value"] for m in found if m["key"] == "robust"} == {0.75}, "4 on a scale from 1 to 5"


@pytest.mark.usefixtures("miniature")
def test_shards_are_scored_together(tmp_path: Path) -> None:
    prepared, out = toy(tmp_path, 6), tmp_path / "run"
    first = call("run", "--bench", prepared.folder, "--out", out, "--condition", "heard", "--shard", "1/2")
    assert first.exit_code == 0 and not (out / "summary.json").exists()
    early = call("score", out)
    assert early.exit_code == 1 and "incomplete: 3 answers" in early.output
    call("run", "--bench", prepared.folder, "--out", out, "--condition", "heard", "--shard", "2/2")
    assert call("score", out).exit_code == 0


@pytest.mark.usefixtures("miniature")
@pytest.mark.slow
def test_two_adapters_are_compared_and_put_on_one_page(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 6)
    for name, more in (("a", ["--no-evidence"]), ("b", ["--adapter", "none"])):
        done = call("run", "--bench", prepared.folder, "--out", tmp_path / name, "--condition", "heard", *more)
        assert done.exit_code == 0, done.output
    compared = call("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c")
    assert compared.exit_code == 0 and (tmp_path / "c" / "compare.png").is_file()
    assert "McNemar p" in (tmp_path / "c" / "compare.md").read_text()
    page = call("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "page")
    assert page.exit_code == 0 and "| a | tiny |" in (tmp_path / "page" / "runs.md").read_text()


def test_a_dry_run_loads_no_model_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PresetModel, "load", lambda self: pytest.fail("loaded"))
    prepared = toy(tmp_path, 6)
    done = call("run", "--bench", prepared.folder, "--out", tmp_path / "run", "--dry-run")
    assert done.exit_code == 0 and "6 to ask, 4 recordings there" in done.output and not (tmp_path / "run").exists()


class _Server(BaseHTTPRequestHandler):
    """Says `A` to whoever sends a recording, grades what is to be judged, and refuses the rest."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        judging = b"is to be judged" in body
        said = "Score: 4" if judging else "A"
        reply = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}
        self.send_response(200 if judging or b"input_audio" in body else 400)
        self.end_headers()
        self.wfile.write(json.dumps(reply).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/v1"
        listening.shutdown()


def test_an_endpoint_is_asked_through_the_same_command(tmp_path: Path, server: str) -> None:
    prepared, out = toy(tmp_path, 6), tmp_path / "run"
    words = ["run", "--bench", prepared.folder, "--out", out, "--model", "rival-2026-01-31", "--endpoint", server]
    done = call(*words, "--condition", "heard")
    assert done.exit_code == 0, done.output
    assert '"model": "rival-2026-01-31"' in (out / "run.json").read_text()
    assert {json.loads(line)["text"] for line in (out / "generate.heard.jsonl").open()} == {"A"}
    failed = call(*words, "--condition", "text-only")
    assert failed.exit_code == 1 and "6 failed" in failed.output
    assert "error" in json.loads((out / "summary.json").read_text())["conditions"]["text-only"]["rates"]


def test_ctrl_c_keeps_what_was_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: PresetModel) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(PresetModel, "load", interrupted)
    done = call("run", "--bench", toy(tmp_path, 6).folder, "--out", tmp_path / "run")
    assert done.exit_code == 130 and "goes on from there" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--bench", "no/such", "--out", "x"], "no prepared benchmark is there"),
        (["run", "--bench", "mmu", "--out", "x"], "did you mean mmau"),
        (["run", "--bench", "mmau", "--out", "x"], "--data DIR"),
        (["run", "--bench", "mmau", "--out", "x", "--shard", "3/2"], "give I/N"),
        (["run", "--bench", "mmau", "--out", "x", "--model", "huge"], "no preset is called 'huge'"),
        (["run", "--bench", "mmau", "--out", "x", "--adapter", "no/such"], "no such folder"),
        (["prepare", "mmau", "--from", "no/such", "--out", "x"], "no/such"),
        (["score", "no/such"], "make a run with"),
        (["report", "no/such"], "alm eval score"),
        (["compare", "no/such", "no/such"], "make a run with"),
        (["list", "mmu"], "did you mean mmau"),
    ],
)
def test_what_a_user_gets_wrong_is_told_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.exit_code == 2 and said in " ".join(done.output.split()), done.output
    assert not (tmp_path / "x").exists()


def test_the_list_names_licence_and_source() -> None:
    found = {one["name"]: one for one in json.loads(call("list", "--json").stdout)}
    assert "mmau" in found and all(one["licence"] and one["source"] and one["measures"] for one in found.values())
    assert "alm eval prepare mmau" in call("list", "mmau").stdout


def test_the_corpus_evaluations_are_still_there() -> None:
    for name in ("choice", "open", "presence", "order", "count", "wer", "speech_qa", "speed", "memory", "schemes"):
        assert call(name, "--help").exit_code == 0


@pytest.mark.weights
@pytest.mark.slow
def test_the_real_preset_is_measured(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 4, 2)
    done = call("run", "--bench", prepared.folder, "--out", tmp_path / "run", "--condition", "heard", "--loglik")
    assert done.exit_code == 0, done.output
    answers = [json.loads(line) for line in (tmp_path / "run" / "generate.heard.jsonl").read_text().splitlines()]
    assert all(a["text"] and not a["error"] and len(a["loglik"]) == 4 for a in answers)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["complete"]
