"""What a trained model says to questions of the test split.

Where a row tells which other answers its question allows (yes or no, options, the first or second recording), an answer
is right when the true one is the likeliest of them, per letter. Elsewhere it is right when its every token is the
model's first choice after the true tokens before it, which is so exactly when greedy decoding writes the true answer.
Nats a token are those of the true answer; where that is cut at the word that decides, the end of the turn is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alm.modeling import AlmForConditionalGeneration
from training.atomic import whole_file
from training.config import EvidenceConfig
from training.groups import evaluating
from training.language import BARE, token_losses
from training.objective import rng_for
from training.placing import moved
from training.rows import Collator, Row, by_task

ROWS_AT_ONCE = {"cpu": 12, "cuda": 48}


def chosen_rows(rows: Sequence[Row], tasks: Sequence[str], most: int) -> list[Row]:
    """At most `most` test rows of each task, the same ones every time."""
    test = [r for r in rows if r.split == "test"]
    found: list[Row] = []
    for task, own in by_task(test).items():
        if not tasks or task in tasks:
            order = rng_for("study", task).permutation(len(own))[:most]
            found += [test[own[int(i)]] for i in sorted(order)]
    return found


@torch.no_grad()
def score(
    model: AlmForConditionalGeneration, collator: Collator, rows: Sequence[Row], evidence: EvidenceConfig = BARE
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Of every row whether its answer is right `[rows]`, and nats per token of the true answer `[rows]`."""
    right, nats = np.zeros(len(rows), bool), np.zeros(len(rows), np.float32)
    order = sorted(range(len(rows)), key=lambda i: rows[i].length)
    size = ROWS_AT_ONCE.get(model.device.type, 12)
    with evaluating(model):
        for first in range(0, len(order), size):
            own = order[first : first + size]
            right[own], nats[own] = _asked(model, collator, [rows[i] for i in own], evidence)
    return right, nats


def _asked(
    model: AlmForConditionalGeneration, collator: Collator, rows: Sequence[Row], evidence: EvidenceConfig
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """`score` of a few rows. All wordings of one row follow one reading of its recordings, unless the aligner asks."""
    bundles = [[_answered(row, text) for text in (row.rivals or (row.messages[-1]["content"],))] for row in rows]
    asked = [[b] for bundle in bundles for b in bundle] if collator.question_aware else bundles
    batch = collator.batch(asked, evidence, rng_for("study"))
    each, where, hit = (t.cpu() for t in token_losses(model, moved(batch, model.device)))
    total = sum(len(b) for b in bundles)
    counts = torch.bincount(where, minlength=total).clamp_min(1)
    wrong = torch.bincount(where, (~hit).float(), minlength=total)
    lost = torch.bincount(where, _without_end(each.float(), where), minlength=total)
    whole = torch.bincount(where, each.float(), minlength=total)
    right, nats, place = [], [], 0
    for row, bundle in zip(rows, bundles, strict=True):
        here = slice(place, place + len(bundle))
        letters = torch.tensor([len(t) for t in row.rivals] or [1])
        per_letter = lost[here] / letters
        right.append(bool(per_letter.argmin() == 0) if row.rivals else bool(wrong[place] == 0))
        # An answer that is cut where it is decided does not end there.
        own, tokens = (lost[place], counts[place] - 1) if row.rivals else (whole[place], counts[place])
        nats.append(float(own / tokens.clamp_min(1)))
        place += len(bundle)
    return np.array(right), np.array(nats, np.float32)


def _answered(row: Row, text: str) -> Row:
    return replace(row, messages=(*row.messages[:-1], {**row.messages[-1], "content": text}))


def _without_end(each: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Losses without those of the tokens that end a turn: whether an answer goes on is not what is asked."""
    ends = torch.nn.functional.pad(where[1:] != where[:-1], (0, 1), value=True)  # tokens of a row follow each other
    return each.masked_fill(ends, 0.0)


def save_scores(path: Path, right: NDArray[np.bool_], nats: NDArray[np.float32], facts: dict[str, Any]) -> None:
    """One compressed file of arrays."""
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, right=np.packbits(right), nats=nats.astype(np.float16), **facts)
