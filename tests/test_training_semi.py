"""Semi-supervised tag heads: pooling by pieces, views, each method's parts, and a toy world in which they must help."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from alm.aligner import Heard, pooled
from alm.errors import ConfigError
from alm.tagging import TagHead
from tests.training_helpers import write_cache
from training.objective import rng_for
from training.semi import __main__ as command
from training.semi import losses
from training.semi.comparing import (
    ALL_LABELS,
    Data,
    Plan,
    by_class,
    choose_labelled,
    hits,
    interval,
    read_data,
    train_one,
)
from training.semi.methods import METHODS, Batch, FixMatch, MeanTeacher, Method, exponential_ramp, turned
from training.semi.page import page
from training.semi.pieces import PIECES, Ear, Pieces, cut, read_pieces
from training.semi.views import STRONG, WEAK, View, draw
from training.sounds import Sound

LABELS = ["bell", "dog", "rain", "wind"]


def heard(count: int = 6, seed: int = 0) -> dict[str, Heard]:
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, layers, dim, time in (("a", 1, 8, 20), ("b", 2, 4, 40)):
        lengths = torch.randint(1, time + 1, (count,), generator=generator)
        mask = torch.arange(time)[None] < lengths[:, None]
        hidden = torch.randn(count, layers, time, dim, generator=generator) * mask[:, None, :, None]
        made[name] = Heard(hidden, mask, 0.1)
    return made


def pieces(count: int = 6) -> tuple[Pieces, dict[str, Heard]]:
    made = heard(count)
    return Pieces({n: cut(h) for n, h in made.items()}), made


def test_all_pieces_together_are_what_the_tag_head_hears() -> None:
    own, made = pieces()
    torch.testing.assert_close(own.whole(), pooled(made), atol=5e-3, rtol=0)


def test_a_hidden_piece_changes_what_is_heard() -> None:
    own, made = pieces()
    kept = torch.ones(6, PIECES, dtype=torch.bool)
    kept[:, :4] = False
    assert not torch.allclose(own.pooled(torch.arange(6), kept), pooled(made), atol=5e-3)


def test_a_recording_of_which_nothing_is_kept_is_heard_whole() -> None:
    own, made = pieces()
    nothing = own.pooled(torch.arange(6), torch.zeros(6, PIECES, dtype=torch.bool))
    torch.testing.assert_close(nothing, pooled(made), atol=5e-3, rtol=0)


def test_pieces_of_the_cache_keep_the_order_of_the_sounds(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache", ["x.wav", "y.wav", "z.wav"])
    sounds = [Sound(tmp_path / n, ("dog",), "", "s", "train", True) for n in ("z.wav", "x.wav")]
    both = read_pieces(sounds, cache).whole()
    alone = read_pieces(sounds[1:], cache).whole()
    torch.testing.assert_close(both[1:], alone)


def test_views_are_fixed_by_their_generator_and_strong_ones_go_further() -> None:
    own, _ = pieces()
    index = torch.arange(6)
    assert torch.equal(draw(own, index, WEAK, rng_for(1)), draw(own, index, WEAK, rng_for(1)))
    assert not torch.equal(draw(own, index, WEAK, rng_for(1)), draw(own, index, WEAK, rng_for(2)))
    far = [
        sum(float((draw(own, index, view, rng_for(n)) - own.whole()).square().mean()) for n in range(20))
        for view in (WEAK, STRONG)
    ]
    assert far[1] > 2 * far[0]


def test_a_view_that_hides_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match="occlusion"):
        View(1.0, (0.0, 1.0), (0.0, 0.5), (0.0, 0.1))


def test_sharpening_keeps_a_distribution_and_makes_it_surer() -> None:
    plain = torch.tensor([[0.5, 0.3, 0.2]])
    sharp = losses.sharpened(plain, 0.5)
    torch.testing.assert_close(sharp, torch.tensor([[0.25, 0.09, 0.04]]) / 0.38)
    torch.testing.assert_close(losses.sharpened(plain, 1.0), plain)


def test_alignment_moves_guesses_to_the_prior_and_leaves_equal_ones() -> None:
    guesses = torch.tensor([[0.8, 0.2], [0.6, 0.4]])
    seen = guesses.mean(0)
    torch.testing.assert_close(losses.aligned(guesses, seen, seen), guesses)
    moved = losses.aligned(guesses, torch.tensor([0.5, 0.5]), seen)
    assert moved[1, 1] > guesses[1, 1]


def test_mixup_leaves_a_row_mostly_itself() -> None:
    share = losses.mixup_shares(1000, 0.75, rng_for(0))
    assert float(share.min()) >= 0.5 and float(share.max()) <= 1.0 and float(share.std()) > 0.05


def test_divergence_is_zero_for_equals_and_log_two_for_opposites() -> None:
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert float(losses.jensen_shannon(one, one)) == pytest.approx(0.0, abs=1e-6)
    assert float(losses.jensen_shannon(one, other)) == pytest.approx(math.log(2), abs=1e-5)


def test_an_adversarial_step_raises_the_loss_and_is_bounded() -> None:
    torch.manual_seed(0)
    net, x = torch.nn.Linear(5, 3), torch.randn(4, 5)
    wanted = F.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    moved = losses.adversarial(net, x, wanted, 0.02)
    assert float((moved - x).abs().max()) == pytest.approx(0.02, abs=1e-6)
    before, after = (losses.soft_cross_entropy(net(v), wanted) for v in (x, moved))
    assert bool((after > before).all())


def test_turning_twice_is_none() -> None:
    own, _ = pieces()
    features = own.whole()
    for how in range(4):
        way = torch.full((6,), how)
        once = turned(features, way, own.layers, own.dims)
        assert torch.equal(once, features) == (how == 0)
        assert torch.equal(turned(once, way, own.layers, own.dims), features)


def head(own: Pieces, hidden: int = 8) -> TagHead:
    return TagHead(own.layers, own.dims, len(LABELS), hidden)


def batch(own: Pieces, done: float = 0.5, seed: int = 3) -> Batch:
    rng = rng_for(seed)
    index = torch.arange(len(own))
    wanted = F.one_hot(index % len(LABELS), len(LABELS)).float()
    views = {"weak": WEAK, "strong": STRONG}

    def view(kind: str) -> torch.Tensor:
        return draw(own, index, views[kind], rng)

    return Batch(view, wanted, view, rng, done)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_sends_a_gradient_to_all_that_learns(name: str) -> None:
    own, _ = pieces(12)
    torch.manual_seed(0)
    learner = METHODS[name](lambda: head(own), own.layers, own.dims)
    loss = learner.loss(batch(own))
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in learner.parameters())


def test_unsure_guesses_teach_fixmatch_nothing() -> None:
    """A fresh head is never 95 % sure: the loss is that of labels alone. A sure one adds to it."""
    own, _ = pieces(12)
    torch.manual_seed(0)
    fixed = FixMatch(lambda: head(own), own.layers, own.dims)
    fixed.net.eval()
    plain = Method(lambda: head(own), own.layers, own.dims)
    plain.net = fixed.net
    with_none = float(fixed.loss(batch(own)).detach())
    # The order of draws: unlabelled weak, unlabelled strong, labelled weak.
    rest = batch(own)
    rest.unlabelled("weak"), rest.unlabelled("strong")
    assert with_none == pytest.approx(float(plain.loss(rest).detach()), rel=1e-6)
    last = fixed.net.net[-1]
    assert isinstance(last, torch.nn.Linear)
    last.weight.data *= 200.0
    sure = batch(own)
    sure.unlabelled("weak"), sure.unlabelled("strong")
    assert float(fixed.loss(batch(own)).detach()) > float(plain.loss(sure).detach())


def test_the_teacher_is_the_mean_of_the_first_steps_then_follows_slowly() -> None:
    own, _ = pieces()
    teacher = MeanTeacher(lambda: head(own), own.layers, own.dims)
    first = copy.deepcopy(teacher.net)
    with torch.no_grad():
        for p in teacher.net.parameters():
            p.add_(1.0)
    teacher.after_step(1)
    for mine, old in zip(teacher.teacher.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(mine, old + 0.5)
    teacher.after_step(10**6)
    for mine, old in zip(teacher.teacher.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(mine, old + 0.5005)


def test_ramps() -> None:
    assert exponential_ramp(0.0, 0.25) == pytest.approx(math.exp(-5))
    assert exponential_ramp(0.25, 0.25) == exponential_ramp(1.0, 0.25) == 1.0


def test_labels_are_kept_class_by_class() -> None:
    sounds = [Sound(Path(f"{i}"), (LABELS[0 if i < 40 else 1],), "", "s", "train", True) for i in range(44)]
    kept = choose_labelled(sounds, LABELS[:2], 0.1, 0)
    assert len([i for i in kept if i < 40]) == 4 and len([i for i in kept if i >= 40]) == 1
    assert kept != choose_labelled(sounds, LABELS[:2], 0.1, 1)
    assert kept == choose_labelled(sounds, LABELS[:2], 0.1, 0)


def test_rare_classes_count_as_much_and_sources_are_drawn_whole() -> None:
    truth = np.array([[1, 0]] * 9 + [[0, 1]], dtype=bool)
    right = np.array([1.0] * 9 + [0.0])
    assert by_class(right, truth) == 0.5
    low, high = interval(right, truth, ["one"] * 10)
    assert low == high == 0.5
    low, high = interval(right, truth, [str(i) for i in range(10)])
    assert (low, high) == (0.5, 1.0)  # with the rare class in the draw, and without


@pytest.mark.parametrize("change", [{"share": 0.0}, {"methods": ("guess",)}, {"steps": 0}])
def test_an_impossible_plan_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="semi"):
        dataclasses.replace(Plan(), **change)  # type: ignore[arg-type]


def test_a_cache_without_the_split_says_what_to_run(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache", ["x.wav"])
    sounds = [Sound(tmp_path / "x.wav", ("dog",), "", "s", "train", True)]
    with pytest.raises(ConfigError, match="training features"):
        read_data(sounds, cache, Plan(least=1), "test")


def world(per_class: int = 40, spread: float = 0.5, seed: int = 0) -> Data:
    """Classes that lie in clusters, so that unlabelled recordings tell where a class's border is not."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(LABELS), 1, 1, 16, generator=generator)

    def some(count: int) -> tuple[Ear, np.ndarray]:
        which = torch.arange(count) % len(LABELS)
        own = torch.randn(count, 1, 1, 16, generator=generator)
        mean = centres[which] + spread * own + 0.2 * torch.randn(count, PIECES, 1, 16, generator=generator)
        peak = mean + 1.0
        return Ear(mean.half(), peak.half(), torch.full((count, PIECES), 4)), F.one_hot(which).bool().numpy()

    (train, own), (tested, truth) = some(per_class * len(LABELS)), some(400)
    sounds = [
        Sound(Path(f"{i}"), (LABELS[int(r.argmax())],), "", f"s{i % 7}", "train", True) for i, r in enumerate(own)
    ]
    wanted = torch.from_numpy(own).float()
    features = Pieces({"ear": tested}).whole()
    return Data(
        LABELS, sounds, Pieces({"ear": train}), wanted,
        [dataclasses.replace(s, source=f"t{i % 9}") for i, s in enumerate((sounds * 99)[:400])], features, truth,
    )  # fmt: skip


