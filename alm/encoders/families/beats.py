"""BEATs (Chen et al., ICML 2023): square patches in temporal order, post-norm layers, gated relative positions.

Released as iterations 1, 2, 3 and 3+, all of one shape. Eight patches, from low to high frequencies, make a time step
of 160 ms. As in the authors' code, frames that do not fill a last patch (less than 160 ms at the end) are not heard;
a clip shorter than one patch is followed by silence up to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from alm.encoders.base import EncoderOutput, config_from
from alm.encoders.blocks.patches import PatchConfig, PatchEncoder, fill
from alm.encoders.blocks.reading import block_count, divided, refusal, required
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.kaldi import KaldiFrontEnd
from alm.errors import ConfigError

STATISTICS = ("fbank_mean", "fbank_std")
"""Settings of the front end that differ between files of OpenBEATs."""
_BIAS_KEY = "self_attn.relative_attention_bias.weight"


@dataclass(frozen=True)
class BeatsConfig(PatchConfig):
    """Architecture; the defaults are those of the released files."""

    family: ClassVar[str] = "beats"

    mean: float = 15.41663
    std: float = 6.55582
    patch_dim: int = 512
    """Width of a patch before it is projected to `dim`."""
    conv_positions: int = 128
    """Tokens under the kernel of the convolution that gives positions; eight make a time step."""
    conv_groups: int = 16
    num_buckets: int = 320
    """Relative positions that are told apart, both directions together."""
    max_distance: int = 800
    """Tokens from which on all distances are one bucket."""
    deep_norm: bool = True
    """Residuals are scaled by the depth."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.conv_groups:
            raise ConfigError(f"{self.family}: dim {self.dim} is no multiple of conv_groups {self.conv_groups}")
        if self.num_buckets % 4 or self.max_distance <= self.num_buckets // 4:
            raise ConfigError(
                f"{self.family}: num_buckets {self.num_buckets} must be a multiple of 4 and a quarter of it below "
                f"max_distance {self.max_distance}"
            )

    @property
    def residual(self) -> float:
        """Factor of what goes past a layer's part."""
        return (2.0 * self.num_layers) ** 0.25 if self.deep_norm else 1.0


def front_end(config: BeatsConfig) -> KaldiFrontEnd:
    """Kaldi's defaults on 16-bit numbers."""
    return KaldiFrontEnd(
        config.mel_bins,
        window="povey",
        subtract_mean=False,
        gain=32768.0,
        mean=config.mean,
        divisor=2.0 * config.std,
    )


class GatedAttention(nn.Module):
    """Self-attention that adds a bias for relative positions, weighted for each token and head by its own query."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        self.grep_linear = nn.Linear(dim // num_heads, 8)
        self.grep_a = nn.Parameter(torch.ones(1, num_heads, 1, 1))

    def forward(self, x: Tensor, bias: Tensor, attended: Tensor) -> Tensor:
        """`[batch, tokens, dim]` to the same.

        `bias` is `[heads, tokens, tokens]`; `attended` `[batch, 1, 1, tokens]`, True = may be looked at.
        """
        query, key, value = (
            project(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        added = (self._gate(query) * bias).masked_fill_(~attended, -torch.inf)  # in place: it is the largest tensor
        heard = scaled_dot_product_attention(query, key, value, attn_mask=added)
        return self.out_proj(heard.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _gate(self, query: Tensor) -> Tensor:
        """Weight of the bias `[batch, heads, tokens, 1]` from queries `[batch, heads, tokens, dim / heads]`."""
        update, reset = self.grep_linear(query).unflatten(-1, (2, 4)).sum(-1).sigmoid().chunk(2, dim=-1)
        return update * (reset * self.grep_a - 1.0) + 2.0  # type: ignore[no-any-return]


class BeatsLayer(nn.Module):
    """Attention and feed-forward, each followed by a norm of its sum with what went in."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.residual = config.residual
        self.self_attn = GatedAttention(config.dim, config.num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.dim)
        self.fc1 = nn.Linear(config.dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim)
        self.final_layer_norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, bias: Tensor, attended: Tensor) -> Tensor:
        """As `GatedAttention.forward`."""
        x = self.self_attn_layer_norm(self.residual * x + self.self_attn(x, bias, attended))
        return self.final_layer_norm(self.residual * x + self.fc2(gelu(self.fc1(x))))  # type: ignore[no-any-return]


