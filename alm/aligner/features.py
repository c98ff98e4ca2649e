"""From the features of several encoders and layers to one masked sequence of keys for the aligner."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alm.aligner.merging import merge_groups, merged_mean


@dataclass(frozen=True)
class Heard:
    """What one encoder heard, for all windows of a batch."""

    hidden: Tensor
    """[windows, layers, time, dim]"""
    mask: Tensor
    """[windows, time] bool, False on padding."""
    frame_seconds: float

    def window(self, index: int) -> Heard:
        """One window alone, as a batch of one."""
        return Heard(self.hidden[index : index + 1], self.mask[index : index + 1], self.frame_seconds)


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over time: `[windows, layers, time, dim]` to `[windows, layers, dim]`; an empty mask gives zeros."""
    weight = mask[:, None, :, None].to(hidden.dtype)
    return (hidden * weight).sum(2) / weight.sum(2).clamp_min(1.0)


def masked_max(hidden: Tensor, mask: Tensor) -> Tensor:
    """Maximum over time: `[windows, layers, time, dim]` to `[windows, layers, dim]`; an empty mask gives zeros."""
    away = hidden.masked_fill(~mask[:, None, :, None], torch.finfo(hidden.dtype).min)
    return torch.where(mask.any(1)[:, None, None], away.amax(2), 0.0)


def pooled(heard: dict[str, Heard]) -> Tensor:
    """Mean and maximum over time of every encoder and layer, each normalised: `[windows, features]`."""
    parts = []
    for item in heard.values():
        for pool in (masked_mean, masked_max):
            parts.append(F.layer_norm(pool(item.hidden, item.mask), item.hidden.shape[-1:]).flatten(1))
    return torch.cat(parts, dim=-1)


def pooled_size(layers: dict[str, int], dims: dict[str, int]) -> int:
    """Width of `pooled` for encoders with that many layers and dimensions."""
    return sum(2 * layers[name] * dims[name] for name in layers)


def stretch_edges(mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """First frame of each stretch and the frame after its last, `[windows, count]`.

    Stretches of short clips share frames rather than be empty.
    """
    real = mask.sum(1).clamp_min(1)
    edges = torch.arange(count + 1, device=mask.device)[None] * real[:, None] / count
    low = edges[:, :-1].floor().long()
    return low, torch.maximum(edges[:, 1:].ceil().long(), low + 1)


class KeyBank(nn.Module):
    """Project every encoder layer to the aligner's width, mark its encoder, layer and time, and join along time.

    All layers that the configuration names reach the cross-attention (what GAMA's multi-layer aggregator set out to
    do; its published code drops the cross-attention's result). Mean and maximum over time are added as two more keys a
    layer, so that a query need not learn to average. With `keep` below 1, that share of the frames is left: neighbours
    that are most alike in all layers of their encoder are merged, and stand at the mean of their times.
    """

    def __init__(self, layers: dict[str, int], dims: dict[str, int], width: int, keep: float = 1.0) -> None:
        super().__init__()
        self.width, self.keep = width, keep
        self.project = nn.ModuleDict({n: nn.Linear(dims[n], width) for n in layers})
        self.norm = nn.ModuleDict({n: nn.LayerNorm(dims[n], elementwise_affine=False) for n in layers})
        self.mark = nn.ParameterDict({n: nn.Parameter(torch.zeros(layers[n], width)) for n in layers})
        self.summary_mark = nn.Parameter(torch.zeros(2, width))
        for mark in [*self.mark.values(), self.summary_mark]:
            nn.init.normal_(mark, std=0.02)

    def forward(self, heard: dict[str, Heard]) -> tuple[Tensor, Tensor]:
        """
        Returns:
            Keys `[windows, keys, width]` and their mask `[windows, keys]`.
        """
        keys, masks = [], []
        for name, item in heard.items():
            layers = item.hidden.shape[1]
            mark = self.mark[name][None, :, None]
            hidden, real, seconds = self._frames(name, item)
            frames = self._project(name, hidden) + mark + self._clock(seconds).to(hidden.dtype)
            summary = torch.stack([p(item.hidden, item.mask) for p in (masked_mean, masked_max)], dim=2)
            summary = self._project(name, summary) + mark + self.summary_mark[None, None]
            keys += [frames.flatten(1, 2), summary.flatten(1, 2)]
            masks += [real.repeat(1, layers), item.mask.any(1, keepdim=True).expand(-1, 2 * layers)]
        return torch.cat(keys, dim=1), torch.cat(masks, dim=1)

    def _project(self, name: str, hidden: Tensor) -> Tensor:
        return self.project[name](self.norm[name](hidden))  # type: ignore[no-any-return]

    def _frames(self, name: str, item: Heard) -> tuple[Tensor, Tensor, Tensor]:
        """Frames `[windows, layers, time, dim]`, their mask, and the middle of each in seconds within the window."""
        seconds = (torch.arange(item.hidden.shape[2], device=item.hidden.device) + 0.5) * item.frame_seconds
        if self.keep == 1.0:
            return item.hidden, item.mask, seconds
        layers = item.hidden.shape[1]
        flat = item.hidden.transpose(1, 2).flatten(2)
        alike = self.norm[name](item.hidden).transpose(1, 2).flatten(2)
        keep = (item.mask.sum(1) * self.keep).ceil().long().clamp_min(1)
        groups = merge_groups(alike.detach(), item.mask, keep)
        means, real = merged_mean(flat, groups)
        times, _ = merged_mean(seconds.expand(len(flat), -1)[..., None], groups)
        return means.unflatten(2, (layers, -1)).transpose(1, 2), real, times[:, None, :, 0]

    def _clock(self, seconds: Tensor) -> Tensor:
        """Sinusoids of times in seconds: `[..., width]`."""
        rates = torch.exp(torch.linspace(0.0, -5.0, self.width // 2, device=seconds.device)) * 2 * torch.pi
        angle = seconds[..., None] * rates
        clock = torch.cat([angle.sin(), angle.cos()], dim=-1)
        return F.pad(clock, (0, self.width - clock.shape[-1]))
