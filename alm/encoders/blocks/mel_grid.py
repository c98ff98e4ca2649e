"""What Dasheng and CED share: 64 mel bands in dB, batch norm for each band, positions apart for time and frequency."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alm.encoders.blocks.grid import Grid, SeparableGridTransformer
from alm.encoders.front_ends.mel_db import MelDbFrontEnd


def mel_db_front_end(grid: Grid, max_steps: int) -> MelDbFrontEnd:
    """Decibels for as long as there are positions."""
    return MelDbFrontEnd(grid.bins, max_seconds=(grid.max_frames(max_steps) - 1) / 100)


class MelGridTransformer(SeparableGridTransformer):
    """No leading tokens. Batch norm always uses the trained statistics, in training mode too."""

    def __init__(self, grid: Grid, max_steps: int, frequency: str, sizes: Mapping[str, int]) -> None:
        """`sizes`: `dim`, `num_layers`, `num_heads` and `ffn_dim`."""
        super().__init__(grid, max_steps, mel_db_front_end(grid, max_steps), frequency, sizes["dim"])
        self.init_bn = nn.BatchNorm1d(grid.bins)
        self._add_positions()
        self._add_blocks(sizes["num_layers"], sizes["num_heads"], sizes["ffn_dim"])

    def train(self, mode: bool = True) -> MelGridTransformer:
        super().train(mode)
        self.init_bn.training = False
        return self

    def _prepared(self, spectrogram: Tensor) -> Tensor:
        return self.init_bn(spectrogram.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]

    def _leading(self) -> Tensor:
        return torch.zeros(1, 0, self.dim, dtype=self.norm.weight.dtype, device=self.norm.weight.device)


def bare_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under this project's names, from the original layout or from transformers folders (`encoder.`)."""
    bare = {name.removeprefix("encoder."): tensor for name, tensor in tensors.items()}
    return {name.replace("init_bn.1.", "init_bn."): tensor for name, tensor in bare.items()}