class BeatsTransformer(nn.Module):
    """Positions by a convolution over the tokens, one table of relative positions for all layers, the layers."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.num_buckets, self.max_distance = config.num_buckets, config.max_distance
        width = config.conv_positions
        self.pos_conv = nn.Conv1d(config.dim, config.dim, width, padding=width // 2, groups=config.conv_groups)
        self.layer_norm = nn.LayerNorm(config.dim)
        self.relative_attention_bias = nn.Embedding(config.num_buckets, config.num_heads)
        self.layers = nn.ModuleList(BeatsLayer(config) for _ in range(config.num_layers))

    def forward(self, x: Tensor, valid: Tensor, depth: int) -> list[Tensor]:
        """What enters the first layer and what leaves the first `depth` ones, `[batch, tokens, dim]` each.

        `valid` is `[batch, tokens]`. Padding is zeroed first, for a lone clip sees the convolution's zero padding.
        """
        x = x.masked_fill(~valid[:, :, None], 0.0)
        near = self.pos_conv(x.transpose(1, 2))[:, :, : x.shape[1]]  # an even kernel gives one place too many
        x = self.layer_norm(x + gelu(near).transpose(1, 2))
        kept, bias, attended = [x], self._bias(x.shape[1]), valid[:, None, None]
        for layer in self.layers[:depth]:
            kept.append(layer(kept[-1], bias, attended))
        return kept

    def _bias(self, tokens: int) -> Tensor:
        """Bias of each pair of places `[heads, tokens, tokens]`, rows are queries."""
        device = self.relative_attention_bias.weight.device
        distances = torch.arange(1 - tokens, tokens, device=device)  # of the key from the query
        table = self.relative_attention_bias(self._buckets(distances))
        place = torch.arange(tokens, device=device)
        return table[place[None] - place[:, None] + tokens - 1].permute(2, 0, 1)  # type: ignore[no-any-return]

    def _buckets(self, distances: Tensor) -> Tensor:
        """Rows of the table: half of it for each direction, exact for short distances, logarithmic for long ones."""
        half = self.num_buckets // 2
        exact = half // 2
        away = distances.abs()
        # In float32 as the authors have it: elsewhere some distance could fall into the neighbouring bucket.
        ratio = (away.float() / exact).clamp(min=1.0).log() / math.log(self.max_distance / exact)
        far = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
        return torch.where(distances > 0, half, 0) + torch.where(away < exact, away, far)


class BeatsAudioEncoder(PatchEncoder):
    """Layer 0 is what enters the first layer, layer i what leaves the i-th, which is normalised already."""

    name: ClassVar[str] = "beats"

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__(config, front_end(config))
        side = config.patch_frames
        self.patch_embedding = nn.Conv2d(1, config.patch_dim, side, side, bias=False)
        self.layer_norm = nn.LayerNorm(config.patch_dim)
        self.post_extract_proj = (
            nn.Identity() if config.patch_dim == config.dim else nn.Linear(config.patch_dim, config.dim)
        )
        self.encoder = BeatsTransformer(config)

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = max(1, frames // 16)`, times the rows where all tokens are wanted."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        heard = fill(spectrogram, mask, self.silence, self.patch_frames, self.patch_frames).spectrogram
        steps = (mask.sum(1) // self.patch_frames).clamp(min=1)
        valid = torch.arange(int(steps.max()), device=mask.device) < steps[:, None]
        patches = self.patch_embedding(heard[:, None, : valid.shape[1] * self.patch_frames])
        hidden = self.post_extract_proj(self.layer_norm(patches.flatten(2).transpose(1, 2)))
        kept = self.encoder(hidden, valid.repeat_interleave(self.rows, 1), max(wanted, default=0))
        return self._output(dict(enumerate(kept)), wanted, valid)


def build(config: Mapping[str, Any]) -> BeatsAudioEncoder:
    """A randomly initialised encoder with this architecture (`BeatsConfig` fields)."""
    return BeatsAudioEncoder(config_from(BeatsConfig, config))


def read(checkpoint: Checkpoint) -> Read:
    """From `{"cfg", "model"}`, pretrained or fine-tuned; see `Family.read`."""
    return read_as("beats", checkpoint, MappingProxyType({"fbank_mean": 15.41663, "fbank_std": 6.55582}))


def read_as(family: str, checkpoint: Checkpoint, usual: Mapping[str, float] = MappingProxyType({})) -> Read:
    """`read` for a family that has BEATs' files; `usual` are the `STATISTICS` of files that do not say theirs."""
    found, settings = checkpoint.tensors, {**usual, **_settings(family, checkpoint)}
    if missing := [key for key in STATISTICS if key not in settings]:
        raise refusal(
            checkpoint,
            family,
            f"it does not say {' and '.join(missing)}, which differ from file to file; put the config.yaml of its "
            'training run beside it, or config.json with {"cfg": {..., "fbank_mean": ..., "fbank_std": ...}}',
        )
    _refuse_variants(family, checkpoint, settings)
    tensors, unused = divided(found, ("predictor.", "patch_embedding_pad.", "raw2fbank_pad."))
    layers = block_count(tensors, "encoder.layers.")
    tables = {name: tensors.pop(name) for name in list(tensors) if name.endswith(_BIAS_KEY)}
    shared = tables[f"encoder.layers.0.{_BIAS_KEY}"]
    if any(not torch.equal(table, shared) for table in tables.values()):
        raise refusal(checkpoint, family, "its layers do not share one table of relative positions")
    tensors["encoder.relative_attention_bias.weight"] = shared
    scale, direction = _position_kernel(tensors)
    if scale is None or direction is None or direction.ndim != 3 or not direction.numel():
        raise refusal(checkpoint, family, "encoder.pos_conv.0 has no weight_g and weight_v")
    # The kernel is stored as direction and length for each place under it; here it is one tensor.
    lengths = direction.float().norm(dim=(0, 1), keepdim=True)
    tensors["encoder.pos_conv.weight"] = direction.float() * (scale.float() / lengths)
    tensors["encoder.pos_conv.bias"] = tensors.pop("encoder.pos_conv.0.bias")
    patch, first = tensors["patch_embedding.weight"], "encoder.layers.0"
    config = {
        "dim": direction.shape[0],
        "num_layers": layers,
        "num_heads": shared.shape[1],
        "ffn_dim": tensors[f"{first}.fc1.weight"].shape[0],
        "patch_frames": patch.shape[2],
        "patch_dim": patch.shape[0],
        "conv_positions": direction.shape[2],
        "conv_groups": direction.shape[0] // direction.shape[1],
        "num_buckets": shared.shape[0],
        "max_distance": settings.get("max_distance", 1280),
        "deep_norm": settings.get("deep_norm", False),
        "mean": settings["fbank_mean"],
        "std": settings["fbank_std"],
    }
    return Read(config, tensors, unused)


