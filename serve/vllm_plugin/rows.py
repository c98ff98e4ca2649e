"""Audio in a flat step of vLLM: which rows hold it, and what each layer makes of them.

vLLM gives every layer the same rows. So audio keeps rows of its own in all layers, and a layer that the audio enters
gets them replaced: once where audio travels on in the residual stream, before every layer where it only lends keys and
values (what such a row was in the layer before is thrown away). Layers below see a placeholder, or nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alm.fusion import TEXT, FusedDecoder, Plan


class StepRows(nn.Module):
    """The audio of one step, in buffers that stay where they are from step to step.

    Args:
        most: rows of the largest step.
        dim: width of the language model.
    """

    tokens: Tensor
    """[most, dim] normalised audio tokens"""
    route: Tensor
    """[most] index into `Plan.routes`; `TEXT` where there is text"""

    def __init__(self, most: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("tokens", torch.zeros(most, dim), persistent=False)
        self.register_buffer("route", torch.full((most,), TEXT), persistent=False)
        self.any_audio = False

    def lay_out(self, is_audio: Tensor | None, packed: list[Tensor]) -> None:
        """Take in the audio of the next step.

        Args:
            is_audio: `[rows]` bool.
            packed: audio tokens with their routes, as [`pack`] makes them, in order; together one for each audio row.
        """
        self.route.fill_(TEXT)
        self.any_audio = bool(packed)
        if is_audio is None or not packed:
            return
        places = is_audio.nonzero()[:, 0].to(self.route.device)
        flat = torch.cat(packed).to(self.tokens.device)
        self.tokens[places] = flat[:, :-1].to(self.tokens.dtype)
        self.route[places] = flat[:, -1].round().to(self.route.dtype)

    def enter(
        self, fusion: FusedDecoder, layer: int, hidden: Tensor, residual: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The rows before a layer: hidden states and residual stream, whose sum is what the layer reads.

        The sum of a replaced row is the audio as this layer expects it; a stale residual would drown it.
        """
        if not self.any_audio:
            return hidden, residual
        route = self.route[: len(hidden)]
        if layer == 0 and fusion.placeholder is not None:
            hidden = torch.where(among(waiting(fusion.plan, 0), route), fusion.placeholder.to(hidden.dtype), hidden)
        now = among(entering(fusion.plan, layer), route)
        audio = fusion.entry(self.tokens[: len(hidden)], layer).to(hidden.dtype)
        if residual is not None:
            residual = torch.where(now, torch.zeros_like(residual), residual)
        return torch.where(now, audio, hidden), residual

    def absent(self, plan: Plan, layer: int, count: int) -> Tensor:
        """`[count, 1]` which rows hold audio that this layer must not see."""
        return among(waiting(plan, layer), self.route[:count])


def pack(tokens: Tensor, plan: Plan) -> Tensor:
    """Audio tokens `[n, dim]` of whole windows with the route of each in one more column."""
    window = torch.tensor(plan.window, device=tokens.device, dtype=tokens.dtype)
    return torch.cat([tokens, window.repeat(len(tokens) // len(window))[:, None]], dim=1)


def entering(plan: Plan, layer: int) -> list[int]:
    """Routes whose rows are set before this layer."""
    return [
        i
        for i, r in enumerate(plan.routes)
        if r.start_layer == layer or (r.way == "keys" and r.start_layer < layer)
    ]


def waiting(plan: Plan, layer: int) -> list[int]:
    """Routes that enter at a later layer."""
    return [i for i, r in enumerate(plan.routes) if r.start_layer > layer]


def among(routes: list[int], route: Tensor) -> Tensor:
    """`[rows, 1]` bool: rows of one of these routes."""
    found = torch.zeros_like(route, dtype=torch.bool)
    for index in routes:
        found |= route == index
    return found[:, None]
