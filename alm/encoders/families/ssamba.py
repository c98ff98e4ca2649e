"""SSAMBA (Shams et al., SLT 2024): SSAST's patches and pre-training over Vision Mamba's two-way state spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from alm.encoders.base import config_from
from alm.encoders.blocks.grid import Grid, GridEncoder, check_sizes
from alm.encoders.blocks.reading import block_count, divided, refusal, required
from alm.encoders.blocks.selective_scan import cuda_kernel, selective_scan
from alm.encoders.families.ssast import middle, pretrained_grid, ssast_front_end
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.kaldi import KaldiFrontEnd
from alm.errors import ConfigError

_RMS_EPSILON = 1e-5
_HEADS = ("cpredlayer.", "gpredlayer.", "mask_embed", "p_input_", "v.head.")


@dataclass(frozen=True)
class SsambaConfig:
    """The defaults are the base model's on 16x16 patches."""

    dim: int = 768
    num_layers: int = 24
    states: int = 16
    conv_tokens: int = 4
    """Reach of the short convolution."""
    expansion: int = 2
    """Channels inside a layer, as a multiple of `dim`."""
    mel_bins: int = 128
    patch_bins: int = 16
    patch_frames: int = 16
    max_steps: int = 64
    frequency: str = "mean"

    def __post_init__(self) -> None:
        check_sizes("ssamba", self)
        if self.mel_bins % self.patch_bins:
            raise ConfigError(
                f"ssamba encoder: mel_bins {self.mel_bins} is no multiple of patch_bins {self.patch_bins}"
            )

    @property
    def grid(self) -> Grid:
        """Patches side by side, as in pre-training."""
        return Grid(self.mel_bins, self.patch_bins, self.patch_frames, self.patch_bins, self.patch_frames)

    @property
    def channels(self) -> int:
        """Channels inside a layer."""
        return self.expansion * self.dim

    @property
    def step_rank(self) -> int:
        """Width through which step sizes are computed."""
        return -(-self.dim // 16)


class TwoWayMixer(nn.Module):
    """A selective state space over the sequence and another over its reverse, gated together; keys are Vim's."""

    def __init__(self, config: SsambaConfig) -> None:
        super().__init__()
        self.states, self.step_rank = config.states, config.step_rank
        channels, mixed = config.channels, config.step_rank + 2 * config.states
        self.in_proj = nn.Linear(config.dim, 2 * channels, bias=False)
        decay = torch.log(torch.arange(1.0, config.states + 1)).expand(channels, -1)
        for way in ("", "_b"):
            reach = config.conv_tokens
            self.add_module(f"conv1d{way}", nn.Conv1d(channels, channels, reach, groups=channels, padding=reach - 1))
            self.add_module(f"x_proj{way}", nn.Linear(channels, mixed, bias=False))
            self.add_module(f"dt_proj{way}", nn.Linear(config.step_rank, channels))
            self.register_parameter(f"D{way}", nn.Parameter(torch.ones(channels)))
            self.register_parameter(f"A{way}_log", nn.Parameter(decay.clone()))
        self.out_proj = nn.Linear(channels, config.dim, bias=False)

    def forward(self, x: Tensor, backwards: Tensor) -> Tensor:
        """`[batch, tokens, dim]` to the same.

        `backwards` `[batch, tokens]`: places of each sequence from its last real token to its first, then its padding.
        """
        inner, gate = self.in_proj(x).chunk(2, dim=2)
        turn = backwards[..., None].expand_as(inner)
        ahead = self._one_way(inner, "")
        behind = self._one_way(inner.gather(1, turn), "_b").gather(1, turn)
        return self.out_proj((ahead + behind) / 2 * silu(gate))  # type: ignore[no-any-return]

    def _one_way(self, inner: Tensor, way: str) -> Tensor:
        """`[batch, tokens, channels]` to the same; what comes later is never seen."""
        convolved = self.get_submodule(f"conv1d{way}")(inner.transpose(1, 2))[..., : inner.shape[1]]
        heard = silu(convolved.transpose(1, 2))
        sizes = (self.step_rank, self.states, self.states)
        step, write, read = self.get_submodule(f"x_proj{way}")(heard).split(sizes, dim=2)
        step = softplus(self.get_submodule(f"dt_proj{way}")(step))
        decay, skip = -torch.exp(self.get_parameter(f"A{way}_log")), self.get_parameter(f"D{way}")
        kernel = cuda_kernel() if heard.is_cuda else None
        return selective_scan(heard, step, decay, write, read, skip, kernel)


class MixerBlock(nn.Module):
    """Norm, mixer, residual."""

    def __init__(self, config: SsambaConfig) -> None:
        super().__init__()
        self.mixer = TwoWayMixer(config)
        self.norm = nn.RMSNorm(config.dim, eps=_RMS_EPSILON)

    def forward(self, x: Tensor, backwards: Tensor) -> Tensor:
        """As `TwoWayMixer.forward`."""
        return x + self.mixer(self.norm(x), backwards)  # type: ignore[no-any-return]


class SsambaEncoder(GridEncoder):
    """Class token, then row by row all steps of a clip: the order that the state spaces were trained on.

    Real tokens of a clip stand together in front of its padding, so neither direction meets padding before it has
    heard the clip. The last layer has the final norm twice, as in the original.
    """

    front_end: KaldiFrontEnd
    name: ClassVar[str] = "ssamba"

    def __init__(self, config: SsambaConfig) -> None:
        grid = config.grid
        heard = ssast_front_end(config.mel_bins, grid, config.max_steps)
        super().__init__(grid, config.max_steps, heard, config.frequency, config.dim)
        self.num_layers = config.num_layers
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + grid.rows * config.max_steps, config.dim) * 0.02)
        self.layers = nn.ModuleList(MixerBlock(config) for _ in range(config.num_layers))
        self.norm_f = nn.RMSNorm(config.dim, eps=_RMS_EPSILON)

    @property
    def filler(self) -> float:
        """The authors pad with zeros before they normalise."""
        return self.front_end.padding_value

    def _positions(self, steps: Tensor, width: int) -> Tensor:
        table = self.pos_embed[0, 1:].unflatten(0, (self.grid.rows, self.max_steps))
        return middle(table.transpose(0, 1), steps, width)

    def _layers(self, tokens: Tensor, valid: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        rows, steps = tokens.shape[2], tokens.shape[1]
        real = valid[:, None].expand(-1, rows, -1).flatten(1)
        together = real.int().argsort(dim=1, descending=True, stable=True)
        x = _taken(tokens.transpose(1, 2).flatten(1, 2), together)
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1), x], dim=1)
        backwards, apart = _reversed_places(real.sum(dim=1) + 1, x.shape[1]), together.argsort(dim=1)
        kept = {0: tokens}
        for index, layer in enumerate(self.layers[: max(wanted, default=0)], start=1):
            x = layer(x, backwards)
            if index in wanted:
                heard = self.norm_f(self.norm_f(x)) if index == self.num_layers else x
                kept[index] = _taken(heard[:, 1:], apart).unflatten(1, (rows, steps)).transpose(1, 2)
        return kept


