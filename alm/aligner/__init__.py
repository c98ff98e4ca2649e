"""Aligners: from encoder features `[windows, layers, time, dim]` to audio tokens `[windows, tokens, dim]`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from alm.aligner.features import Heard, pooled, pooled_size
from alm.aligner.joining import JOINED, Join, JoinedAligner
from alm.aligner.linear import LinearAligner
from alm.aligner.merging import merge_windows
from alm.aligner.qformer import QFormerAligner
from alm.aligner.soft_prompt import TagPrompt
from alm.aligner.stretches import StretchQFormer
from alm.configuration import AlignerConfig

_KINDS: dict[str, Callable[..., nn.Module]] = {
    "qformer": QFormerAligner, "linear": LinearAligner, "stretch_qformer": StretchQFormer
}  # fmt: skip


def build_aligner(config: AlignerConfig, layers: dict[str, int], dims: dict[str, int], out_dim: int) -> nn.Module:
    """The aligner that `config.kind` names, for encoders with these layer counts and dimensions."""
    kind = _KINDS[config.kind]
    if config.join == "tokens":
        return kind(config, layers, dims, out_dim)
    join = Join(config, layers, dims)
    return JoinedAligner(join, kind(config, {JOINED: 1}, {JOINED: join.width}, out_dim))


__all__ = [
    "Heard",
    "LinearAligner",
    "QFormerAligner",
    "TagPrompt",
    "build_aligner",
    "merge_windows",
    "pooled",
    "pooled_size",
]
