"""Which positions of a batch travel together through a group of decoder layers.

A call brings `[batch, time]` positions: text, audio and padding. Layers below the entry of the audio must not see it,
so they get the text positions alone, packed to the right with padding on the left (`take`), and the result is laid back
into place afterwards (`put`). Rows of unequal counts stay aligned because padding is masked everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import BoolTensor, Tensor


@dataclass(frozen=True)
class Rows:
    """Positions kept, and where they lie after packing."""

    keep: BoolTensor
    """[batch, time], the positions that take part."""
    valid: BoolTensor
    """[batch, packed], False on the padding of the packed layout."""
    everything: bool
    """Nothing is left out: packing is the identity."""

    @classmethod
    def of(cls, keep: Tensor) -> Rows:
        """Pack the positions where `keep` `[batch, time]` is True."""
        if bool(keep.all()):
            return cls(keep, keep, True)  # type: ignore[arg-type]
        counts = keep.sum(dim=1)
        longest = int(counts.max())
        places = torch.arange(longest, device=keep.device)
        valid = places[None, :] >= (longest - counts)[:, None]
        return cls(keep, valid, False)  # type: ignore[arg-type]

    def take(self, full: Tensor) -> Tensor:
        """`[batch, time, ...]` to `[batch, packed, ...]`; the padding is zero."""
        if self.everything:
            return full
        packed = full.new_zeros(*self.valid.shape, *full.shape[2:])
        packed[self.valid] = full[self.keep]
        return packed

    def put(self, packed: Tensor, full: Tensor) -> Tensor:
        """A copy of `full` `[batch, time, ...]` with the packed rows laid back into their positions."""
        if self.everything:
            return packed
        out = full.clone()
        out[self.keep] = packed[self.valid]
        return out
