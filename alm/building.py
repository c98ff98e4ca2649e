"""From a preset to a running model: language model, encoders and adapter put together, each checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from alm import encoders
from alm.configuration import AlmConfig, EncoderConfig
from alm.encoders.base import load_exactly
from alm.errors import ConfigError, WeightsError, first_line
from alm.fusion import FusedDecoder
from alm.modeling import AlmForConditionalGeneration, AudioHearing
from alm.presets import Preset
from alm.processing import AlmFeatureExtractor, AlmProcessor


def load_tokenizer(llm: str | Path) -> PreTrainedTokenizerBase:
    """The language model's tokenizer; reading it takes half a second, so it is read once.

    Raises:
        WeightsError: there is none, or it cannot be read.
    """
    with _reading(llm):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(llm)
    return tokenizer


@contextmanager
def _reading(llm: str | Path) -> Iterator[None]:
    """What transformers says of a name that nobody has, or of a damaged file, as an error of ours."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{llm}: no language model that can be read ({first_line(error)}); name a folder as transformers saves it, "
            "or a repository of the hub"
        ) from error


def build_config(
    preset: Preset,
    llm: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    encoder_folders: Mapping[str, str | Path],
    changes: dict[str, Any] | None = None,
) -> AlmConfig:
    """The model configuration of a preset on given base weights; `changes` replace fields of `preset.model`.

    Raises:
        ConfigError: an encoder has no such field, or the fields contradict each other.
        WeightsError: an encoder's checkpoint cannot be read, or the tokenizer lacks the preset's audio token.
    """
    values: dict[str, Any] = {**preset.model, **(changes or {})}
    named = {
        n: {**e, "config": encoder_config(preset, n, e, encoder_folders[n])} for n, e in values.pop("encoders").items()
    }
    with _reading(llm):
        text = AutoConfig.from_pretrained(llm)
    audio_id = tokenizer.convert_tokens_to_ids(preset.audio_token)
    if audio_id is None or audio_id == tokenizer.unk_token_id or audio_id >= text.vocab_size:
        raise WeightsError(
            f"the tokenizer in {llm} has no token {preset.audio_token!r} within the model's {text.vocab_size}; "
            "choose one of its special tokens as audio_token in the preset"
        )
    return AlmConfig(text_config=text.to_dict(), encoders=named, audio_token_id=int(audio_id), **values)


def encoder_config(preset: Preset, name: str, given: Mapping[str, Any], source: str | Path | None) -> dict[str, Any]:
    """Architecture of an encoder: what its checkpoint says, changed by the preset, changed by what is given.

    Args:
        name: of the encoder. What the preset says of it counts where both mean the same family.
        given: fields of `EncoderConfig`.
        source: the checkpoint; None where it is not on this machine, and then what it would say is missing.

    Raises:
        ConfigError: no family is given.
        WeightsError: the checkpoint cannot be read.
    """
    if "family" not in given:
        raise ConfigError(f"encoders.{name} names no family; there are {', '.join(encoders.names())}")
    family, usual = given["family"], preset.model["encoders"].get(name, {})
    found = encoders.checkpoint_config(family, source) if source else {}
    own = usual.get("config", {}) if usual.get("family") == family else {}
    return {**found, **own, **given.get("config", {})}


def build_model(
    config: AlmConfig,
    llm: str | Path,
    encoder_folders: Mapping[str, str | Path],
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    quantisation: Any = None,
) -> AlmForConditionalGeneration:
    """A model with pretrained language model and encoders, and a fresh aligner; frozen, in evaluation mode.

    The big parts are made without memory and then filled, so that the peak stays near the size of the weights.

    Args:
        quantisation: of the language model's matrices, as `from_pretrained` takes it (a `BitsAndBytesConfig`).
    """
    with torch.device("meta"):
        model = AlmForConditionalGeneration(config)
    with _reading(llm):
        # Never a pickle: `use_safetensors` refuses a folder that has nothing else.
        base = AutoModelForCausalLM.from_pretrained(
            llm, dtype=dtype, quantization_config=quantisation, use_safetensors=True
        )
    model.model.language_model, model.lm_head = base.model, base.lm_head
    model.model.hearing, model.model.fusion = AudioHearing(config), FusedDecoder(config)
    for name, settings in config.encoder_configs.items():
        model.model.hearing.encoders[name] = load_encoder(settings, encoder_folders[name])
    _no_meta(model)
    model.generation_config = GenerationConfig.from_pretrained(llm)
    return model.to(device).eval().requires_grad_(False)  # type: ignore[no-any-return]


def load_encoder(settings: EncoderConfig, source: str | Path) -> encoders.AudioEncoder:
    """Pretrained, and built as the configuration wants it where that differs from what the checkpoint says.

    Raises:
        WeightsError: the checkpoint cannot be read, or its weights do not fit the configuration.
    """
    found = encoders.load(settings.family, source)
    if encoders.checkpoint_config(settings.family, source) == settings.config:
        return found
    made = encoders.build(settings.family, settings.config)
    load_exactly(made, found.state_dict(), str(source))
    return made.float().eval().requires_grad_(False)


def _no_meta(model: nn.Module) -> None:
    named = [*model.named_parameters(), *model.named_buffers()]
    if left := [n for n, t in named if t.is_meta]:
        raise WeightsError(
            f"{len(left)} tensors were never filled: {', '.join(left[:5])}; the base weights are incomplete"
        )


def build_processor(config: AlmConfig, tokenizer: PreTrainedTokenizerBase, audio_token: str) -> AlmProcessor:
    """The processor that belongs to a model of this configuration."""
    return AlmProcessor(AlmFeatureExtractor.of(config), tokenizer, tokenizer.chat_template, audio_token)
