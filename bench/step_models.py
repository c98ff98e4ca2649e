"""Our model and transformers' Qwen2-Audio, Audio Flamingo 3 and Voxtral at one size, random, with a batch each.

All have the same language model (Llama's shape) and the same Whisper-shaped encoder; what lies between is each one's
own, as its class builds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    VoxtralConfig,
    VoxtralForConditionalGeneration,
)

from alm.audio import windows
from alm.configuration import AlmConfig
from alm.modeling import AlmForConditionalGeneration
from training.config import LoraSettings
from training.features import as_inputs
from training.groups import add_lora, set_trainable

AUDIO_ID = 3
FIRST_WORD = 10
"""Ids below are special."""
PADDED_SECONDS = 30.0
"""What the three classes hear at least, whatever the recording's length."""
TOKENS_A_SECOND = 25
"""Of Qwen2-Audio and Audio Flamingo 3, and of the two ways into the decoder that are compared at equal counts."""
FROM_FEATURES = "ours, from features"
LORA = LoraSettings(rank=32, alpha=64, dropout=0.0)


@dataclass(frozen=True)
class Shape:
    """Sizes that all have in common, and the batch."""

    text_dim: int = 256
    text_layers: int = 12
    text_heads: int = 4
    text_ffn: int = 768
    vocabulary: int = 8192
    ear_dim: int = 256
    ear_layers: int = 4
    ear_heads: int = 4
    batch: int = 1
    asked: int = 48
    """Words of text besides the answer."""
    answered: int = 16

    def text(self) -> dict[str, Any]:
        """The language model's configuration."""
        return {
            "model_type": "llama", "vocab_size": self.vocabulary, "hidden_size": self.text_dim,
            "intermediate_size": self.text_ffn, "num_hidden_layers": self.text_layers,
            "num_attention_heads": self.text_heads, "num_key_value_heads": max(1, self.text_heads // 2),
            "head_dim": self.text_dim // self.text_heads, "max_position_embeddings": 4096, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": True,
        }  # fmt: skip

    def ear(self, bins: int = 80) -> dict[str, Any]:
        """The encoder's, in Whisper's own words."""
        return {
            "num_mel_bins": bins, "hidden_size": self.ear_dim, "num_hidden_layers": self.ear_layers,
            "num_attention_heads": self.ear_heads, "intermediate_size": 4 * self.ear_dim, "max_source_positions": 1500,
        }  # fmt: skip


@dataclass(frozen=True)
class System:
    """A model that learns, and its loss on one batch."""

    model: nn.Module
    loss: Callable[[], Tensor]
    tokens: int
    """Positions that the recording takes in the language model."""

    def learning(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]


def words(shape: Shape, audio: int) -> tuple[Tensor, Tensor]:
    """`[batch, time]` ids, the same text round the audio for all systems, and labels: the answer alone."""
    generator = torch.Generator().manual_seed(5)
    text = torch.randint(FIRST_WORD, shape.vocabulary, (shape.batch, shape.asked + shape.answered), generator=generator)
    ids = torch.cat([text[:, :8], torch.full((shape.batch, audio), AUDIO_ID), text[:, 8:]], dim=1)
    labels = ids.clone()
    labels[:, : -shape.answered] = -100
    return ids, labels


def sound(windows_heard: int, seconds: float, bins: int = 80) -> Tensor:
    """Random spectrograms `[windows, frames, bins]`, a hundred frames a second."""
    return torch.randn(windows_heard, round(100 * seconds), bins, generator=torch.Generator().manual_seed(6))


def light(model: Any) -> None:
    """Let the projector and LoRA on the language model learn, and nothing else."""
    names = "|".join(LORA.targets)
    model.add_adapter(LoraConfig(r=LORA.rank, lora_alpha=LORA.alpha, target_modules=rf".*language_model.*\.({names})"))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name or "multi_modal_projector" in name)


def qwen2_audio(shape: Shape, seconds: float, learns: str) -> System:
    """25 tokens a second; always hears 30 s, but its decoder sees the recording's tokens alone."""
    ear = shape.ear()
    renamed = {
        "d_model": ear.pop("hidden_size"), "encoder_layers": ear.pop("num_hidden_layers"),
        "encoder_attention_heads": ear.pop("num_attention_heads"), "encoder_ffn_dim": ear.pop("intermediate_size"),
    }  # fmt: skip
    config = Qwen2AudioConfig(audio_config={**ear, **renamed}, text_config=shape.text(), audio_token_index=AUDIO_ID)
    return _theirs(Qwen2AudioForConditionalGeneration, config, shape, seconds, learns, "feature_attention_mask")


def audio_flamingo_3(shape: Shape, seconds: float, learns: str) -> System:
    """The same counts with a projector of two layers."""
    config = AudioFlamingo3Config(audio_config=shape.ear(), text_config=shape.text(), audio_token_id=AUDIO_ID)
    return _theirs(AudioFlamingo3ForConditionalGeneration, config, shape, seconds, learns, "input_features_mask")


def voxtral(shape: Shape, seconds: float, learns: str) -> System:
    """12.5 tokens a second of whole 30 s."""
    config = VoxtralConfig(audio_config=shape.ear(), text_config=shape.text(), audio_token_id=AUDIO_ID)
    return _theirs(VoxtralForConditionalGeneration, config, shape, seconds, learns, "")


