"""A small reader of captions beside the audio: does the caption belong, and which word comes next (BLIP-2).

BLIP-2 does both inside the Q-Former, with its text branch. Here the reader is a module of its own that is thrown away
after the stage, so that any aligner can be taught, and what is learned about sounds has to be in the audio tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.losses.contrast import NOT_A_NEGATIVE

WIDTH, HEADS, LAYERS = 256, 4, 2
LONGEST = 64
"""Words of a caption that are read."""


class Reader(nn.Module):
    """Layers that read captions over audio tokens: in both directions to match, from left to right to generate."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.words, self.audio = nn.Linear(dim, WIDTH), nn.Linear(dim, WIDTH)
        self.place = nn.Parameter(torch.randn(LONGEST, WIDTH) * 0.02)
        self.start = nn.Parameter(torch.randn(dim) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(LAYERS)
        )
        self.belongs, self.next = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, dim)

    def read(self, tokens: Tensor, words: Tensor, mask: Tensor, forwards: bool) -> Tensor:
        """States `[captions, words, width]` of captions.

        Args:
            tokens: `[captions, tokens, dim]` audio tokens of the recording that each caption is read with.
            words: `[captions, words, dim]` embeddings.
            mask: `[captions, words]` bool, False on padding.
            forwards: a word sees only those before it.
        """
        length = words.shape[1]
        hidden: Tensor = self.words(words) + self.place[:length]
        heard = self.audio(tokens)
        ahead = torch.ones(length, length, dtype=torch.bool, device=words.device).triu(1) if forwards else None
        for layer in self.layers:
            hidden = layer(hidden, heard, tgt_mask=ahead, tgt_key_padding_mask=~mask)
        return hidden

    def matching(self, tokens: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Logit that each caption belongs to its recording: `[captions]`."""
        hidden = self.read(tokens, words, mask, forwards=False)
        weight = mask[..., None].to(hidden.dtype)
        return self.belongs((hidden * weight).sum(1) / weight.sum(1)).squeeze(-1)  # type: ignore[no-any-return]

    def generation(self, tokens: Tensor, ids: Tensor, mask: Tensor, table: Tensor) -> Tensor:
        """Mean cross-entropy of the captions' words.

        Args:
            ids: `[captions, words]` rows of `table`.
            table: `[vocabulary, dim]` embeddings of all words of the captions.
        """
        words = table[ids]
        before = torch.cat([self.start.expand(len(ids), 1, -1), words[:, :-1]], dim=1)
        hidden = self.read(tokens, before, mask, forwards=True)
        logits = self.next(hidden[mask]) @ table.T
        return F.cross_entropy(logits, ids[mask])


def hardest(scores: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """For each row a wrong column, drawn the likelier the more alike; and which rows have one.

    Args:
        scores: `[n, n]` similarities.
        same: `[n, n]` bool, pairs that are no negatives; the diagonal is none either.
    """
    wrong = ~same & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    there = wrong.any(1)
    chances = torch.softmax(scores.detach().masked_fill(~wrong, NOT_A_NEGATIVE)[there], dim=1)
    return torch.multinomial(chances, 1).squeeze(1), there


def matching_loss(reader: Reader, tokens: Tensor, words: Tensor, mask: Tensor, scores: Tensor, same: Tensor) -> Tensor:
    """Right pairs, each recording with a wrong caption, and each caption with a wrong recording."""
    caption, with_caption = hardest(scores, same)
    recording, with_recording = hardest(scores.T, same.T)
    heard = torch.cat([tokens, tokens[with_caption], tokens[recording]])
    read = torch.cat([words, words[caption], words[with_recording]])
    real = torch.cat([mask, mask[caption], mask[with_recording]])
    logits = reader.matching(heard, read, real)
    truth = (torch.arange(len(logits), device=logits.device) < len(tokens)).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, truth)
