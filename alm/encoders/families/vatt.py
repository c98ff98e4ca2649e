"""VATT's audio tower (Akbari et al. 2021): a transformer over patches of 128 samples at 48 kHz.

Its weights are TensorFlow checkpoints, which are read without TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from alm.encoders.base import AudioEncoder, EncoderOutput, FrontEnd, config_from
from alm.encoders.blocks.reading import block_count
from alm.encoders.blocks.waves import at_least
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.raw import RawFrontEnd
from alm.errors import ConfigError, WeightsError

_EPSILON = 1e-6
_SAMPLE_RATE = 48_000


@dataclass(frozen=True)
class VattConfig:
    """Architecture; the defaults are the base model's."""

    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    patch_samples: int = 128
    max_patches: int = 1200

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"vatt: {name} is {value!r}; it must be a whole number above 0")
        if self.dim % self.num_heads:
            raise ConfigError(f"vatt: dim {self.dim} is no multiple of num_heads {self.num_heads}")


class Layer(nn.Module):
    """Pre-norm attention and feed-forward; names as in the checkpoint."""

    def __init__(self, config: VattConfig) -> None:
        super().__init__()
        dim, self.num_heads = config.dim, config.num_heads
        self.layer_norm, self.mlp_norm = nn.LayerNorm(dim, eps=_EPSILON), nn.LayerNorm(dim, eps=_EPSILON)
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.wi, self.wo = nn.Linear(dim, config.ffn_dim), nn.Linear(config.ffn_dim, dim)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """`[batch, time, dim]`; `seen` `[batch, 1, 1, time]` is False where nothing may look."""
        normal = self.layer_norm(x)
        parts = (self.q(normal), self.k(normal), self.v(normal))
        query, key, value = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        return x + self.wo(gelu(self.wi(self.mlp_norm(x))))  # type: ignore[no-any-return]