def test_a_run_is_the_same_twice_and_the_page_tells_it() -> None:
    data, plan = world(6), Plan(methods=("supervised", "fixmatch"), seeds=1, steps=4, hidden=8)
    first, count = train_one("fixmatch", data, plan, 0)
    again, _ = train_one("fixmatch", data, plan, 0)
    assert np.array_equal(first, again) and count == 4
    answers = {"supervised": [train_one("supervised", data, plan, 0)[0]], "fixmatch": [first], ALL_LABELS: [first]}
    text = page(answers, data, plan, count, dict.fromkeys(answers, 1.0), "python -m training.semi x")
    assert "| FixMatch |" in text and "python -m training.semi x" in text


def test_a_finished_run_is_kept_and_another_plan_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, plan, file = world(6), Plan(seeds=1, steps=2, hidden=8), tmp_path / "supervised-0.safetensors"
    first, count, _ = command.kept(file, "supervised", data, plan, 0)
    monkeypatch.setattr(command, "train_one", None)  # would fail if called
    again, same, _ = command.kept(file, "supervised", data, plan, 0)
    assert np.array_equal(first, again) and count == same == 4
    with pytest.raises(ConfigError, match="another comparison"):
        command.kept(file, "supervised", data, dataclasses.replace(plan, steps=3), 0)
    with pytest.raises(TypeError):
        command.kept(tmp_path / "supervised-1.safetensors", "supervised", data, plan, 1)


def learnt(name: str, data: Data) -> float:
    """Share of right answers after a short run with one label a class; chance is a quarter."""
    plan = Plan(share=0.03, steps=200, hidden=16, labelled_size=16, unlabelled_size=64)
    return by_class(hits(train_one(name, data, plan, 0)[0], data.truth), data.truth)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*METHODS, ALL_LABELS])
def test_every_method_learns_from_one_label_a_class(name: str) -> None:
    assert learnt(name, world(40, 0.6)) > 0.8


@pytest.mark.slow
def test_wrong_labels_teach_nothing() -> None:
    data = world(40, 0.6)
    assert learnt("fixmatch", dataclasses.replace(data, wanted=data.wanted.roll(1, 1))) < 0.2
