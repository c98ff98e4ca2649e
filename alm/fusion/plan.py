"""From the configured branches to a plan: which audio token takes which route, and which routes each layer meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alm.configuration import AlmConfig, BranchConfig

Way = Literal["stream", "keys", "cross"]
"""`stream`: travels in the residual stream; `keys`: keys and values only; `cross`: gated cross-attention only."""


@dataclass(frozen=True)
class Route:
    """How one audio token reaches the decoder."""

    way: Way
    start_layer: int


@dataclass(frozen=True)
class Group:
    """Consecutive decoder layers that meet the same routes (indices into `Plan.routes`)."""

    first: int
    end: int
    """One past the last layer."""
    stream: frozenset[int]
    keys: frozenset[int]
    fresh: frozenset[int]
    """Stream routes that enter at `first`."""
    waiting: frozenset[int]
    """Routes that enter at a later layer (they may be shown as placeholders)."""


@dataclass(frozen=True)
class Plan:
    """The routes of the tokens of one window, and the groups of layers."""

    routes: tuple[Route, ...]
    window: tuple[int, ...]
    """Route index of each token of a window, in order."""
    groups: tuple[Group, ...]
    cross_layers: dict[int, frozenset[int]]
    """Layer before which a gated cross-attention block runs -> routes it attends to."""
    placeholder: bool

    @classmethod
    def of(cls, config: AlmConfig) -> Plan:
        per_token = [route for branch in config.branch_configs for route in _branch_routes(branch)]
        routes = tuple(dict.fromkeys(per_token))
        layers = config.text_config.num_hidden_layers  # type: ignore[union-attr]
        return cls(
            routes=routes,
            window=tuple(routes.index(r) for r in per_token),
            groups=_groups(routes, layers),
            cross_layers=_cross_layers(config.branch_configs, routes, layers),
            placeholder=config.early_audio == "placeholder",
        )


def _branch_routes(branch: BranchConfig) -> list[Route]:
    count, fusion = branch.tokens_per_window, branch.fusion
    if fusion.scheme in ("prefix", "delayed"):
        return [Route("stream", fusion.start_layer)] * count
    if fusion.scheme == "keys_values":
        return [Route("keys", fusion.start_layer)] * count
    if fusion.scheme == "cross_attention":
        return [Route("cross", fusion.start_layer)] * count
    summary = min(fusion.summary_tokens, count)
    keys = Route("keys", fusion.start_layer)
    return [Route("stream", fusion.start_layer)] * summary + [keys] * (count - summary)


def _groups(routes: tuple[Route, ...], layers: int) -> tuple[Group, ...]:
    entering = [(i, r) for i, r in enumerate(routes) if r.way != "cross"]
    bounds = sorted({0, *(r.start_layer for _, r in entering)})
    groups = []
    for first, end in zip(bounds, [*bounds[1:], layers], strict=True):
        active = {i: r for i, r in entering if r.start_layer <= first}
        groups.append(
            Group(
                first=first,
                end=end,
                stream=frozenset(i for i, r in active.items() if r.way == "stream"),
                keys=frozenset(i for i, r in active.items() if r.way == "keys"),
                fresh=frozenset(i for i, r in active.items() if r.way == "stream" and r.start_layer == first),
                waiting=frozenset(i for i, r in entering if r.start_layer > first),
            )
        )
    return tuple(groups)


def _cross_layers(
    branches: tuple[BranchConfig, ...], routes: tuple[Route, ...], layers: int
) -> dict[int, frozenset[int]]:
    found: dict[int, set[int]] = {}
    for branch in branches:
        if branch.fusion.scheme == "cross_attention":
            route = routes.index(Route("cross", branch.fusion.start_layer))
            for layer in range(branch.fusion.start_layer, layers, branch.fusion.cross_every):
                found.setdefault(layer, set()).add(route)
    return {layer: frozenset(which) for layer, which in sorted(found.items())}