class VattAudioEncoder(AudioEncoder):
    """Layer 0 is the patches with positions, layer i the i-th layer, the last one normalised.

    The leading token is used inside and dropped; a started patch at the end of a clip is dropped, too. The original
    hears 3.2 s and stretches its positions when it is given less; here a shorter clip has the first of them, so that
    a window's features do not depend on its length by more than what they attend to.
    """

    name: ClassVar[str] = "vatt"

    def __init__(self, config: VattConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = front_end_of(config)
        self.frames_per_second = _SAMPLE_RATE / config.patch_samples
        self.dim, self.num_layers = config.dim, config.num_layers
        self.wave_to_patch = nn.Linear(config.patch_samples, config.dim)
        self.positions = nn.Parameter(torch.randn(config.max_patches, config.dim) * config.dim**-0.5)
        self.position_norm = nn.LayerNorm(config.dim, eps=_EPSILON)
        self.agg_embedding = nn.Parameter(torch.zeros(config.dim))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.final_layer_norm = nn.LayerNorm(config.dim, eps=_EPSILON)

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = floor(samples / 128)`, at least one."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        size, limit = self.config.patch_samples, self.config.max_patches
        samples, mask = at_least(size, spectrogram, mask)
        whole = samples.shape[1] // size * size
        valid = mask[:, size - 1 :: size]
        if valid.shape[1] > limit:
            raise ConfigError(f"vatt: {valid.shape[1]} patches; the limit is {limit}. Cut into windows")
        patches = self.wave_to_patch(samples[:, :whole, 0].unflatten(1, (-1, size)))
        x = patches + self.position_norm(self.positions)[: valid.shape[1]]
        x = torch.cat([self.agg_embedding.expand(len(x), 1, -1), x], dim=1)
        seen = nn.functional.pad(valid, (1, 0), value=True)[:, None, None]
        kept = {0: x}
        for index, layer in enumerate(self.layers[: max(wanted, default=0)], start=1):
            x = layer(x, seen)
            kept[index] = self.final_layer_norm(x) if index == self.num_layers else x
        features = torch.stack([kept[i][:, 1:] for i in wanted], dim=1)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)


def front_end_of(config: VattConfig) -> FrontEnd:
    """The samples, as long as there are positions for them."""
    return RawFrontEnd(sample_rate=_SAMPLE_RATE, max_seconds=config.max_patches * config.patch_samples / _SAMPLE_RATE)


_END = "/.ATTRIBUTES/VARIABLE_VALUE"
_RENAMED = (
    (r"pos_embedding_lookup/temporal_position_embeddings/embeddings$", "positions"),
    (r"pos_embedding_lookup/layernorm/", "position_norm/"),
    (r"agg_token_embd$", "agg_embedding"),
    (r"tx/layers/(\d+)/(?:mha|feed_forward/mlp)/", r"layers/\1/"),
    (r"tx/layers/(\d+)/feed_forward/layer_norm/", r"layers/\1/mlp_norm/"),
    (r"tx/", ""),
    (r"(.*)/gamma$", r"\1/weight"),
    (r"(.*)/beta$", r"\1/bias"),
    (r"(.*)/kernel$", r"\1/weight"),
)


def _ours(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub("^" + pattern, replacement, name)
    return name.replace("/", ".")


def _turned(name: str, tensor: Tensor) -> Tensor:
    """Keras keeps `[in, out]`, and the convolution over patches as `[samples, 1, out]`."""
    if name.endswith("/kernel"):
        return tensor.flatten(0, -2).t().contiguous()
    return tensor


def read(checkpoint: Checkpoint) -> Read:
    """From a TensorFlow checkpoint (`.index`, with the data beside it); the towers of video and text are left out."""
    first = "wave_to_patch/kernel" + _END
    base = next((name.removesuffix(first) for name in checkpoint.tensors if name.endswith(first)), None)
    if base is None:
        raise WeightsError(
            f"{checkpoint.path}: no waveform tower of its own in it (wave_to_patch). VATT's modality-agnostic models "
            "and those for spectrograms are not supported; take a modality-specific one (tx_fac) or wat_base"
        )
    found: dict[str, Tensor] = {}
    for full, tensor in checkpoint.tensors.items():
        name = full.removesuffix(_END)
        if full.startswith(base) and full.endswith(_END) and ".OPTIMIZER_SLOT" not in full and "mask_" not in name:
            name = name.removeprefix(base)
            found[_ours(name)] = _turned(name, tensor)
    if any(name.startswith(("pre_proj", "post_proj")) for name in found):
        raise WeightsError(f"{checkpoint.path}: tuned from a modality-agnostic model, which is not supported")
    dim, patch = found["wave_to_patch.weight"].shape
    config = {
        "dim": dim,
        "num_layers": block_count(found, "layers."),
        "num_heads": max(1, dim // 64),
        "ffn_dim": found["layers.0.wi.weight"].shape[0],
        "patch_samples": patch,
        "max_patches": found["positions"].shape[0],
    }
    unused = tuple(n for n in checkpoint.tensors if _ours(n.removesuffix(_END).removeprefix(base)) not in found)
    return Read(config, found, unused)


def build(config: Mapping[str, Any]) -> VattAudioEncoder:
    """A randomly initialised encoder with this architecture (`VattConfig` fields)."""
    return VattAudioEncoder(config_from(VattConfig, config))


_MEDIUM = MappingProxyType({"dim": 1024, "num_heads": 16, "ffn_dim": 4096})
FAMILY = Family(
    name="vatt",
    build=build,
    front_end=lambda config: front_end_of(config_from(VattConfig, config)),
    read=read,
    sizes=MappingProxyType({"base": {}, "medium": _MEDIUM, "large": {**_MEDIUM, "num_layers": 24}}),
    lora_targets=("q", "v"),
    facts=Facts(
        title="VATT, audio tower",
        paper="Akbari et al., 2021: arXiv 2104.11178",
        home="https://github.com/google-research/google-research/tree/master/vatt",
        hub=(),
        licence_code="Apache-2.0",
        licence_weights="not stated beside the checkpoints (the code is Apache-2.0)",
        good_at="sound events from the samples: AudioSet mAP 0.394",
        containers=(
            ("`.index` and `.data-*`, written by TensorFlow", "test_a_tensorflow_checkpoint_opens_without_tensorflow"),
        ),
        proved_against="google-research vatt/modeling (autx1d.py at 35a5be2, transformers.py at 222560a)",
        notes="375 features a second, 3.2 s at once. Name the `.index` file; its `.data-*` must lie beside it. Heads "
        "are 64 wide in every published size and are counted by that.",
    ),
)
