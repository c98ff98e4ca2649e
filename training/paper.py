"""A run on paper: parameters, memory and time of every stage on given cards; the model need not be on this machine.

Parameters are counted on modules without memory. What a decoder layer keeps for the backward pass is counted by running
its forward on tensors without data. Operations are two for each weight and token, and as many again for each gradient.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from alm import encoders
from alm.aligner import build_aligner
from alm.audio import windows
from alm.building import encoder_config
from alm.configuration import AlmConfig, BranchConfig, EncoderConfig, check_encoder, from_dict
from alm.errors import ConfigError
from alm.presets import load_preset
from training.config import LoraSettings, RunConfig, StageConfig
from training.models import encoder_checkpoint, find_base

REACHED = 0.4
"""Share of a card's peak that training is taken to reach."""
USABLE = 0.92
"""Of a card's memory; the rest is its driver's and what is lost between allocations."""
SINGLE, HALF = 4, 2
BITS = {"nf4": 4.5, "int8": 8.0}
"""Of a quantised weight, with its scales."""
LOGITS_BYTES = 12
"""Of each logit: itself, its copy in float32 and its gradient."""
LEARNING_BYTES = 12
"""Of a weight that learns, besides itself: its gradient and AdamW's two averages, in float32."""
GIB = 2**30


@dataclass(frozen=True)
class Card:
    """One accelerator, by its maker's data sheet."""

    teraflops: float
    """Dense bfloat16."""
    gib: float


CARDS = {
    "4090": Card(165, 24), "a6000": Card(155, 48), "l40s": Card(362, 48), "a100": Card(312, 80), "h100": Card(989, 80),
    "h200": Card(989, 141),
}  # fmt: skip


@dataclass(frozen=True)
class Ear:
    """An encoder by its size."""

    parameters: int
    dim: int
    layers: int
    frames_per_second: float
    """Tokens that its layers work on."""
    handed: int
    """Layers that the aligner gets."""


@dataclass(frozen=True)
class Sizes:
    """Parameters of a model, and what its costs depend on."""

    text: Any
    """Configuration of the language model."""
    groups: dict[str, int]
    """Parameters by the names of `training.config.GROUPS`."""
    layer: int
    """Of one decoder layer."""
    embedding: int
    head: int
    """0 where it is the embedding."""
    ears: dict[str, Ear]
    branches: tuple[BranchConfig, ...]
    window_seconds: float
    overlap_seconds: float


def cards(text: str) -> tuple[int, Card]:
    """`8xh100` as number and card. Raises: ConfigError."""
    count, _, name = text.rpartition("x")
    if name not in CARDS or (count and not count.isdigit()) or count == "0":
        raise ConfigError(f"--gpu is {text!r}; it must be one of {', '.join(CARDS)}, with a number before it as 8xh100")
    return int(count or 1), CARDS[name]


def measure(config: RunConfig) -> Sizes:
    """Count the model of a run."""
    values = {**load_preset(config.preset).model, **config.model}
    text = _text_config(config)
    with torch.device("meta"):
        decoder = AutoModelForCausalLM.from_config(text)
    inner: Any = decoder.model
    branches = tuple(from_dict(BranchConfig, dict(b)) for b in values["branches"])
    window = values.get("window_seconds", AlmConfig.window_seconds)
    ears = {n: _ear(config, n, e, window) for n, e in values["encoders"].items()}
    head = 0 if text.tie_word_embeddings else count(decoder.lm_head)
    first = min(b.fusion.start_layer for b in branches) if config.lora.from_start_layer else 0
    groups = {
        "encoder": sum(e.parameters for e in ears.values()),
        "aligner": sum(_aligner(b, ears, text.hidden_size) for b in branches),
        "lora": _lora(inner.layers[0], config.lora) * (text.num_hidden_layers - first),
        "llm": count(inner) + head,
    }
    return Sizes(
        text, groups, count(inner.layers[0]), count(inner.embed_tokens), head, ears, branches,
        window, values.get("overlap_seconds", 0.0),
    )  # fmt: skip


def count(module: nn.Module) -> int:
    """Parameters."""
    return sum(p.numel() for p in module.parameters())


def _text_config(config: RunConfig) -> Any:
    if config.base.text_config:
        given = dict(config.base.text_config)
        return AutoConfig.for_model(given.pop("model_type"), **given)
    return AutoConfig.from_pretrained(find_base(config).llm)


