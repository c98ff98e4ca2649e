"""Stage `align` with losses of one's own choice (`losses`): captions, not only classes, teach the aligner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from alm.aligner import Heard
from training.align import AlignObjective, Batch, Temperature, centred
from training.augment import add_noise
from training.losses import PAIR_LOSSES
from training.losses.contrast import nearest_token, symmetric, volume
from training.losses.reading import LONGEST, Reader, matching_loss
from training.losses.siamese import Siamese
from training.objective import seed_for

VIEW_NOISE = 0.1
"""Noise of the second view for `slap`, as a part of each feature's spread."""


class Helpers(nn.Module):
    """What learns beside the aligners and is thrown away after the stage."""

    def __init__(self, losses: Sequence[str], aligners: nn.ModuleList, dim: int) -> None:
        super().__init__()
        self.temperature = Temperature()
        self.reader = Reader(dim) if {"matching", "generation"} & set(losses) else None
        self.siamese = nn.ModuleList([Siamese(a, dim) for a in aligners] if "slap" in losses else [])

    def forward(self) -> Tensor:
        """Scale of the similarities."""
        return self.temperature()  # type: ignore[no-any-return]


class Captions:
    """Captions as ids of a small vocabulary, with the language model's embeddings of its words."""

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, embed: nn.Module) -> None:
        rows = [tokenizer(t, add_special_tokens=False, split_special_tokens=True)["input_ids"][:LONGEST] for t in texts]
        known = sorted({i for row in rows for i in row} | {0})
        place = {token: index for index, token in enumerate(known)}
        longest = max((len(r) for r in rows), default=1)
        self.ids = torch.zeros(len(rows), longest, dtype=torch.long)
        self.mask = torch.zeros(len(rows), longest, dtype=torch.bool)
        for index, row in enumerate(rows):
            self.ids[index, : len(row)] = torch.tensor([place[i] for i in row], dtype=torch.long)
            self.mask[index, : len(row)] = True
        weight: Tensor = embed.weight  # type: ignore[assignment]
        self.table = weight[torch.tensor(known, device=weight.device)].detach().float()

    def of(self, captions: Tensor) -> tuple[Tensor, Tensor]:
        """Ids and mask of these captions, as wide as the longest of them, where the table is."""
        rows = captions.cpu()
        longest = max(1, int(self.mask[rows].sum(1).max()))
        return self.ids[rows, :longest].to(self.table.device), self.mask[rows, :longest].to(self.table.device)


class PairObjective(AlignObjective):
    """As [`AlignObjective`], with the losses that the stage names, each with its weight."""

    def __init__(self, *args: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(*args)
        hearing, dim = self.model.model.hearing, self.model.config.text_config.hidden_size  # type: ignore[union-attr]
        torch.manual_seed(seed_for(self.seed, self.stage.name, "helpers"))
        self.helpers = Helpers(tuple(self.stage.losses), hearing.aligners, dim).to(self.model.device)
        self.extra = self.helpers  # type: ignore[assignment]
        texts = sorted(self.captions, key=self.captions.__getitem__)
        self.texts = Captions(texts, tokenizer, self.model.get_input_embeddings())

    def _branch_losses(self, index: int, tokens: Tensor, heard: dict[str, Heard], batch: Batch) -> dict[str, Tensor]:
        weights = self.stage.losses
        found = self._align_loss(tokens, self.targets[index], batch) if set(weights) - set(PAIR_LOSSES) else {}
        told = batch.captions >= 0
        if int(told.sum()) > 1:
            own = {n: Heard(h.hidden[told], h.mask[told], h.frame_seconds) for n, h in heard.items()}
            found |= self._pair_losses(index, tokens[told], own, batch.captions[told], batch.wanted[told])
        return {n: weights[n] * value for n, value in found.items() if n in weights} or {"none": tokens.sum() * 0.0}

    def _pair_losses(
        self, index: int, tokens: Tensor, heard: dict[str, Heard], captions: Tensor, wanted: Tensor
    ) -> dict[str, Tensor]:
        """Losses of one branch over recordings that have captions."""
        targets, chosen = self.targets[index], self.stage.losses
        texts, same = targets.captions[captions], _same(captions, wanted)
        scores = self.extra() * nearest_token(centred(tokens, targets)[1], texts)
        found: dict[str, Tensor] = {}
        if "contrastive" in chosen:
            found["contrastive"] = symmetric(scores, same)
        if "gram" in chosen:
            found["gram"] = symmetric(-self.extra() * volume(texts, self._views(index, heard)), same)
        if self.helpers.reader is not None:
            found |= self._read(self.helpers.reader, tokens, captions, scores, same)
        if "slap" in chosen:
            siamese: Siamese = self.helpers.siamese[index]  # type: ignore[assignment]
            siamese.follow(self.model.model.hearing.aligners[index])
            found["slap"] = siamese(tokens, self._of_branch(index, add_noise(heard, VIEW_NOISE)), texts)
        return found

    def _read(
        self, reader: Reader, tokens: Tensor, captions: Tensor, scores: Tensor, same: Tensor
    ) -> dict[str, Tensor]:
        ids, mask = self.texts.of(captions)
        found: dict[str, Tensor] = {}
        if "matching" in self.stage.losses:
            found["matching"] = matching_loss(reader, tokens, self.texts.table[ids], mask, scores, same)
        if "generation" in self.stage.losses:
            found["generation"] = reader.generation(tokens, ids, mask, self.texts.table)
        return found

    def _of_branch(self, index: int, heard: dict[str, Heard]) -> dict[str, Heard]:
        return {n: heard[n] for n in self.model.model.hearing.branches[index].encoders}

    def _tokens(self, index: int, heard: dict[str, Heard]) -> Tensor:
        return self.model.model.hearing.aligners[index](self._of_branch(index, heard))  # type: ignore[no-any-return]

    def _views(self, index: int, heard: dict[str, Heard]) -> list[Tensor]:
        """What each encoder of a branch says alone, `[n, dim]` unit, the others silent: the modalities of `gram`."""
        own = self._of_branch(index, heard)
        views = []
        for name in own:
            alone = {n: h if n == name else _silent(h) for n, h in own.items()}
            views.append(centred(self._tokens(index, alone), self.targets[index])[0])
        return views


def _silent(heard: Heard) -> Heard:
    return Heard(torch.zeros_like(heard.hidden), torch.zeros_like(heard.mask), heard.frame_seconds)


def _same(captions: Tensor, wanted: Tensor) -> Tensor:
    """`[n, n]` bool: pairs that share a class or a caption and are no negatives of each other."""
    alike = (wanted @ wanted.T > 0) | (captions[:, None] == captions[None])
    return alike & ~torch.eye(len(captions), dtype=torch.bool, device=captions.device)


