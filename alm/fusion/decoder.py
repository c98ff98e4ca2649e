"""The layer loop: stock decoder layers, with audio let in where the plan says.

No layer is patched. Text below the entry of the audio is packed without it; keys-and-values audio is given to a
layer's attention but never to its feed-forward block; everything else is the language model's own code.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from alm.configuration import AlmConfig
from alm.fusion.cache import FusionCache
from alm.fusion.cross_attention import GatedCrossAttention
from alm.fusion.entry import Entry
from alm.fusion.keys_only import KeysOnly, is_table
from alm.fusion.layout import Rows
from alm.fusion.plan import Group, Plan

TEXT = -1
"""Route of a position that is not audio."""


@dataclass(frozen=True)
class AudioRows:
    """Audio of one call, laid out like `input_ids`."""

    tokens: Tensor
    """[batch, time, dim] normalised audio tokens; zero where there is text."""
    route: Tensor
    """[batch, time] index into `Plan.routes`; `TEXT` where there is text."""


@dataclass(frozen=True)
class _Call:
    """What every layer of one call shares."""

    model: nn.Module
    embeds: Tensor
    real: Tensor
    positions: Tensor
    places: Tensor
    audio: AudioRows
    cache: FusionCache | None
    options: dict[str, Any]


class FusedDecoder(nn.Module):
    """Runs a language model's layers over text and audio; holds the few weights that fusion itself has."""

    def __init__(self, config: AlmConfig) -> None:
        super().__init__()
        text = config.text_config
        dim, layers = text.hidden_size, text.num_hidden_layers  # type: ignore[union-attr]
        self.plan = Plan.of(config)
        self.entry = Entry(layers, dim)
        self.placeholder = nn.Parameter(torch.zeros(dim)) if self.plan.placeholder else None
        heads = text.num_attention_heads  # type: ignore[union-attr]
        self.cross = nn.ModuleDict({str(i): GatedCrossAttention(dim, heads) for i in self.plan.cross_layers})

    def forward(
        self,
        model: nn.Module,
        embeds: Tensor,
        real: Tensor,
        positions: Tensor,
        audio: AudioRows,
        cache: FusionCache | None = None,
        **options: Any,
    ) -> Tensor:
        """
        Args:
            model: the language model without its head (`LlamaModel` and its like).
            embeds: `[batch, time, dim]` text embeddings (audio positions are ignored).
            real: `[batch, time]` bool, False on padding.
            positions: `[batch, time]` rotary positions.
            audio: the audio tokens of this call.
            cache: what earlier calls left; extended in place.

        Returns:
            `[batch, time, dim]` after the final norm; rows that no layer carried (keys-only audio, padding) are not
            meaningful.
        """
        seen = cache.positions if cache is not None else 0
        places = torch.arange(seen, seen + embeds.shape[1], device=embeds.device).expand(embeds.shape[0], -1)
        call = _Call(model, embeds, real, positions, places, audio, cache, options)
        cross = self._meet_cross_audio(call)
        full = embeds
        for group in self.plan.groups:
            full = self._run_group(call, group, full, cross)
        if cache is not None:
            cache.positions += embeds.shape[1]
        return model.norm(full)  # type: ignore[operator, no-any-return]

    def _flags(self, which: frozenset[int], text: bool, device: torch.device) -> Tensor:
        """[routes + 1] bool; the last entry answers for text, whose route is -1."""
        return torch.tensor([i in which for i in range(len(self.plan.routes))] + [text], device=device)

    def _run_group(self, call: _Call, group: Group, full: Tensor, cross: tuple[Tensor, Tensor] | None) -> Tensor:
        route, device = call.audio.route, full.device
        carried = group.stream | group.waiting if self.plan.placeholder else group.stream
        stream = call.real & self._flags(carried, True, device)[route]
        keys = call.real & self._flags(group.keys, False, device)[route]
        full = self._enter(call, group, full)
        rows, all_rows = Rows.of(stream), Rows.of(stream | keys)
        hidden = rows.take(full)
        places = rows.take(call.places)
        only_keys = KeysOnly.of(rows, all_rows, stream, keys, call.audio.tokens) if bool(keys.any()) else None
        context = self._context(call, group, all_rows, needs_mask=only_keys is not None)
        texts = context.at(only_keys.places) if only_keys is not None else context
        for index in range(group.first, group.end):
            if cross is not None and str(index) in self.cross:
                hidden = self.cross[str(index)](hidden, places, *cross)
            layer: nn.Module = call.model.get_submodule(f"layers.{index}")
            given = context.of_layer(index)
            if only_keys is None:
                hidden = layer(hidden, **given)
            else:
                audio = self.entry(only_keys.tokens, index)
                hidden = only_keys.run(layer, hidden, audio, given, texts.of_layer(index))
        return rows.put(hidden, full)

    def _enter(self, call: _Call, group: Group, full: Tensor) -> Tensor:
        """Set the rows of the audio that enters here, and of placeholders at the very start."""
        route, tokens = call.audio.route, call.audio.tokens
        if self.placeholder is not None and group.first == 0 and group.waiting:
            waiting = self._flags(group.waiting, False, full.device)[route][..., None]
            full = torch.where(waiting, self.placeholder.to(full.dtype), full)
        if group.fresh:
            fresh = self._flags(group.fresh, False, full.device)[route][..., None]
            full = torch.where(fresh, self.entry(tokens, group.first).to(full.dtype), full)
        return full

    def _context(self, call: _Call, group: Group, rows: Rows, needs_mask: bool) -> _Context:
        valid: Tensor = rows.valid
        if call.cache is not None:
            valid = call.cache.record(group.first, rows.keep, rows.valid)
        packed = rows.take(call.embeds)
        positions = rows.take(call.positions)
        kinds = _layer_kinds(call.model.config)
        used = set(kinds[group.first : group.end])
        masks = {k: _mask(k, call.model.config, packed, valid, call.cache, group.first, needs_mask) for k in used}
        rotary = {k: _rotary(call.model, packed, positions, k) for k in used}
        return _Context(kinds, masks, rotary, positions, call.cache, call.options)

    def _meet_cross_audio(self, call: _Call) -> tuple[Tensor, Tensor] | None:
        """Cross-attended audio of this call and of the calls before: tokens and their positions."""
        if not self.plan.cross_layers:
            return None
        which = frozenset(i for i, r in enumerate(self.plan.routes) if r.way == "cross")
        rows = Rows.of(call.real & self._flags(which, False, call.embeds.device)[call.audio.route])
        tokens = rows.take(call.audio.tokens)
        places = rows.take(call.places).masked_fill(~rows.valid, -1)
        cache = call.cache
        if cache is not None:
            if cache.audio_tokens is not None and cache.audio_places is not None:
                tokens = torch.cat([cache.audio_tokens, tokens], dim=1)
                places = torch.cat([cache.audio_places, places], dim=1)
            cache.audio_tokens, cache.audio_places = tokens, places
        return tokens, places