def _ear(config: RunConfig, name: str, given: dict[str, Any], window_seconds: float) -> Ear:
    if name in config.base.shapes:
        shape = dict(config.base.shapes[name])
        handed = len(given.get("layers", [-1]))
        return Ear(
            int(shape["parameters"]), int(shape["dim"]), int(shape["layers"]), shape["frames_per_second"], handed
        )
    source = encoder_checkpoint(config, name)
    inside = encoder_config(load_preset(config.preset), name, given, source)
    if source is None and not inside:
        raise ConfigError(
            f"the encoder {name!r} is not on this machine; write its architecture as model.encoders.{name}.config, "
            f"its size as base.shapes.{name}, or put it where base.encoders.{name} says"
        )
    settings = from_dict(EncoderConfig, {**given, "config": inside})
    check_encoder(name, settings, window_seconds)
    with torch.device("meta"):
        made = encoders.build(settings.family, inside)
    return Ear(count(made), made.dim, made.num_layers, _tokens_a_second(settings), len(settings.layers))


def _tokens_a_second(settings: EncoderConfig) -> float:
    """What the layers work on. Where an encoder gives the mean of a time step's patches, these are more than that."""
    with torch.device("meta"):
        try:
            made = encoders.build(settings.family, {**settings.config, "frequency": "tokens"})
        except ConfigError:  # no patches, so the family has no such field
            made = encoders.build(settings.family, settings.config)
    return float(made.frames_per_second)


def _aligner(branch: BranchConfig, ears: dict[str, Ear], width: int) -> int:
    layers = {n: ears[n].handed for n in branch.encoders}
    with torch.device("meta"):
        return count(build_aligner(branch.aligner, layers, {n: ears[n].dim for n in branch.encoders}, width))


def _lora(layer: nn.Module, settings: LoraSettings) -> int:
    """Factors on one decoder layer."""
    chosen = [m for n, m in layer.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in settings.targets]
    return sum(settings.rank * (m.in_features + m.out_features) for m in chosen)


PROBE_TOKENS = 128


@dataclass(frozen=True)
class Kept:
    """Bytes that a decoder layer keeps for the backward pass."""

    once: float
    """Whatever the batch: copies of weights that learn, in bfloat16."""
    token: float
    """Of each token."""


def kept_bytes(text: Any, lora: LoraSettings | None, half: bool, whole: bool = False) -> Kept:
    """What one decoder layer keeps; `whole`: all its weights learn."""
    kind: Any = type(text)
    return _kept_by(kind, text.to_json_string(use_diff=False), lora, half, whole)


@lru_cache(maxsize=64)
def _kept_by(kind: type, values: str, lora: LoraSettings | None, half: bool, whole: bool) -> Kept:
    text = kind(**json.loads(values))
    few, many = (
        _kept(text, 2, n, lora, half, whole) - _kept(text, 1, n, lora, half, whole)
        for n in (PROBE_TOKENS, 2 * PROBE_TOKENS)
    )
    return Kept(2.0 * few - many, (many - few) / PROBE_TOKENS)


def _kept(text: Any, layers: int, tokens: int, lora: LoraSettings | None, half: bool, whole: bool) -> int:
    from peft import LoraConfig, inject_adapter_in_model
    from torch._subclasses.fake_tensor import FakeTensorMode

    settings = type(text)(**{**text.to_dict(), "num_hidden_layers": layers, "layer_types": None})
    storages: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings).model.requires_grad_(whole)
        for module in model.modules():
            if half and isinstance(module, nn.Linear) and not module.weight.requires_grad:
                module.weight.data = module.weight.data.to(torch.bfloat16)
        if lora is not None:
            options = LoraConfig(r=lora.rank, target_modules=list(lora.targets), lora_dropout=lora.dropout)
            inject_adapter_in_model(options, model)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        own = {p.untyped_storage()._cdata for p in model.parameters()}
        states = torch.empty(1, tokens, settings.hidden_size, requires_grad=True)
        places = torch.zeros(1, tokens, dtype=torch.long)
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=half),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            model.train()(inputs_embeds=states, position_ids=places, use_cache=False)
        return sum(s.nbytes() for place, s in storages.items() if place not in own)