def _position_kernel(tensors: dict[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """Length and direction of the positions' kernel, under torch's old and new names; takes them out."""
    old = tensors.pop("encoder.pos_conv.0.weight_g", None), tensors.pop("encoder.pos_conv.0.weight_v", None)
    name = "encoder.pos_conv.0.parametrizations.weight.original"
    new = tensors.pop(f"{name}0", None), tensors.pop(f"{name}1", None)
    return old if old[0] is not None else new


def _settings(family: str, checkpoint: Checkpoint) -> Mapping[str, Any]:
    """What the authors keep as `cfg`, and what ESPnet's config.yaml says of the encoder, which replaces it."""
    cfg, of_espnet = checkpoint.settings.get("cfg"), checkpoint.settings.get("encoder_conf")
    found = dict(cfg) if isinstance(cfg, Mapping) else {}
    if isinstance(of_espnet, Mapping):
        changed = of_espnet.get("beats_config")
        found |= changed if isinstance(changed, Mapping) else {}
        found |= {key: of_espnet[key] for key in STATISTICS if key in of_espnet}
    if not found.keys() - set(STATISTICS):
        raise refusal(
            checkpoint,
            family,
            "its cfg is missing, and max_distance is in no tensor; put the config.yaml of its training run beside it, "
            'or the cfg of the model it was tuned from as config.json, {"cfg": {...}}',
        )
    return found


def _refuse_variants(family: str, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
    found = checkpoint.tensors
    if any(name.startswith("quantize") for name in found):
        raise refusal(checkpoint, family, "it is a tokenizer (it has a quantizer); take an encoder")
    axes = {"patch_embedding.weight": 4, "encoder.layers.0.fc1.weight": 2, "encoder.pos_conv.0.bias": 1}
    required(checkpoint, family, found, {**axes, f"encoder.layers.0.{_BIAS_KEY}": 2})
    if "encoder.layers.0.self_attn.grep_a" not in found:
        raise refusal(checkpoint, family, "it has no gated relative positions, which all released files have")
    if settings.get("layer_norm_first"):
        raise refusal(checkpoint, family, "layer_norm_first is set; only post-norm files were released")
    if (activation := settings.get("activation_fn", "gelu")) != "gelu":
        raise refusal(checkpoint, family, f"activation_fn is {activation!r}; only gelu was released")


FAMILY = Family(
    name="beats",
    build=build,
    front_end=lambda config: front_end(config_from(BeatsConfig, config)),
    read=read,
    sizes=MappingProxyType({"base": MappingProxyType({})}),
    lora_targets=("q_proj", "v_proj"),
    facts=Facts(
        title="BEATs",
        paper="Chen et al. 2022, BEATs: Audio Pre-Training with Acoustic Tokenizers, arXiv:2212.09058",
        home="github.com/microsoft/unilm, folder beats",
        hub=(),
        licence_code="MIT",
        licence_weights="MIT (the licence of the repository that links them)",
        good_at="sound events, the other half of SALMONN: AudioSet mAP 48.0 (iter3), 48.6 (iter3+), ESC-50 95.6, 98.1",
        containers=(
            ("pre-trained `.pt` with `cfg` and `model`", "test_a_pretrained_file_opens"),
            ("fine-tuned `.pt`", "test_a_fine_tuned_file_opens_without_its_classifier"),
        ),
        proved_against="github.com/microsoft/unilm at 768a3c873f598bb9b4d4dfb9267b099e35f8fe56, beats/BEATs.py",
        notes=(
            "The distance of two tokens is counted over the flattened grid: one time step is 8 places. Less than "
            "160 ms at the end of a clip are not heard, as in the authors' code. The files were shared by links that "
            "expire; iter3+ saw AudioSet's labels through its teacher."
        ),
    ),
)