def _theirs(kind: Any, config: Any, shape: Shape, seconds: float, learns: str, mask: str) -> System:
    model = kind(config).train()
    if learns == "light":
        light(model)
    features = sound(shape.batch, PADDED_SECONDS).transpose(1, 2)
    inputs = {"input_features": features}
    count = round(PADDED_SECONDS * TOKENS_A_SECOND / 2)
    if mask:
        real = torch.arange(features.shape[2])[None] < round(100 * seconds)
        inputs[mask] = real.expand(shape.batch, -1).long()
        count = round(seconds * TOKENS_A_SECOND)
    ids, labels = words(shape, count)

    def loss() -> Tensor:
        found: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, **inputs).loss
        return found

    return System(model, loss, count)


def ours(shape: Shape, seconds: float, learns: str, from_features: bool = False) -> System:
    """As `tiny` is made: windows of 10 s, 20 tokens each, which enter after a quarter of the layers.

    Args:
        from_features: the step begins at the encoder's features, which are made before.
    """
    aligner = {"num_queries": 20, "hidden_size": 384, "num_layers": 2, "num_heads": 6}
    fusion = {"scheme": "delayed", "start_layer": shape.text_layers // 4}
    return _own(shape, seconds, learns, aligner, fusion, 10.0, 1.0, from_features)


def ours_from_features(shape: Shape, seconds: float, learns: str) -> System:
    """The same, from what its frozen encoder gave before: `alm train` keeps that in a cache."""
    if learns != "light":
        raise ValueError("features can be kept of frozen encoders alone")
    return ours(shape, seconds, learns, from_features=True)


def equal_counts(scheme: str) -> Callable[[Shape, float, str], System]:
    """Our model with 25 tokens a second, which enter by this scheme at the first layer."""

    def make(shape: Shape, seconds: float, learns: str) -> System:
        aligner = {"kind": "linear", "num_queries": round(seconds * TOKENS_A_SECOND)}
        return _own(shape, seconds, learns, aligner, {"scheme": scheme, "start_layer": 0}, PADDED_SECONDS, 0.0)

    return make


def _own(
    shape: Shape, seconds: float, learns: str, aligner: dict[str, Any], fusion: dict[str, Any], longest: float,
    overlap: float, from_features: bool = False,
) -> System:  # fmt: skip
    ear = {
        "dim": shape.ear_dim, "num_layers": shape.ear_layers, "num_heads": shape.ear_heads,
        "ffn_dim": 4 * shape.ear_dim, "mel_bins": 80, "max_positions": 1500,
    }  # fmt: skip
    settings = AlmConfig(
        text_config=shape.text(), audio_token_id=AUDIO_ID, window_seconds=longest, overlap_seconds=overlap,
        encoders={"ear": {"family": "whisper", "layers": [-1], "pool_frames": 1 if overlap == 0 else 4, "config": ear}},
        branches=[{"encoders": ["ear"], "aligner": aligner, "fusion": fusion}],
    )  # fmt: skip
    model = AlmForConditionalGeneration(settings)
    if learns == "light":
        add_lora(model, LORA)
    set_trainable(model, ["aligner", "entry", "lora"] if learns == "light" else ["aligner", "entry", "llm", "encoder"])
    spans = windows(seconds, longest, overlap) * shape.batch
    inputs = _heard(spans, max(end - start for start, end in spans))
    if from_features:
        with torch.no_grad():
            inputs = as_inputs(model.model.hearing.encode(inputs))
    count = len(spans) // shape.batch * settings.tokens_per_window
    ids, labels = words(shape, count)
    inputs["audio_windows"] = torch.full((shape.batch,), len(spans) // shape.batch)

    def loss() -> Tensor:
        hidden = model.model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).last_hidden_state
        answer = hidden[:, -shape.answered - 1 : -1].flatten(0, 1)
        return F.cross_entropy(model.lm_head(answer).float(), labels[:, -shape.answered :].flatten())

    return System(model, loss, count)


def _heard(spans: list[tuple[float, float]], longest: float) -> dict[str, Tensor]:
    features = sound(len(spans), longest)
    frames = torch.tensor([round(100 * (end - start)) for start, end in spans])
    return {"ear_features": features, "ear_mask": torch.arange(features.shape[1])[None] < frames[:, None]}


SYSTEMS: Mapping[str, Callable[[Shape, float, str], System]] = MappingProxyType(
    {
        "ours": ours,
        FROM_FEATURES: ours_from_features,
        "Qwen2-Audio": qwen2_audio,
        "Audio Flamingo 3": audio_flamingo_3,
        "Voxtral": voxtral,
        "prefix": equal_counts("prefix"),
        "keys_values": equal_counts("keys_values"),
    }
)
LEARNS = {
    "light": "projector or aligner, and LoRA (rank 32 on queries, keys, values, outputs of the layers that meet audio)",
    "all": "everything: encoder, projector or aligner, language model",
}
CASES = tuple((what, name) for what in LEARNS for name in SYSTEMS if what == "light" or name != FROM_FEATURES)
"""What learns, and in which system: features are kept of frozen encoders alone."""
