"""What of the vLLM plugin runs without vLLM; the rest is in tests/with_vllm (`make test-vllm`)."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tiny_model
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from alm.cli import app
from alm.configuration import AlmConfig
from alm.errors import ConfigError
from alm.fusion import TEXT, FusedDecoder, Plan
from serve.engines.vllm_start import write_for_vllm
from serve.vllm_plugin import support
from serve.vllm_plugin.rows import StepRows, entering, pack, waiting

ROOT = Path(__file__).resolve().parent.parent


def config(early: str = "absent", **fusion: Any) -> AlmConfig:
    values = tiny_model.config(**fusion).to_dict()
    kept = ("encoders", "branches", "text_config", "audio_token_id", "window_seconds", "overlap_seconds")
    return AlmConfig(**{k: values[k] for k in kept}, early_audio=early)


def test_what_vllm_cannot_do_is_refused_with_the_reason(tmp_path: Path) -> None:
    for scheme in ("prefix", "delayed", "keys_values", "hybrid"):
        support.check(config(scheme=scheme, start_layer=0 if scheme == "prefix" else 2))
    with pytest.raises(ConfigError, match="cross_attention"):
        support.check(config(scheme="cross_attention"))
    asking = config()
    assert asking.branches is not None
    asking.branches[0]["aligner"]["question_aware"] = True
    with pytest.raises(ConfigError, match="question-aware"):
        support.check(asking)
    other = config()
    other.text_config.model_type = "gemma2"  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="gemma2"):
        support.check(other)
    made = tiny_model.assistant()
    made.model.config.branches[0]["fusion"]["scheme"] = "cross_attention"
    with pytest.raises(ConfigError, match="cross_attention"):
        write_for_vllm(made, tmp_path)
    assert not list(tmp_path.iterdir()), "refused before anything is written"


def test_a_head_gets_room_for_one_more_channel() -> None:
    assert [support.padded_head(s) for s in (64, 80, 128)] == [80, 96, 160]
    with pytest.raises(ConfigError, match="512 channels"):
        support.padded_head(512)


def stepped(fusion: FusedDecoder, rows: int = 6) -> tuple[StepRows, torch.Tensor, torch.Tensor]:
    """A step with one window of audio at rows 1 to 4, and its tokens."""
    torch.manual_seed(0)
    dim = fusion.entry.mean.shape[1]
    torch.nn.init.normal_(fusion.entry.mean)
    tokens = torch.randn(len(fusion.plan.window), dim)
    is_audio = torch.zeros(rows, dtype=torch.bool)
    is_audio[1:5] = True
    held = StepRows(32, dim)
    held.lay_out(is_audio, [pack(tokens, fusion.plan)])
    return held, is_audio, tokens


@pytest.mark.parametrize("scheme", ["delayed", "keys_values", "hybrid"])
def test_audio_replaces_the_sum_of_hidden_state_and_residual(scheme: str) -> None:
    fusion = FusedDecoder(config(scheme=scheme, start_layer=2))
    held, is_audio, tokens = stepped(fusion)
    with torch.no_grad():
        for layer in range(4):
            hidden, residual = torch.randn(2, 6, tokens.shape[1])
            now, stream = held.enter(fusion, layer, hidden, residual)
            total, before = now + stream, hidden + residual  # type: ignore[operator]
            audio = [(fusion.plan.routes[r].way, r) for r in fusion.plan.window]
            replaced = [layer == 2 or (layer > 2 and way == "keys") for way, _ in audio]
            assert torch.equal(total[~is_audio], before[~is_audio])
            for place, is_new in enumerate(replaced):
                want = fusion.entry(tokens, layer)[place] if is_new else before[1 + place]
                assert torch.equal(total[1 + place], want), (layer, place)


def test_a_placeholder_stands_below_and_an_absent_one_is_named() -> None:
    fusion = FusedDecoder(config("placeholder"))
    assert fusion.placeholder is not None
    torch.nn.init.normal_(fusion.placeholder)
    held, is_audio, tokens = stepped(fusion)
    hidden = torch.randn(6, tokens.shape[1])
    with torch.no_grad():
        now, _ = held.enter(fusion, 0, hidden, None)
    assert torch.equal(now[1:5], fusion.placeholder.expand(4, -1)) and torch.equal(now[5], hidden[5])
    assert held.absent(fusion.plan, 1, 6)[:, 0].tolist() == is_audio.tolist()
    assert not held.absent(fusion.plan, 2, 6).any()


def test_a_step_forgets_the_one_before() -> None:
    fusion = FusedDecoder(config())
    held, _, tokens = stepped(fusion)
    held.lay_out(torch.zeros(3, dtype=torch.bool), [])
    hidden = torch.randn(3, tokens.shape[1])
    assert (held.route == TEXT).all() and held.enter(fusion, 2, hidden, None)[0] is hidden


def test_routes_enter_once_or_in_every_layer() -> None:
    plan = Plan.of(config(scheme="hybrid", start_layer=1, summary_tokens=2))
    assert [entering(plan, layer) for layer in range(4)] == [[], [0, 1], [1], [1]]
    assert [waiting(plan, layer) for layer in range(3)] == [[0, 1], [], []]


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is here")
@pytest.mark.parametrize("command", [["serve"], ["batch", "in.jsonl", "out.jsonl"]])
def test_without_vllm_the_remedy_is_told(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text('{"id": "1", "messages": [{"role": "user", "content": "Hello"}]}\n')
    done = CliRunner().invoke(app, [*command, "--engine", "vllm"])
    assert done.exit_code == 2, done.output
    assert "make env-vllm" in done.output


def test_the_plugin_is_where_vllm_looks_for_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (target,) = project["entry-points"]["vllm.general_plugins"].values()
    module, name = target.split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_environment_of_vllm_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints-vllm.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(p.name): next(iter(p.specifier)).version for p in map(Requirement, lines[1:])}
    wrong = []
    for line in (*project["dependencies"], *project["optional-dependencies"]["vllm-cpu"]):
        needed = Requirement(line)
        name = canonicalize_name(needed.name)
        if name != "pip" and (name not in pins or not needed.specifier.contains(pins[name])):
            wrong.append(f"{line} against {pins.get(name, 'no pin')}")
    assert not wrong, "\n".join(wrong)


PARENT = """
import multiprocessing, sys, time
from serve.vllm_plugin import end_with_parent

def core(watched):
    if watched:
        end_with_parent()
    time.sleep(60)

if __name__ == "__main__":
    children = [multiprocessing.get_context("spawn").Process(target=core, args=(w,)) for w in (True, False)]
    for child in children:
        child.start()
    print(*(child.pid for child in children), flush=True)
    time.sleep(60)
"""


def is_there(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
@pytest.mark.slow
def test_a_process_of_vllm_ends_with_its_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    inside = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=inside) as parent:
        assert parent.stdout is not None
        watched, other = map(int, parent.stdout.readline().split())
        time.sleep(1.5)  # they have started
        parent.kill()
    try:
        until = time.monotonic() + 20
        while is_there(watched) and time.monotonic() < until:
            time.sleep(0.05)
        assert not is_there(watched)
        assert is_there(other), "control: without the watch it stays"
    finally:
        os.kill(other, signal.SIGKILL)
