"""Aligners: masked padding, several layers heard, the question heard, tags carried, the door of a layer."""

from __future__ import annotations

import pytest
import tiny_model
import torch
from torch import Tensor

from alm.aligner import Heard, TagPrompt, build_aligner, pooled
from alm.aligner.features import masked_max, masked_mean
from alm.configuration import AlignerConfig
from alm.errors import ConfigError
from alm.fusion.entry import Entry
from alm.modeling import pool_frames
from alm.tagging import stretches
from alm.testing import noise, tone

LAYERS, DIMS = {"a": 2, "b": 1}, {"a": 8, "b": 12}


def heard(frames: int = 9, padded: int = 0, seed: int = 0, junk: float = 0.0) -> dict[str, Heard]:
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, step in (("a", 0.1), ("b", 0.2)):
        hidden = torch.randn(2, LAYERS[name], frames, DIMS[name], generator=generator)
        rest = torch.full((2, LAYERS[name], padded, DIMS[name]), junk)
        mask = torch.ones(2, frames + padded, dtype=torch.bool)
        mask[:, frames:] = False
        made[name] = Heard(torch.cat([hidden, rest], dim=2), mask, step)
    return made


def aligner(kind: str, **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    config = AlignerConfig(kind=kind, num_queries=4, hidden_size=16, num_heads=2, **changes)  # type: ignore[arg-type]
    made = build_aligner(config, LAYERS, DIMS, 24).eval()
    with torch.no_grad():  # at this width the usual initialisation leaves attention nearly uniform
        for name, weight in made.named_parameters():
            if "norm" not in name.lower():
                weight.normal_(std=0.3)
    return made


@pytest.mark.parametrize("kind", ["qformer", "linear"])
def test_padding_is_not_heard(kind: str) -> None:
    align = aligner(kind)
    plain, padded = align(heard()), align(heard(padded=7, junk=5.0))
    assert plain.shape == (2, 4, 24)
    assert float((plain - padded).abs().max()) < 1e-5
    loud = heard(padded=7, junk=5.0)
    unmasked = {n: Heard(h.hidden, torch.ones_like(h.mask), h.frame_seconds) for n, h in loud.items()}
    assert float((plain - align(unmasked)).abs().max()) > 1e-3, "control: without the mask padding is heard"


@pytest.mark.parametrize("kind", ["qformer", "linear"])
@pytest.mark.parametrize(("encoder", "layer"), [("a", 0), ("a", 1), ("b", 0)])
def test_every_layer_reaches_the_tokens(kind: str, encoder: str, layer: int) -> None:
    """GAMA's published aggregator loses its intermediate layers; here each one has a gradient."""
    align, items = aligner(kind), heard()
    hidden = items[encoder].hidden.requires_grad_()
    # The tokens are normalised, so a plain sum would have no gradient at all.
    (align(items) * torch.linspace(-1, 1, 24) ** 3).sum().backward()
    assert hidden.grad is not None
    assert float(hidden.grad[:, layer].abs().max()) > 0


def test_time_is_heard() -> None:
    align, items = aligner("qformer"), heard()
    backwards = {n: Heard(h.hidden.flip(2), h.mask, h.frame_seconds) for n, h in items.items()}
    assert float((align(items) - align(backwards)).abs().max()) > 1e-4


def test_question_changes_the_tokens_and_its_padding_does_not() -> None:
    align = aligner("qformer", question_aware=True)
    words = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(2, 5, dtype=torch.long)
    asked, silent = align(heard(), words, mask), align(heard())
    assert float((asked - silent).abs().max()) > 1e-4
    longer = torch.cat([words, torch.full((2, 3, 24), 9.0)], dim=1)
    masked = torch.cat([mask, torch.zeros(2, 3, dtype=torch.long)], dim=1)
    assert float((asked - align(heard(), longer, masked)).abs().max()) < 1e-5
    assert float((asked - align(heard(), longer, torch.ones_like(masked))).abs().max()) > 1e-4, "control"


def test_tag_prompt_follows_the_tags() -> None:
    torch.manual_seed(0)
    prompt = TagPrompt(3, 2, 24)
    sure = prompt(torch.tensor([[30.0, 0.0, 0.0], [0.0, 30.0, 0.0]]))
    alike = prompt(torch.tensor([[30.0, 0.0, 0.0], [25.0, 0.0, 0.0]]))
    assert sure.shape == (2, 2, 24)
    assert float((alike[0] - alike[1]).abs().max()) < 1e-3 < float((sure[0] - sure[1]).abs().max())


def test_entry_gives_tokens_the_statistics_of_the_layer() -> None:
    entry = Entry(3, 6)
    text = torch.randn(500, 6) * torch.tensor([1.0, 40.0, 0.1, 2.0, 3.0, 0.5]) + torch.tensor([0.0, 90, 1, 2, 3, 4])
    with torch.no_grad():
        entry.mean[1], entry.spread[1] = text.mean(0), text.std(0)
    tokens = torch.randn(5000, 6)
    out = entry(tokens, 1)
    assert torch.allclose(out.mean(0), text.mean(0), atol=3.0)
    assert torch.allclose(out.std(0), text.std(0), rtol=0.1)
    assert torch.allclose(entry.inverse(out, 1), tokens, atol=1e-3)


def test_pooling_ignores_padding_and_survives_nothing() -> None:
    items, longer = heard(), heard(padded=4, junk=99.0)
    assert torch.allclose(pooled(items), pooled(longer), atol=1e-5)
    nothing = torch.zeros(2, 9, dtype=torch.bool)
    for pool in (masked_mean, masked_max):
        assert torch.equal(pool(items["a"].hidden, nothing), torch.zeros(2, 2, 8))


@pytest.mark.parametrize("count", [1, 3, 4])
def test_pool_frames_means_real_frames(count: int) -> None:
    hidden: Tensor = torch.arange(10.0)[None, None, :, None]
    mask = torch.arange(10)[None] < 8
    out, kept = pool_frames(hidden, mask, count)
    groups = [list(range(i, min(i + count, 10))) for i in range(0, 10, count)]
    means = [sum(g := [i for i in group if i < 8]) / max(1, len(g)) for group in groups]
    assert kept[0].tolist() == [any(i < 8 for i in group) for group in groups]
    assert torch.allclose(out[0, 0, :, 0][kept[0]], torch.tensor(means)[kept[0]])


def test_stretches_cover_the_window_in_order() -> None:
    one = {n: h.window(0) for n, h in heard(frames=30).items()}
    cut, spans = stretches(one, 2.0, 1.0)
    assert spans[0][0] == 0.0 and spans[-1][1] == pytest.approx(6.0)
    assert all(bool(h.mask.any(1).all()) and len(h.mask) == len(spans) for h in cut.values())


def test_impossible_configurations_are_named() -> None:
    for change, wrong in (
        ({"aligner": {"kind": "magic"}}, "magic"),
        ({"aligner": {"hidden_size": 10, "num_heads": 3}}, "not divisible"),
        ({"fusion": {"scheme": "prefix", "start_layer": 3}}, "prefix"),
        ({"fusion": {"scheme": "delayed", "start_layer": 4}}, "4 layers"),
        ({"fusion": {"depth": 3}}, "unknown keys depth"),
        ({"encoders": ["nobody"]}, "nobody"),
    ):
        branch = {**tiny_model.config().branches[0], **change}
        with pytest.raises(ConfigError, match=wrong):
            type(tiny_model.config())(**{**tiny_model.config().to_dict(), "branches": [branch]})


def test_whole_hearing_alone_equals_batched() -> None:
    model, processor = tiny_model.model(), tiny_model.processor()
    short, long = tone(seconds=0.7), noise(seconds=1.9)
    with torch.no_grad():
        both = model.get_audio_features(**processor.feature_extractor([short, long]))
        alone = [model.get_audio_features(**processor.feature_extractor([r])) for r in (short, long)]
    assert float((both - torch.cat(alone)).abs().max()) < 1e-5
