"""The model of a run: preset, base weights and the classes that the data has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alm import weights
from alm.building import build_config, build_model, build_processor, load_encoder, load_tokenizer
from alm.configuration import AlmConfig
from alm.errors import ConfigError
from alm.loading import SHIPPED
from alm.modeling import AlmForConditionalGeneration, AudioHearing
from alm.presets import OWN_WEIGHTS, Preset, load_preset
from alm.processing import AlmFeatureExtractor, AlmProcessor
from training.config import RunConfig
from training.places import HUB, can_be_had, is_here, source_of
from training.sounds import read_classes


@dataclass(frozen=True)
class Base:
    """The frozen parts, and what the preset says about them."""

    llm: str | Path
    """Language model: a folder, or a repository of the hub."""
    encoders: dict[str, str | Path]
    """Checkpoint of each encoder: a folder, a file, or a repository of the hub."""
    weights: str
    """The preset's set of weights, which the transcriber is from."""
    system: str
    audio_token: str

    @property
    def transcriber(self) -> Path:
        """Folder of the Whisper that writes speech down.

        Raises:
            ConfigError: the preset comes without weights.
        """
        if self.weights == OWN_WEIGHTS:
            raise ConfigError(
                "the run's preset comes without a transcriber; write the transcripts with a configuration of the "
                "preset tiny, and name their file as data.transcripts"
            )
        return weights.ensure(self.weights).transcriber


def find_base(config: RunConfig) -> Base:
    """The base weights of a run: what it names, and the preset's (`alm weights` makes them) for the rest.

    Raises:
        ConfigError: what it names is not there, or a preset without weights is left with gaps.
    """
    preset, own = load_preset(config.preset), config.base
    gone = [n for n in (own.llm, *own.encoders.values()) if n and not can_be_had(n)]
    if missing := [*([own.llm] if Path(own.llm).is_file() else []), *gone]:  # a language model is a folder
        raise ConfigError(
            f"base names {missing[0]}, which is not here; put the weights there, name a repository of the hub as "
            f"{HUB}OWNER/NAME, or see what the run would take with --dry-run --gpu h100"
        )
    llm, places = source_of(own.llm), {n: source_of(f) for n, f in own.encoders.items()}
    gaps = [n for n in wanted_encoders(config) if n not in places]
    if gaps or not own.llm:
        _check_gaps(preset, own.llm, gaps)
        found = weights.ensure(preset.weights)
        llm, places = llm if own.llm else found.llm, {**{n: getattr(found, n) for n in gaps}, **places}
    return Base(llm, places, preset.weights, own.system or preset.system, own.audio_token or preset.audio_token)


def wanted_encoders(config: RunConfig) -> dict[str, dict[str, Any]]:
    """The encoders of a run's model, by name."""
    found: dict[str, dict[str, Any]] = {**load_preset(config.preset).model, **config.model}["encoders"]
    return found


def _check_gaps(preset: Preset, llm: str, gaps: list[str]) -> None:
    """Raises ConfigError where the preset has no weights of what `base` does not name."""
    if preset.weights == OWN_WEIGHTS:
        lacking = ", ".join([*([] if llm else ["base.llm"]), *(f"base.encoders.{n}" for n in gaps)])
        raise ConfigError(f"preset {preset.name!r} comes without weights; name their places as {lacking}")
    if unknown := [n for n in gaps if n not in SHIPPED]:
        raise ConfigError(
            f"preset {preset.name!r} has no weights of the encoder {unknown[0]!r}; name its checkpoint as "
            f"base.encoders.{unknown[0]}"
        )


def encoder_checkpoint(config: RunConfig, name: str) -> str | Path | None:
    """Where an encoder of a run is, if it is on this machine: the place that `base` names, or the preset's."""
    if named := config.base.encoders.get(name):
        return source_of(named) if is_here(named) else None
    kind = load_preset(config.preset).weights
    return None if kind == OWN_WEIGHTS or name not in SHIPPED else getattr(weights.ensure(kind), name)


def model_config(config: RunConfig, base: Base, tag_labels: list[str]) -> AlmConfig:
    """Configuration of the model to train."""
    info = read_classes(config.data.class_table) if tag_labels else {}
    words = {c: [info[c].phrase, *info[c].synonyms] for c in tag_labels if c in info}
    changes = {**config.model, "tag_labels": tag_labels, "tag_words": words}
    if not tag_labels:
        preset = load_preset(config.preset)
        changes["branches"] = [_without_tags(b) for b in changes.get("branches", preset.model["branches"])]
    preset = replace(load_preset(config.preset), audio_token=base.audio_token)
    return build_config(preset, base.llm, load_tokenizer(base.llm), base.encoders, changes)


def _without_tags(branch: dict[str, Any]) -> dict[str, Any]:
    return {**branch, "aligner": {**branch.get("aligner", {}), "soft_prompt_tokens": 0}}


def make_model(config: RunConfig, base: Base, settings: AlmConfig) -> tuple[AlmForConditionalGeneration, AlmProcessor]:
    """A frozen model with a fresh aligner (seeded), and its processor."""
    torch.manual_seed(config.seed)
    quantisation = quantised(config.quantise, config.precision)
    model = build_model(settings, base.llm, base.encoders, config.device, quantisation=quantisation)
    for module in model.modules():
        keep_for_training(module)
    model.model.language_model.set_attn_implementation(config.attention)
    return model, build_processor(settings, load_tokenizer(base.llm), base.audio_token)


def keep_for_training(module: nn.Module) -> None:
    """Forbid bitsandbytes to repack a 4-bit matrix for inference.

    On CPUs with AVX-512 it does so at the first pass without gradients, and what passes through the matrix afterwards
    has no way back: everything below learns nothing, without an error.
    """
    if hasattr(module, "support_avx512bf16_for_cpu"):
        setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - an attribute of one class alone


def quantised(kind: str, precision: str) -> Any:
    """How bitsandbytes keeps frozen matrices: as QLoRA does (4-bit normal floats, quantised scales), or in int8."""
    if kind == "none":
        return None
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    products = torch.bfloat16 if precision == "bf16" else torch.float32
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=products
    )


@dataclass
class Ear:
    """Encoders alone, for the feature cache."""

    hearing: AudioHearing
    extractor: AlmFeatureExtractor
    digest: str
    """Names the encoders' settings, window layout and weights."""


def make_ear(config: RunConfig, base: Base) -> Ear:
    """The frozen encoders of a run."""
    settings = model_config(config, base, [])
    hearing = AudioHearing(settings)
    for name, encoder in settings.encoder_configs.items():
        hearing.encoders[name] = load_encoder(encoder, base.encoders[name])
    # A third faster on CPU, and the same numbers but for rounding.
    hearing.eval().requires_grad_(False).to(config.device)
    for convolution in (m for m in hearing.modules() if isinstance(m, nn.Conv2d)):
        convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
    return Ear(hearing, AlmFeatureExtractor.of(settings), cache_digest(settings, hearing))


def cache_digest(settings: AlmConfig, hearing: AudioHearing) -> str:
    """Hash of everything that cached features depend on."""
    digest = hashlib.sha256()
    parts = [
        repr(sorted((settings.encoders or {}).items())),
        str(settings.window_seconds),
        str(settings.overlap_seconds),
    ]
    for part in [*parts, *(weight_digest(hearing.encoders[n]) for n in sorted(settings.encoder_configs))]:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def weight_digest(module: nn.Module) -> str:
    """SHA-256 over names and values of a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + b"\0")
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else b"")
    return digest.hexdigest()
