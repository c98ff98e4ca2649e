"""Ensembles: encoders aligned in time, joined or routed apart, heard side by side, each tuned in its own way."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import tiny_model
import torch
from torch import Tensor, nn

from alm import encoders
from alm.adapters import load_adapter, save_adapter
from alm.aligner import Heard, build_aligner
from alm.aligner.features import KeyBank
from alm.aligner.joining import JOINED, Join, on_grid
from alm.configuration import AlignerConfig, AlmConfig
from alm.encoders.tuning import Tuning
from alm.errors import CheckpointError, ConfigError
from alm.modeling import AlmForConditionalGeneration
from alm.side_by_side import side_by_side
from alm.testing import noise, tone

LAYERS, DIMS = {"a": 2, "b": 1}, {"a": 8, "b": 12}
SECONDS = {"a": 0.02, "b": 0.186}
WAYS = [("qformer", "channels"), ("qformer", "sum"), ("linear", "channels"), ("linear", "sum"),
        ("stretch_qformer", "channels"), ("stretch_qformer", "sum")]  # fmt: skip


def heard(padded: int = 0, junk: float = 0.0) -> dict[str, Heard]:
    """Two windows of 1.3 s at both encoders' rates."""
    generator, made = torch.Generator().manual_seed(0), {}
    for name, frames in (("a", 65), ("b", 7)):
        hidden = torch.randn(2, LAYERS[name], frames, DIMS[name], generator=generator)
        mask = torch.arange(frames + padded)[None].expand(2, -1) < frames
        rest = torch.full((2, LAYERS[name], padded, DIMS[name]), junk)
        made[name] = Heard(torch.cat([hidden, rest], dim=2), mask, SECONDS[name])
    return made