@dataclass(frozen=True)
class Cost:
    """One stage, per step of all cards together and per card."""

    steps: int
    operations: float
    """Of a step."""
    weights: float
    """Bytes of the weights, of `copies` and of what AdamW keeps for those that learn."""
    copies: float
    """Of what autocast makes in bfloat16 of weights that are kept in float32."""
    kept: float
    """Bytes kept for the backward pass, for the whole batch."""
    kept_again: float
    """The same where each layer's forward is done again (gradient checkpointing)."""
    learned: int
    shardable: float
    """Of `weights`, the language model's frozen layers: what sharding would divide over the cards."""


def cost(sizes: Sizes, stage: StageConfig, config: RunConfig) -> Cost:
    """What a stage takes.

    Raises:
        ConfigError: it is counted in epochs, and nothing says how many rows there are.
    """
    half, text, again = config.precision == "bf16", sizes.text, stage.gradient_checkpointing
    learned = sum(sizes.groups.get(g, 0) for g in stage.train)
    tokens, audio = _tokens(sizes, stage)
    operations = stage.batch_size * (_decoder(sizes, stage, tokens, audio) + _hearing(sizes, stage, config))
    if stage.kind == "align":
        kept = kept_again = copies = 0.0
    else:
        lora = config.lora if "lora" in stage.train else None
        layer = kept_bytes(text, lora, half, "llm" in stage.train)
        reached = text.num_hidden_layers - (0 if "llm" in stage.train else _first(sizes))
        copies = layer.once * reached
        each = layer.token * stage.batch_size * (tokens + audio)
        logits = stage.batch_size * stage.expected.answer_tokens * text.vocab_size * LOGITS_BYTES
        state = stage.batch_size * (tokens + audio) * text.hidden_size * SINGLE
        kept_again = state * reached + each + logits
        kept = kept_again if again else each * reached + logits
        copies += _head_copy(sizes, stage, config)
    matrices = _matrices(sizes, stage, config)
    weights = _weights(sizes, stage, config, matrices, learned) + copies
    shardable = 0 if "llm" in config.trained(stage) else matrices
    return Cost(_steps(stage), operations, weights, copies, kept, kept_again, learned, shardable)


def _steps(stage: StageConfig) -> int:
    if stage.steps:
        return stage.steps
    if not stage.expected.rows:
        raise ConfigError(
            f"stage {stage.name} is counted in epochs; write `expected: {{rows: ...}}` so that its steps can be told"
        )
    return math.ceil(stage.epochs * stage.expected.rows / stage.batch_size)


def _first(sizes: Sizes) -> int:
    return min(b.fusion.start_layer for b in sizes.branches)


def _tokens(sizes: Sizes, stage: StageConfig) -> tuple[int, int]:
    """Text tokens and audio tokens of a row."""
    parts = len(windows(stage.expected.seconds, sizes.window_seconds, sizes.overlap_seconds))
    return stage.expected.text_tokens, parts * sum(b.tokens_per_window for b in sizes.branches)


def _decoder(sizes: Sizes, stage: StageConfig, tokens: int, audio: int) -> float:
    """Operations of one row in the language model, forward and backward."""
    text = sizes.text
    if stage.kind == "align":
        return 0.0
    layers, first = int(text.num_hidden_layers), _first(sizes)
    through = all(b.fusion.scheme in ("prefix", "delayed") for b in sizes.branches)
    below = first * _layer(sizes, tokens, tokens)
    above = (layers - first) * (
        _layer(sizes, tokens + audio, tokens + audio) if through else _layer(sizes, tokens, tokens + audio)
    )
    head = 2.0 * float(text.hidden_size * text.vocab_size) * stage.expected.answer_tokens
    more = stage.gradient_checkpointing  # the forward pass of the layers that the gradient reaches, once more
    if "llm" in stage.train:
        return 3 * (below + above + head) + more * (below + above)
    extra = 6.0 * sizes.groups["lora"] * (tokens + audio) if "lora" in stage.train else 0.0
    return below + 2 * (above + head) + extra + more * above


def _layer(sizes: Sizes, queries: int, keys: int) -> float:
    """Forward operations of a decoder layer: products with its weights, and half of all pairs in attention."""
    text = sizes.text
    each = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    width = int(text.num_attention_heads * each)
    return 2.0 * sizes.layer * queries + 2.0 * queries * keys * width


