"""A frozen encoder tuned by bypasses: small layers beside its linear layers, LoRA or adapters, which start as nothing.

The bypasses are a module of their own, so that the encoder keeps the names and values of its checkpoint; a hook adds
what they say to what the linear layer says. LoRA is Hu et al. 2021; with a bend between its two matrices it is the
parallel adapter of He et al. 2022 ("Towards a unified view of parameter-efficient transfer learning").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alm.encoders.base import AudioEncoder
from alm.errors import ConfigError


class Bypass(nn.Module):
    """`[..., in]` to `[..., out]` through `rank` values; zero at the start."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float, bend: bool) -> None:
        super().__init__()
        # Parameters, not linear layers: those would be filled anew when a model is initialised.
        self.down = nn.Parameter(torch.empty(rank, linear.in_features))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.scale, self.bend = alpha / rank, bend
        self.heard = False
        """Whether the hook was called since the bypass was made."""

    def forward(self, x: Tensor) -> Tensor:
        low = F.linear(x.to(self.down.dtype), self.down)
        return F.linear(F.gelu(low) if self.bend else low, self.up) * self.scale

    def hook(self, linear: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """What the linear layer says, and what this says."""
        self.heard = True
        aside: Tensor = self(inputs[0])
        return output + aside.to(output.dtype)


class Tuning(nn.Module):
    """The bypasses of one encoder."""

    def __init__(self, encoder: AudioEncoder, targets: Sequence[str], rank: int, alpha: float, bend: bool) -> None:
        """
        Args:
            targets: how the names of the linear layers end (`q_proj`, `attn.qkv`).
            bend: adapters instead of LoRA.

        Raises:
            ConfigError: the encoder has no linear layer of one of these names.
        """
        super().__init__()
        self.name, self.targets = encoder.name, tuple(targets)
        linear = {n: m for n, m in encoder.named_modules() if isinstance(m, nn.Linear)}
        self.places = [n for n in linear if any(_ends(n, t) for t in targets)]
        if missing := [t for t in targets if not any(_ends(n, t) for n in self.places)]:
            there = sorted({n.rpartition(".")[2] for n in linear})
            raise ConfigError(
                f"{encoder.name}: no linear layer is called {', '.join(missing)}; tune_layers may name "
                f"{', '.join(there) or 'none: this encoder has none'}"
            )
        if not self.places:
            raise ConfigError(f"{encoder.name}: it names no layers for LoRA; say which in tune_layers")
        made = {n.replace(".", "/"): Bypass(linear[n], rank, alpha, bend) for n in self.places}
        self.bypasses = nn.ModuleDict(made)
        self._tuned: tuple[AudioEncoder, ...] = ()

    def attach(self, encoder: AudioEncoder) -> None:
        """Stand beside this encoder's layers from now on; again for the same encoder changes nothing."""
        if self._tuned and self._tuned[0] is encoder:
            return
        for name, bypass in zip(self.places, self.bypasses.values(), strict=True):
            assert isinstance(bypass, Bypass)
            encoder.get_submodule(name).register_forward_hook(bypass.hook)
        self._tuned = (encoder,)

    def check(self) -> None:
        """After a pass of the encoder. Some attention reads the weights of a layer without calling it.

        Raises:
            ConfigError: no layer of one of the names was called, so that its bypasses are not heard.
        """
        pairs = list(zip(self.places, self.bypasses.values(), strict=True))
        if deaf := [t for t in self.targets if not any(b.heard for n, b in pairs if _ends(n, t))]:
            raise ConfigError(
                f"{self.name}: it reads the weights of {', '.join(deaf)} without calling these layers, so that nothing "
                "beside them would be heard; name others in tune_layers"
            )


def _ends(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")
