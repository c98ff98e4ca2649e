"""wav2vec2 and its kin (HuBERT, WavLM, MERT): convolutions over the samples, then a transformer at 50 Hz.

The layers are transformers' own; they are called one by one here, because transformers lets padding into the group
norm of the base models and always runs every layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from alm.encoders.base import AudioEncoder, EncoderOutput
from alm.encoders.blocks.reading import block_count
from alm.encoders.family import Checkpoint, Read
from alm.encoders.front_ends import RawFrontEnd
from alm.errors import ConfigError, WeightsError


@dataclass(frozen=True)
class WaveformEncoderConfig:
    """Architecture; the defaults are those of the base models."""

    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    conv_dim: Sequence[int] = (512,) * 7
    conv_kernel: Sequence[int] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: Sequence[int] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    group_norm: bool = True
    """Norm over the whole clip after the first convolution (base models), or over channels after each (large ones)."""
    pre_norm: bool = False
    """Norms in front of attention and feed-forward (large models)."""
    projection_norm: bool = True
    """A norm in front of the projection to `dim`; some HuBERTs lack it."""
    position_kernel: int = 128
    position_groups: int = 16
    layer_norm_epsilon: float = 1e-5
    sample_rate: int = 16_000
    max_seconds: float = 30.0
    normalise: bool = False
    """Free the clip of its mean and scale it to unit variance (models with `pre_norm`)."""
    topic_token: bool = False
    """A learnt token in front of the clip, as HuBERTopic has; it is heard and not returned."""

    def __post_init__(self) -> None:
        if self.dim % self.num_heads:
            raise ConfigError(f"encoder: dim {self.dim} is no multiple of num_heads {self.num_heads}")
        if not len(self.conv_dim) == len(self.conv_kernel) == len(self.conv_stride):
            raise ConfigError("encoder: conv_dim, conv_kernel and conv_stride differ in length")

    @property
    def hop_samples(self) -> int:
        hop = 1
        for stride in self.conv_stride:
            hop *= stride
        return hop

    @property
    def field_samples(self) -> int:
        """Samples that one feature sees."""
        field = 1
        for kernel, stride in zip(reversed(self.conv_kernel), reversed(self.conv_stride), strict=True):
            field = (field - 1) * stride + kernel
        return field

    def front_end(self) -> RawFrontEnd:
        return RawFrontEnd(sample_rate=self.sample_rate, max_seconds=self.max_seconds, normalise=self.normalise)

    def to_transformers(self) -> dict[str, Any]:
        """Fields of `Wav2Vec2Config` and its descendants."""
        return {
            "hidden_size": self.dim,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.ffn_dim,
            "conv_dim": list(self.conv_dim),
            "conv_kernel": list(self.conv_kernel),
            "conv_stride": list(self.conv_stride),
            "conv_bias": self.conv_bias,
            "num_feat_extract_layers": len(self.conv_dim),
            "feat_extract_norm": "group" if self.group_norm else "layer",
            "do_stable_layer_norm": self.pre_norm,
            "num_conv_pos_embeddings": self.position_kernel,
            "num_conv_pos_embedding_groups": self.position_groups,
            "layer_norm_eps": self.layer_norm_epsilon,
            "layerdrop": 0.0,
        }


class WaveformAudioEncoder(AudioEncoder):
    """Layer 0 is what enters the first transformer layer, layer i comes after the i-th; the last has the final norm.

    Subclasses say which of transformers' models the parts come from.
    """

    def __init__(self, config: WaveformEncoderConfig, model: Any) -> None:
        super().__init__()
        self.feature_extractor: Any = model.feature_extractor
        self.feature_projection: Any = model.feature_projection
        self.encoder: Any = model.encoder
        if config.topic_token:
            self.topic_token = nn.Parameter(torch.randn(1, 1, config.dim) * 0.02)
        self.config = config
        self.front_end = config.front_end()
        self.frames_per_second = config.sample_rate / config.hop_samples
        self.dim = config.dim
        self.num_layers = config.num_layers

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; the samples are `[batch, samples, 1]`, a feature comes every 320 of them."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        hidden, valid = self._embedded(*self._convolved(spectrogram[:, :, 0].masked_fill(~mask, 0.0), mask.sum(1)))
        kept, run = {0: hidden}, self._runner(hidden, valid)
        for index, layer in enumerate(self.encoder.layers[: max(wanted, default=0)], start=1):
            hidden = run(layer, hidden)
            last = index == self.num_layers and self.config.pre_norm
            kept[index] = self.encoder.layer_norm(hidden) if last else hidden
        leading = int(self.config.topic_token)
        features = torch.stack([kept[i][:, leading:] for i in wanted], dim=1)
        valid = valid[:, leading:]
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)

    def _convolved(self, samples: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, channels, time]` and how many steps of it are real; silence fills a clip that is too short."""
        short = max(0, self.config.field_samples - samples.shape[1])
        hidden = nn.functional.pad(samples, (0, short))[:, None]
        count = count.clamp(min=self.config.field_samples)
        sizes = zip(self.config.conv_kernel, self.config.conv_stride, strict=True)
        for layer, (kernel, stride) in zip(self.feature_extractor.conv_layers, sizes, strict=True):
            count = torch.div(count - kernel, stride, rounding_mode="floor") + 1
            if isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm):
                hidden = layer.activation(_clip_norm(layer.conv(hidden), count, layer.layer_norm))
            else:
                hidden = layer(hidden)
        return hidden, count

    def _embedded(self, convolved: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, time, dim]` with positions, and its mask; the topic token counts as a step in front."""
        valid = torch.arange(convolved.shape[2], device=count.device) < count[:, None]
        projected = self.feature_projection(convolved.transpose(1, 2))
        hidden = (projected[0] if isinstance(projected, tuple) else projected).masked_fill(~valid[:, :, None], 0.0)
        if self.config.topic_token:
            hidden = torch.cat([self.topic_token.expand(len(hidden), -1, -1), hidden], 1)
            valid = nn.functional.pad(valid, (1, 0), value=True)
        hidden = hidden + self.encoder.pos_conv_embed(hidden)
        return (hidden if self.config.pre_norm else self.encoder.layer_norm(hidden)), valid

    def _runner(self, hidden: Tensor, valid: Tensor) -> Callable[[nn.Module, Tensor], Tensor]:
        """How one transformer layer is called: padding is not attended to."""
        attention = create_bidirectional_mask(config=self.encoder.config, inputs_embeds=hidden, attention_mask=valid)

        def run(layer: nn.Module, state: Tensor) -> Tensor:
            found = layer(state, attention_mask=attention)
            return found[0] if isinstance(found, tuple) else found  # type: ignore[no-any-return]

        return run


def _clip_norm(hidden: Tensor, count: Tensor, norm: nn.GroupNorm) -> Tensor:
    """The group norm of one group a channel `[batch, channels, time]`, over the real steps of each clip alone."""
    real = (torch.arange(hidden.shape[2], device=hidden.device) < count[:, None])[:, None].to(hidden.dtype)
    steps = count[:, None, None].to(hidden.dtype)
    mean = (hidden * real).sum(2, keepdim=True) / steps
    variance = ((hidden - mean).square() * real).sum(2, keepdim=True) / steps
    scaled = (hidden - mean) * torch.rsqrt(variance + norm.eps)
    return scaled * norm.weight[:, None] + norm.bias[:, None]


# --- reading ---

_FAIRSEQ_RENAMES = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.2\.(1\.)?", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
    (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
    (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
    (r"\.self_attn\.", ".attention."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
_WEIGHT_NORM = (
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)
_OURS = re.compile(r"(feature_extractor|feature_projection|encoder)\.|topic_token$")


def read_waveform(checkpoint: Checkpoint, prefix: str) -> Read:
    """A transformers folder, or fairseq's file (`cfg` or `args`, `model`); heads and quantizers are left out."""
    fairseq = any(".self_attn." in name for name in checkpoint.tensors)
    found = {}
    for name, tensor in checkpoint.tensors.items():
        short = re.sub(r"^w2v_encoder\.w2v_model\.", "", name) if fairseq else name.removeprefix(prefix)
        for pattern, replacement in (*(_FAIRSEQ_RENAMES if fairseq else ()), *_WEIGHT_NORM):
            short = re.sub(pattern, replacement, short)
        found[short] = tensor
    kept = {name: tensor for name, tensor in found.items() if _OURS.match(name)}
    if "feature_projection.projection.weight" not in kept:
        raise WeightsError(f"{checkpoint.path}: no model of the wav2vec2 kind in it")
    if "encoder.pos_conv_embed.batch_norm.weight" in kept or any(".adapter_layer." in name for name in kept):
        raise WeightsError(f"{checkpoint.path}: batch norm before positions, or adapters in layers, are not supported")
    config = {**_shapes(kept), **(_of_fairseq(checkpoint) if fairseq else _of_transformers(checkpoint))}
    return Read(config, kept, tuple(name for name in found if name not in kept))


def _shapes(kept: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the tensors themselves say; kernels and strides are the same in every published model."""
    kernels = re.compile(r"feature_extractor\.conv_layers\.\d+\.conv\.weight")
    convolutions = [kept[name] for name in sorted(kept) if kernels.fullmatch(name)]
    dim = kept["feature_projection.projection.weight"].shape[0]
    positions = kept["encoder.pos_conv_embed.conv.parametrizations.weight.original1"]
    return {
        "dim": dim,
        "num_layers": block_count(kept, "encoder.layers."),
        "num_heads": max(1, dim // 64),
        "ffn_dim": kept["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0],
        "conv_dim": [weight.shape[0] for weight in convolutions],
        "conv_kernel": [weight.shape[2] for weight in convolutions],
        "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in kept,
        "group_norm": "feature_extractor.conv_layers.1.layer_norm.weight" not in kept,
        "projection_norm": "feature_projection.layer_norm.weight" in kept,
        "position_kernel": positions.shape[2],
        "position_groups": dim // positions.shape[1],
        "topic_token": "topic_token" in kept,
    }


def _of_transformers(checkpoint: Checkpoint) -> dict[str, Any]:
    settings = checkpoint.settings
    pre_norm = bool(settings["do_stable_layer_norm"])
    extractor = settings.get("preprocessor", {})
    return {
        "num_heads": settings["num_attention_heads"],
        "conv_stride": settings["conv_stride"],
        "pre_norm": pre_norm,
        "layer_norm_epsilon": settings.get("layer_norm_eps", 1e-5),
        "sample_rate": extractor.get("sampling_rate", 16_000),
        "normalise": extractor.get("do_normalize", pre_norm),
    }


def _of_fairseq(checkpoint: Checkpoint) -> dict[str, Any]:
    """`cfg` is flat (WavLM) or has parts (hydra), `args` is older; whichever has the field says it."""
    tables = [checkpoint.settings.get(key) or {} for key in ("cfg", "args")]
    tables += [table[part] for table in tables for part in ("model", "task") if isinstance(table.get(part), dict)]
    says = {key: value for table in tables for key, value in table.items() if not isinstance(value, dict)}
    if not says:
        raise WeightsError(f"{checkpoint.path}: its settings (`cfg` or `args`) are missing")
    pre_norm = bool(says.get("layer_norm_first", False))
    found = {"pre_norm": pre_norm, "normalise": bool(says.get("normalize", pre_norm))}
    if heads := says.get("encoder_attention_heads"):
        found["num_heads"] = heads
    return found
