"""Losses over recordings and captions: what each rewards, and a stage that is trained by all of them."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from alm.errors import ConfigError
from tests import training_helpers as small
from training.align import Targets
from training.config import StageConfig
from training.features import FeatureCache
from training.groups import set_trainable
from training.loop import Log, Stage, Stop
from training.losses import PAIR_LOSSES
from training.losses.contrast import nearest_token, symmetric, volume
from training.losses.reading import Reader, hardest
from training.pairs import PairObjective
from training.sounds import ClassInfo
from training.typed import build


def _unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_nearest_token_counts() -> None:
    tokens, texts = _unit(3, 4, 8), _unit(3, 8, seed=1)
    tokens[0, 2] = texts[1]
    found = nearest_token(tokens, texts)
    assert found.shape == (3, 3) and float(found[0, 1]) == pytest.approx(1.0, abs=1e-6)
    assert torch.equal(found.argmax(1)[:1], torch.tensor([1]))


def test_pairs_that_share_a_class_do_not_push_each_other_away() -> None:
    scores = torch.tensor([[2.0, 9.0], [9.0, 2.0]])
    same = torch.tensor([[False, True], [True, False]])
    assert float(symmetric(scores, same)) == pytest.approx(0.0, abs=1e-6)
    assert float(symmetric(scores, torch.zeros_like(same))) > 5, "control"


def test_the_volume_is_the_parallelotopes() -> None:
    anchor, others = _unit(3, 8), [_unit(5, 8, seed=1), _unit(5, 8, seed=2)]
    found = volume(anchor, others)
    rows = torch.stack([anchor[1], others[0][4], others[1][4]]).double()
    assert float(found[1, 4]) == pytest.approx(float(torch.linalg.svdvals(rows).prod()), abs=1e-5)
    assert float(volume(anchor[:1], [anchor[:1], anchor[:1]])) < 2e-3, "nothing is left where all agree"
    angle = torch.acos(anchor[0] @ others[0][0])
    assert float(volume(anchor, others[:1])[0, 0]) == pytest.approx(float(angle.sin()), abs=1e-5)


def test_the_hardest_negative_is_wrong_and_likely() -> None:
    scores, same = torch.tensor([[0.0, 50.0, 0.0], [0.0, 0.0, 50.0], [0.0, 0.0, 0.0]]), torch.zeros(3, 3).bool()
    same[2] = True  # shares a class with everything
    torch.manual_seed(0)
    drawn, there = hardest(scores, same)
    assert drawn.tolist() == [1, 2] and there.tolist() == [True, True, False]


def test_a_reader_that_generates_sees_no_word_ahead() -> None:
    torch.manual_seed(0)
    reader = Reader(8).eval()
    tokens, words, mask = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)
    changed = words.clone()
    changed[:, 3] += 1.0
    first, second = (reader.read(tokens, w, mask, forwards=True) for w in (words, changed))
    torch.testing.assert_close(first[:, :3], second[:, :3])
    assert not torch.allclose(first[:, 3:], second[:, 3:])
    both = [reader.read(tokens, w, mask, forwards=False) for w in (words, changed)]
    assert not torch.allclose(both[0][:, :3], both[1][:, :3]), "control: matching reads both ways"


def _stage(folder: Path, losses: dict[str, float], steps: int = 30, **changes: Any) -> Stage:
    listed = small.sounds(folder)
    if not (folder / "cache").is_dir():
        small.write_cache(folder / "cache", [s.path.name for s in listed])
    values = {
        "name": "pairs", "kind": "align", "train": ["aligner"], "steps": steps, "batch_size": 12,
        "lr": {"aligner": 0.01}, "warmup_steps": 2, "eval_every_steps": steps, "losses": losses,
    }  # fmt: skip
    stage = build(StageConfig, {**values, **changes}, "test")
    made = small.model(lora=False)
    states = _unit(3, 32, seed=3)
    captions = {f"a {c}": i for i, c in enumerate(small.LABELS)}
    objective = PairObjective(
        made, stage, listed, FeatureCache(folder / "cache"), small.LABELS,
        {c: ClassInfo(c, c, f"a {c}", ()) for c in small.LABELS}, {0: Targets(torch.zeros(32), states, states, states)},
        captions, 1, tokenizer=small.processor(made.config).tokenizer,
    )  # fmt: skip
    names = set_trainable(made, stage.train)
    run = folder / "run"
    run.mkdir(exist_ok=True)
    return Stage(made, names, stage, objective, run, Log(run / "log.jsonl"), 1, 1e9)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_every_loss_teaches_the_aligner(tmp_path: Path, name: str) -> None:
    """It falls on the batches it was trained on, and its gradient reaches the aligner."""
    stage = _stage(tmp_path, {name: 1.0}, steps=300 if name == "matching" else 25)
    batches = [stage.objective.batch(i) for i in range(3)]

    def value() -> float:
        torch.manual_seed(0)
        return sum(float(stage.objective.loss(b)[0].detach()) for b in batches)

    torch.manual_seed(0)
    stage.objective.loss(batches[0])[0].backward()
    assert any(float(p.grad.abs().max()) > 0 for p in stage.names.values() if p.grad is not None)
    stage.model.zero_grad()
    before = value()
    assert stage.run(Stop())
    assert value() < 0.9 * before


@pytest.mark.slow
def test_without_negatives_the_sounds_stay_apart(tmp_path: Path) -> None:
    stage = _stage(tmp_path, {"slap": 1.0}, steps=40)
    assert stage.run(Stop())
    objective: Any = stage.objective
    heard = objective.batch(0).heard
    with torch.no_grad():
        projected = objective.helpers.siamese[0].audio(objective._tokens(0, heard).mean(1))
    spread = F.normalize(projected, dim=-1).std(0).mean()
    assert float(spread) > 0.2 / projected.shape[1] ** 0.5, "one point for all would have no spread"


@pytest.mark.slow
def test_slow_copies_are_part_of_the_checkpoint(tmp_path: Path) -> None:
    """A stage that was stopped goes on to the same bits."""
    losses = dict.fromkeys(PAIR_LOSSES, 1.0)
    straight, stopped = _stage(tmp_path, losses, steps=6), tmp_path / "stopped"
    assert straight.run(Stop())
    stopped.mkdir()
    first = _stage(stopped, losses, steps=6)
    stop, made = Stop(), first.objective.batch

    def batch(step: int) -> Any:
        stop.number = signal.SIGTERM if step == 2 else 0
        return made(step)

    first.objective.batch = batch  # type: ignore[method-assign]
    assert not first.run(stop)
    resumed = _stage(stopped, losses, steps=6)
    assert resumed.run(Stop())
    for name, parameter in straight.names.items():
        assert torch.equal(parameter, resumed.names[name]), name
    extra = dict(resumed.objective.extra.named_parameters())
    assert all(torch.equal(p, extra[n]) for n, p in straight.objective.extra.named_parameters())
    assert any("slow" in n for n in extra), "control: there are slow copies"


def test_losses_are_checked() -> None:
    stage = small.align_stage()
    with pytest.raises(ConfigError, match="no loss 'triplet'"):
        replace(stage, losses={"triplet": 1.0})
    with pytest.raises(ConfigError, match="trains the aligner"):
        replace(stage, train=("tag_head",), losses={"gram": 1.0})