@dataclass(frozen=True)
class _Context:
    kinds: list[str]
    masks: dict[str, Any]
    rotary: dict[str, Any]
    positions: Tensor
    cache: FusionCache | None
    options: dict[str, Any]

    def at(self, places: Tensor) -> _Context:
        """For the rows at `places` `[batch, rows]` alone, whose keys are all rows'; kernels' own masks stay."""
        masks = {
            kind: mask.take_along_dim(places[:, None, :, None], 2) if is_table(mask) else mask
            for kind, mask in self.masks.items()
        }
        rotary = {
            kind: tuple(table.take_along_dim(places[..., None], 1) for table in tables)
            for kind, tables in self.rotary.items()
        }
        return replace(self, masks=masks, rotary=rotary, positions=self.positions.take_along_dim(places, 1))

    def of_layer(self, index: int) -> dict[str, Any]:
        kind = self.kinds[index]
        return {
            "attention_mask": self.masks[kind],
            "position_embeddings": self.rotary[kind],
            "position_ids": self.positions,
            "past_key_values": self.cache,
            "use_cache": self.cache is not None,
            **self.options,
        }


def _layer_kinds(config: Any) -> list[str]:
    """Attention kind of each layer; Mistral has one window for all layers instead of a list."""
    if kinds := getattr(config, "layer_types", None):
        return list(kinds)
    sliding = config.model_type == "mistral" and getattr(config, "sliding_window", None)
    return ["sliding_attention" if sliding else "full_attention"] * config.num_hidden_layers


def _mask(
    kind: str, config: Any, packed: Tensor, valid: Tensor, cache: FusionCache | None, layer: int, needed: bool
) -> Tensor | None:
    """Without `needed` a plain causal mask may be left to the kernel."""
    make = create_sliding_window_causal_mask if kind == "sliding_attention" else create_causal_mask
    return make(config, packed, valid, cache, layer_idx=layer, allow_is_causal_skip=not needed)  # type: ignore[no-any-return]


def _rotary(model: Any, packed: Tensor, positions: Tensor, kind: str) -> Any:
    """Cosine and sine tables; Gemma 3 keeps one pair per attention kind."""
    if "layer_type" in inspect.signature(model.rotary_emb.forward).parameters:
        return model.rotary_emb(packed, positions, kind)
    return model.rotary_emb(packed, positions)