def aligner(kind: str, join: str, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    config = AlignerConfig(kind=kind, join=join, num_queries=4, hidden_size=16, num_heads=2, **changes)
    made = build_aligner(config, LAYERS, DIMS, 24).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "norm" not in name.lower():
                weight.normal_(std=0.3)
    return made


# --- one grid of time ---


def ramp(frames: int, seconds: float) -> Heard:
    """Each frame holds the middle of its time."""
    hidden = ((torch.arange(frames) + 0.5) * seconds)[None, None, :, None]
    return Heard(hidden.double(), torch.ones(1, frames, dtype=torch.bool), seconds)


@pytest.mark.parametrize("seconds", [0.02, 0.04, 0.186, 0.0214])
def test_on_a_grid_every_frame_keeps_its_time(seconds: float) -> None:
    item = ramp(round(2.0 / seconds), seconds)
    assert torch.equal(on_grid(item, seconds, item.hidden.shape[2]).hidden, item.hidden), "on its own grid: untouched"
    for step in (0.02, 0.05, 0.16):
        placed = on_grid(item, step, int(item.hidden.shape[2] * seconds / step))
        times = (torch.arange(placed.hidden.shape[2]) + 0.5) * step
        assert float((placed.hidden[0, 0, :, 0] - times).abs().max()) <= (step + seconds) / 2
        assert bool(placed.mask.all())


def test_a_moment_that_both_encoders_hear_is_one_moment() -> None:
    items = heard()
    for name, frame in (("a", 47), ("b", 5)):  # 0.94 to 0.96 s, and 0.93 to 1.12 s
        items[name].hidden[:] = torch.linspace(-1, 1, DIMS[name])
        items[name].hidden[0, :, frame] = torch.linspace(1, -1, DIMS[name]) ** 3
    join = Join(AlignerConfig(join="channels"), LAYERS, DIMS)
    joined = join(items)[JOINED].hidden[0, 0]
    changed = (joined[:65] - joined[0]).abs() > 0.1
    a, b = changed[:, :16].any(1).nonzero().flatten(), changed[:, 16:].any(1).nonzero().flatten()
    assert a.tolist() == [47] and b.tolist() == list(range(46, 56))
    assert join.width == 28 and joined.shape == (66, 28)


# --- ways to join ---


@pytest.mark.parametrize(("kind", "join"), WAYS)
def test_joined_padding_is_not_heard(kind: str, join: str) -> None:
    align = aligner(kind, join)
    plain, padded = align(heard()), align(heard(padded=9, junk=5.0))
    assert plain.shape == (2, 4, 24) and float((plain - padded).abs().max()) < 1e-5
    loud = {n: Heard(h.hidden, torch.ones_like(h.mask), h.frame_seconds) for n, h in heard(padded=9, junk=5.0).items()}
    assert float((plain - align(loud)).abs().max()) > 1e-3, "control: without the mask padding is heard"
    single = {n: h.window(1) for n, h in heard().items()}
    assert float((plain[1:] - align(single)).abs().max()) < 1e-5, "alone as in company"


@pytest.mark.parametrize(("kind", "join"), WAYS)
def test_joined_every_encoder_and_layer_reaches_the_tokens(kind: str, join: str) -> None:
    align, items = aligner(kind, join), heard()
    for item in items.values():
        item.hidden.requires_grad_()
    (align(items) * torch.linspace(-1, 1, 24) ** 3).sum().backward()
    for item in items.values():
        assert item.hidden.grad is not None and float(item.hidden.grad.abs().amax((0, 2, 3)).min()) > 0


def test_stretches_are_heard_in_their_order() -> None:
    align, items = aligner("stretch_qformer", "channels"), heard()
    before = align(items)
    items["a"].hidden[:, :, -10:] += torch.randn(8)
    moved = (align(items) - before).abs().amax((0, 2))
    assert moved[:3].max() < 1e-6 < 1e-3 < moved[3], "the last tenth of the window is in the last token alone"


def test_the_ways_to_join_are_named() -> None:
    for change, wrong in (
        ({"join": "magic"}, "magic"),
        ({"kind": "stretch_qformer"}, "other than 'tokens'"),
        ({"keep_frames": 0.0}, "above 0"),
        ({"keep_frames": 0.5, "kind": "linear"}, "all kinds but"),
        ({"grid_frames_per_second": -1.0}, "0 or more"),
    ):
        with pytest.raises(ConfigError, match=wrong):
            AlignerConfig(**change)  # type: ignore[arg-type]


# --- fewer frames ---


def test_merged_frames_keep_time_and_do_not_see_padding() -> None:
    align = aligner("qformer", "tokens", keep_frames=0.25)
    plain, padded = align(heard()), align(heard(padded=9, junk=5.0))
    assert float((plain - padded).abs().max()) < 1e-5
    everything = aligner("qformer", "tokens")
    everything.load_state_dict(align.state_dict())
    assert float((plain - everything(heard())).abs().max()) > 1e-4, "control: merging changes something"
    bank = KeyBank({"a": 1}, {"a": 4}, 8, keep=0.5)
    same = torch.eye(4)[[0, 0, 1, 1, 1, 2, 3, 3]][None, None]
    hidden, real, times = bank._frames("a", Heard(same, torch.ones(1, 8, dtype=torch.bool), 1.0))
    assert torch.equal(hidden[0, 0], torch.eye(4)) and bool(real.all())
    assert times[0, 0].tolist() == [1.0, 3.5, 5.5, 7.0]


# --- whole models ---


def ensemble(join: str = "tokens", routed: bool = False, **tune: Any) -> AlmConfig:
    """The miniature with both encoders, in one branch or each in its own with its own way into the decoder."""
    values = tiny_model.config().to_dict()
    values["encoders"]["whisper"] |= tune
    branch = values["branches"][0]
    branch["aligner"] |= {"join": join}
    if routed:
        prefix = {"scheme": "prefix", "start_layer": 0}
        apart = {"scheme": "keys_values", "start_layer": 1}
        values["branches"] = [
            {**branch, "encoders": ["whisper"], "fusion": prefix}, {**branch, "encoders": ["aisfx"], "fusion": apart}
        ]  # fmt: skip
    return AlmConfig(**values)


@pytest.mark.parametrize(("join", "routed"), [("channels", False), ("sum", False), ("tokens", True)])
def test_an_ensemble_answers_alike_alone_and_in_company(join: str, routed: bool) -> None:
    settings = ensemble(join, routed)
    model, extractor = tiny_model.model(settings), tiny_model.processor(settings).feature_extractor
    short, long = tone(seconds=0.7), noise(seconds=1.9)
    with torch.no_grad():
        both = model.get_audio_features(**extractor([short, long]))
        alone = [model.get_audio_features(**extractor([r])) for r in (short, long)]
    assert both.shape[1] == settings.tokens_per_window == (8 if routed else 4)
    assert float((both - torch.cat(alone)).abs().max()) < 1e-5
    talk = [{"type": "audio", "audio": long}, {"type": "text", "text": "What?"}]
    inputs = tiny_model.processor(settings).apply_chat_template([{"role": "user", "content": talk}])
    with torch.no_grad():
        assert bool(torch.isfinite(model(**inputs).logits[:, -1]).all())


def test_side_by_side_is_one_after_the_other_to_the_bit() -> None:
    model, extractor = tiny_model.model(), tiny_model.processor().feature_extractor
    inputs = dict(extractor([noise(seconds=3.0)]))
    one_by_one = {n: model.model.hearing._encode_one(n, inputs) for n in ("aisfx", "whisper")}
    with torch.no_grad():
        together = model.model.hearing.encode(inputs)
    assert all(torch.equal(together[n].hidden, one_by_one[n].hidden) for n in one_by_one)
    assert list(together) == list(model.model.hearing.settings)


def test_side_by_side_passes_errors_and_modes_on() -> None:
    def modes(name: str) -> tuple[bool, bool, int]:
        if name == "wrong":
            raise ConfigError("wrong")
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads()

    here = torch.get_num_threads()
    with torch.no_grad():
        assert set(side_by_side(modes, "ab").values()) == {(False, False, here)}
        with pytest.raises(ConfigError):
            side_by_side(modes, ["a", "wrong"])
    with torch.inference_mode():
        assert set(side_by_side(modes, "ab").values()) == {(False, True, here)}
    assert set(side_by_side(modes, "ab").values()) == {(True, False, here)}


# --- each encoder tuned its own way ---


def whisper_features(model: AlmForConditionalGeneration) -> Tensor:
    inputs = dict(tiny_model.processor(model.config).feature_extractor([tone()]))
    return model.model.hearing._encode_one("whisper", inputs).hidden


@pytest.mark.parametrize("tune", ["lora", "adapter"])
def test_a_bypass_starts_as_nothing_learns_alone_and_is_saved(tune: str, tmp_path: Path) -> None:
    frozen, tuned = tiny_model.model(ensemble()), tiny_model.model(ensemble(tune=tune, tune_rank=2))
    hearing = tuned.model.hearing
    hearing.encoders["whisper"].load_state_dict(frozen.model.hearing.encoders["whisper"].state_dict())
    learning = hearing.learning()
    for name, weight in learning.items():
        if name.endswith(".up"):
            weight.data.zero_()  # the miniature fills everything with noise
    assert torch.equal(whisper_features(tuned), whisper_features(frozen))
    tuned.requires_grad_(False)
    for weight in learning.values():
        weight.requires_grad_()
    whisper_features(tuned).square().sum().backward()
    assert all(w.grad is not None for w in learning.values()) and len(learning) == 2 * 2 * 2
    assert any(float(w.grad.abs().max()) > 0 for n, w in learning.items() if n.endswith(".up") and w.grad is not None)
    assert not any(p.grad is not None for p in hearing.encoders.parameters())
    with torch.no_grad():
        for weight in learning.values():
            weight.normal_(std=0.3)
    moved = whisper_features(tuned)
    assert float((moved - whisper_features(frozen)).abs().max()) > 1e-3
    assert torch.equal(whisper_features(copy.deepcopy(tuned)), moved), "a copy carries its own bypasses"
    save_adapter(tuned, tmp_path / "adapter", {})
    fresh = tiny_model.model(ensemble(tune=tune, tune_rank=2))
    for name in ("whisper", "aisfx"):
        fresh.model.hearing.encoders[name].load_state_dict(hearing.encoders[name].state_dict())
    fresh.model.language_model.load_state_dict(tuned.model.language_model.state_dict())
    load_adapter(fresh, tmp_path / "adapter")
    assert float((whisper_features(fresh) - moved).abs().max()) < 1e-2, "float16 on disk"
    with pytest.raises(CheckpointError, match="unexpected model.hearing.tuning"):
        load_adapter(frozen, tmp_path / "adapter") if _same_base(frozen, tuned) else None


def _same_base(model: AlmForConditionalGeneration, other: AlmForConditionalGeneration) -> bool:
    model.model.language_model.load_state_dict(other.model.language_model.state_dict())
    model.model.hearing.encoders.load_state_dict(other.model.hearing.encoders.state_dict())
    return True


def test_lora_is_a_change_of_the_weight_and_an_adapter_is_not() -> None:
    torch.manual_seed(0)
    small = {"dim": 16, "num_layers": 1, "num_heads": 2, "ffn_dim": 32}
    mel, mask = torch.randn(1, 20, 80), torch.ones(1, 20, dtype=torch.bool)
    for bend in (False, True):
        encoder = encoders.build("whisper", small).eval()
        tuning = Tuning(encoder, ["q_proj"], 3, 6.0, bend)
        bypass = next(iter(tuning.bypasses.values()))
        nn.init.normal_(bypass.up)
        by_hand = copy.deepcopy(encoder)
        linear = by_hand.get_submodule(tuning.places[0])
        linear.weight.data += 2.0 * bypass.up.data @ bypass.down.data
        tuning.attach(encoder)
        tuning.attach(encoder)
        with torch.no_grad():
            away = (encoder(mel, mask, [-1]).features - by_hand(mel, mask, [-1]).features).abs().max()
        assert (float(away) < 1e-5) != bend


def test_layers_that_nobody_calls_are_refused() -> None:
    """As torch's own attention does it, which WavLM uses: hooks of such layers are never heard."""

    class Reads(nn.Linear):
        def __call__(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.weight, self.bias)

    encoder = encoders.build("whisper", {"dim": 16, "num_layers": 2, "num_heads": 2, "ffn_dim": 32}).eval()
    mel, mask = torch.randn(1, 20, 80), torch.ones(1, 20, dtype=torch.bool)
    tuning = Tuning(encoder, ["q_proj", "self_attn.v_proj"], 2, 2.0, bend=False)
    tuning.attach(encoder)
    encoder(mel, mask, [1])  # one layer alone has been run, which is enough to know
    tuning.check()
    deaf = Tuning(encoder, ["k_proj", "v_proj"], 2, 2.0, bend=False)
    for name in deaf.places:
        if name.endswith("k_proj"):
            encoder.get_submodule(name).__class__ = Reads
    deaf.attach(encoder)
    encoder(mel, mask, [-1])
    with pytest.raises(ConfigError, match="whisper.*weights of k_proj without calling"):
        deaf.check()


def test_a_whole_encoder_that_learns_is_part_of_the_adapter(tmp_path: Path) -> None:
    model, other = (tiny_model.model(ensemble(tune="full"), seed=0) for _ in range(2))
    assert {n.split(".")[1] for n in model.model.hearing.learning()} == {"whisper"}
    with torch.no_grad():
        for weight in model.model.hearing.learning().values():
            weight.add_(0.01)
    save_adapter(model, tmp_path / "adapter", {})
    load_adapter(other, tmp_path / "adapter")
    assert float((whisper_features(model) - whisper_features(other)).abs().max()) < 1e-2
    frozen = tiny_model.model(ensemble(), seed=0)
    with pytest.raises(CheckpointError, match="another encoder:whisper"):
        load_adapter(frozen, tmp_path / "adapter")


def test_impossible_tunings_are_named() -> None:
    for change, wrong in (
        ({"tune": "magic"}, "magic"),
        ({"tune_rank": 0}, "at least 1"),
        ({"tune": "lora", "tune_layers": ["nothing"]}, "tune_layers may name.*q_proj"),
    ):
        with pytest.raises(ConfigError, match=wrong):
            tiny_model.model(ensemble(**change))
    plain = encoders.family("statistics")
    with pytest.raises(ConfigError, match="no layers for LoRA"):
        Tuning(encoders.build("statistics", next(iter(plain.sizes.values()))), plain.lora_targets, 2, 2.0, bend=False)
    values = tiny_model.config().to_dict()
    values["encoders"]["aisfx"] |= {"tune": "lora"}
    hearing = AlmForConditionalGeneration(AlmConfig(**values)).model.hearing
    assert {n.split(".")[1] for n in hearing.learning()} == {"aisfx"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in encoders.names() if encoders.family(n).lora_targets])
def test_every_familys_layers_for_lora_are_heard(name: str) -> None:
    family = encoders.family(name)
    torch.manual_seed(0)
    encoder = encoders.build(name, next(iter(family.sizes.values()))).eval().requires_grad_(False)
    tuning = Tuning(encoder, family.lora_targets, 2, 2.0, bend=False)
    tuning.attach(encoder)
    spectrogram = torch.from_numpy(encoder.front_end(noise(0.6, rate=encoder.sample_rate).samples))[None]
    with torch.no_grad():
        encoder(spectrogram, torch.ones(spectrogram.shape[:2], dtype=torch.bool), [-1])
    tuning.check()