def _taken(x: Tensor, places: Tensor) -> Tensor:
    """Tokens `[batch, tokens, dim]` in the order of `places` `[batch, tokens]`."""
    return x.gather(1, places[..., None].expand_as(x))


def _reversed_places(counts: Tensor, width: int) -> Tensor:
    """Places `[batch, width]` that turn the first `counts` ones round and leave the rest."""
    place = torch.arange(width, device=counts.device).expand(len(counts), -1)
    return torch.where(place < counts[:, None], counts[:, None] - 1 - place, place)


def build(config: Mapping[str, Any]) -> SsambaEncoder:
    """A randomly initialised encoder with this architecture (`SsambaConfig` fields)."""
    return SsambaEncoder(config_from(SsambaConfig, config))


def front_end(config: Mapping[str, Any]) -> KaldiFrontEnd:
    """AST's filter bank."""
    settings = config_from(SsambaConfig, config)
    return ssast_front_end(settings.mel_bins, settings.grid, settings.max_steps)


def read(checkpoint: Checkpoint) -> Read:
    """From the dictionary of a `DataParallel` model that the pre-training wrote."""
    tensors = {name.removeprefix("module."): tensor for name, tensor in checkpoint.tensors.items()}
    if "v.blocks.0.attn.qkv.weight" in tensors:
        raise refusal(checkpoint, "ssamba", "its layers are a transformer's; it is one of ssast")
    grid = pretrained_grid(checkpoint, "ssamba", tensors)
    kept, unused = divided(tensors, _HEADS)
    encoder = {name.removeprefix("v."): tensor for name, tensor in kept.items()}
    mixer = "layers.0.mixer."
    axes = {"cls_token": 3, f"{mixer}A_log": 2, f"{mixer}conv1d.weight": 3}
    required(checkpoint, "ssamba", encoder, axes)
    if f"{mixer}A_b_log" not in encoder or f"{mixer}conv1d_b.weight" not in encoder:
        raise refusal(checkpoint, "ssamba", "its layers go one way only; the published ones go both (bimamba v2)")
    channels, states = encoder[f"{mixer}A_log"].shape
    dim = encoder["cls_token"].shape[2]
    sizes = {"dim": dim, "num_layers": block_count(encoder, "layers."), "states": states}
    sizes |= {"conv_tokens": encoder[f"{mixer}conv1d.weight"].shape[2], "expansion": channels // dim}
    return Read({**sizes, **grid}, encoder, unused)


FAMILY = Family(
    name="ssamba",
    build=build,
    front_end=front_end,
    read=read,
    sizes=MappingProxyType({"base": {}, "small": {"dim": 384}, "tiny": {"dim": 192}}),
    lora_targets=("mixer.in_proj", "mixer.out_proj"),
    facts=Facts(
        title="SSAMBA",
        paper="Shams, Dindar, Jiang, Mesgarani: SSAMBA: Self-Supervised Audio Representation Learning with Mamba State "
        "Space Model, SLT 2024 (2405.11831)",
        home="https://github.com/SiavashShams/ssamba",
        hub=("attentionisallyouneed369/ssamba",),
        licence_code="BSD-3-Clause",
        licence_weights="BSD-3-Clause-Clear",
        good_at="sound and speech without labels at a cost that grows with length, not with its square",
        containers=(("`.pth` of the pre-training", "test_official_file_opens_with_every_tensor"),),
        proved_against="SiavashShams/ssamba 019b276c2cde80bb5d58f51e589eb5b441a73ead over hustvl/Vim "
        "dd0358ad1e42701f22afbefa0717cc8825cf9f45 (its reference scan)",
        notes="The scan is a loop over tokens on a CPU; mamba_ssm's kernel is used on a GPU where it is installed.",
    ),
)