def _hearing(sizes: Sizes, stage: StageConfig, config: RunConfig) -> float:
    """Operations of one row in encoders and aligners."""
    trained = "encoder" in stage.train
    so_far = config.stages[: config.stages.index(stage) + 1]
    anew = not config.data.cache or any("encoder" in s.train for s in so_far)
    seconds, total = stage.expected.seconds, 0.0
    if anew:
        for ear in sizes.ears.values():
            frames = seconds * ear.frames_per_second
            once = 2.0 * ear.parameters * frames + 4.0 * frames * frames * ear.dim * ear.layers
            total += once * (3 if trained else 1)
    return total + 6.0 * sizes.groups["aligner"] * _tokens(sizes, stage)[1]


def _matrices(sizes: Sizes, stage: StageConfig, config: RunConfig) -> float:
    """Bytes of the language model's layers: quantised, in bfloat16 until a stage trains them, or in float32."""
    count = sizes.layer * int(sizes.text.num_hidden_layers)
    if config.quantise != "none":
        return count * BITS[config.quantise] / 8
    return count * (HALF if config.narrows(stage) else SINGLE)


def _narrow_head(sizes: Sizes, stage: StageConfig, config: RunConfig) -> bool:
    """Whether the language model's head is kept in bfloat16: frozen, and not the embedding."""
    return sizes.head > 0 and config.narrows(stage)


def _head_copy(sizes: Sizes, stage: StageConfig, config: RunConfig) -> float:
    """Bytes of the head in bfloat16 that autocast makes where it is kept in float32."""
    if config.precision != "bf16" or _narrow_head(sizes, stage, config):
        return 0.0
    return float(HALF * (sizes.head or sizes.embedding))


def _weights(sizes: Sizes, stage: StageConfig, config: RunConfig, matrices: float, learned: int) -> float:
    """Bytes of all weights, what is no matrix of the language model in float32, and of what AdamW keeps."""
    others = (sum(sizes.groups.values()) - sizes.layer * int(sizes.text.num_hidden_layers)) * SINGLE
    if _narrow_head(sizes, stage, config):
        others -= sizes.head * (SINGLE - HALF)
    return matrices + others + learned * LEARNING_BYTES


def report(config: RunConfig, gpus: str) -> Iterator[str]:
    """Lines for a reader."""
    number, card = cards(gpus)
    sizes = measure(config)
    yield "parameters: " + ", ".join(f"{g} {n / 1e6:,.2f} M" for g, n in sizes.groups.items())
    hours, lacking = 0.0, list[str]()
    for stage in config.stages:
        own = cost(sizes, stage, config)
        seconds = own.operations / (number * card.teraflops * 1e12 * REACHED)
        told, fits = memory(own, number, card, stage.batch_size)
        hours += seconds * own.steps / 3600 if fits else 0.0
        lacking += [] if fits else [stage.name]
        yield (
            f"{stage.name}: {own.learned / 1e6:,.2f} M learn, {own.steps:,} steps of {stage.batch_size}, "
            f"{own.operations / 1e12:,.1f} TFLOP and {seconds:.2f} s a step, {seconds * own.steps / 3600:.1f} h"
        )
        yield from (f"  {line}" for line in told)
    yield f"together {hours:.1f} h on {gpus} at {REACHED:.0%} of the peak; validation and reading of data not counted"
    if lacking:
        yield f"not in that: {', '.join(lacking)}, for which the memory of these cards is too small"
    if few := sorted({g for s in config.stages for g in s.train} - sizes.groups.keys()):
        yield f"{', '.join(few)}: small, and not counted"


def memory(own: Cost, number: int, card: Card, batch: int) -> tuple[list[str], bool]:
    """What one card holds, and how many rows of its part of the batch it can take at once beside that; does one fit?"""
    told, most = [], 0
    share, row = math.ceil(batch / number), own.kept / batch
    whole = [("each card holds all weights", own.weights)]
    parts = [("were its frozen layers sharded", own.weights - own.shardable * (1 - 1 / number))]
    for name, weights in whole + (parts if number > 1 and own.shardable else []):
        room = card.gib * GIB * USABLE - weights
        rows = min(share, int(room // row) if row else share if room > 0 else 0)
        most = max(most, rows)
        fits = f"{rows} of {share} rows at once" if rows > 0 else f"more than the card's {card.gib:g}"
        needed = weights + rows * row if rows > 0 else weights + row
        told.append(f"{name}: {weights / GIB:.1f} GiB, with {max(rows, 1)} rows {needed / GIB:.1f} GiB: {fits}")
    again = own.kept_again / batch
    told.append(
        f"a row keeps {row / GIB:.2f} GiB for the backward pass, {again / GIB:.2f} where layers are computed again"
    )
    return told, most > 0
