"""The step measurement: every model learns what it says, sizes are equal, the page says whether the aim is reached."""

from __future__ import annotations

import multiprocessing

import pytest
import torch

from bench.step_models import AUDIO_ID, CASES, FROM_FEATURES, LEARNS, SYSTEMS, Shape, words
from bench.steps import SECONDS, WIDE, measure, page, share, verdict

SMALL = Shape(32, 4, 2, 48, 64, 32, 1, 2, 1, 12, 4)
TOKENS = {
    "ours": 20, FROM_FEATURES: 20, "Qwen2-Audio": 250, "Audio Flamingo 3": 250, "Voxtral": 375, "prefix": 250,
    "keys_values": 250,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("learns", "name"), CASES)
def test_every_model_takes_a_step_in_all_that_learns(name: str, learns: str) -> None:
    torch.manual_seed(0)
    system = SYSTEMS[name](SMALL, 10.0, learns)
    loss = system.loss()
    loss.backward()  # type: ignore[no-untyped-call]
    assert bool(torch.isfinite(loss)) and system.tokens == TOKENS[name]
    names = {n for n, p in system.model.named_parameters() if p.requires_grad}
    without = {n for n, p in system.model.named_parameters() if p.requires_grad and p.grad is None}
    # What no computation reaches: entries of layers below the audio's, and the classes' unused rows.
    assert len(without) < len(names) / 4, sorted(without)[:5]
    encoder = [n for n in names if "audio_tower" in n or "hearing.encoders" in n]
    assert bool(encoder) == (learns == "all")


@pytest.mark.slow
def test_prefix_and_keys_values_have_one_size() -> None:
    both = [SYSTEMS[n](SMALL, 10.0, "all") for n in ("prefix", "keys_values")]
    assert both[0].tokens == both[1].tokens
    assert len({sum(p.numel() for p in s.learning()) for s in both}) == 1


@pytest.mark.slow
def test_from_features_the_loss_is_the_same_and_no_encoder_is_run() -> None:
    made = []
    for name in ("ours", FROM_FEATURES):
        torch.manual_seed(0)
        made.append(SYSTEMS[name](SMALL, 10.0, "light"))
    whole, kept = made
    torch.nn.init.constant_(next(kept.model.model.hearing.encoders.parameters()), torch.nan)  # type: ignore[union-attr, operator]
    assert torch.allclose(whole.loss(), kept.loss())


def test_the_text_is_the_same_whatever_the_audio_takes() -> None:
    (few, labels), (many, _) = words(SMALL, 3), words(SMALL, 30)
    assert torch.equal(few[few != AUDIO_ID], many[many != AUDIO_ID])
    assert int((labels != -100).sum()) == SMALL.answered


def made_up(faster: float, smaller: float) -> list[dict[str, object]]:
    return [
        {"name": n, "learns": what, "seconds": s, "step_seconds": 1.0 if n == "ours" else faster,
         "megabytes": 100.0 * (smaller if n == "ours" else 1.0), "tokens": 1, "learning": 10, "parameters": 20}
        for what in LEARNS for s in SECONDS for n in SYSTEMS
    ]  # fmt: skip


def test_the_page_says_whether_the_aim_is_reached() -> None:
    assert verdict(made_up(3.0, 0.4)).count(": reached") == 6
    assert verdict(made_up(2.9, 0.4)).count("not reached") == 6
    assert verdict(made_up(3.0, 0.41)).count("not reached") == 6
    assert "python -m bench.steps" in page(made_up(3.0, 0.4), made_up(1.0, 1.0), SMALL, "python -m bench.steps")


def test_keys_alone_are_less_work_the_more_audio_there_is() -> None:
    assert share(Shape(), 0) == 1
    assert share(WIDE, 750) < share(WIDE, 250) < 1
    # Widths 4 and 8, one row of text and one of audio: keys and values 16, queries 32, block 96, scores 16.
    one = Shape(text_dim=4, text_heads=2, text_ffn=8, asked=1, answered=0)
    assert share(one, 1) == (2 * 16 + 144) / 320


@pytest.mark.slow
def test_a_measurement_counts_what_learns() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # this one may have memory to spare
        found = pool.apply(measure, ("ours", "light", 10.0, 1, SMALL))
    assert 0 < found["learning"] < found["parameters"] and found["step_seconds"] > 0 and found["megabytes"] > 0
