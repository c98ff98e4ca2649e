"""Recovers the names of aiSFX's classes by scoring labelled clips.

    python -m bench.ucs_names STORE [--clips 40]

Assumption: a head's classes are some of the 82 UCS categories in alphabetical order. Labelled clips give each pair of
class and category a score (bench/ucs_classes.json says which class of the store belongs to which category); the
assignment is the increasing one with the largest sum. Three checks: how much worse the best assignment with another
name at each place is (its margin), whether two halves of the packages name the same, and what shuffled alphabets reach.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alm import encoders, weights
from alm.audio import load_audio
from alm.encoders.ucs import CATEGORIES

_HEARD_SECONDS = 10.0
_MARGIN = 0.5
Matrix = NDArray[Any]


def chosen(store: Path, most: int) -> list[dict[str, Any]]:
    """At most so many clips of each category, in an order fixed by a seed."""
    table = json.loads((Path(__file__).parent / "ucs_classes.json").read_text("utf-8"))
    category = {name: CATEGORIES.index(c) for c, names in table.items() for name in names}
    rows = [json.loads(line) for line in (store / "clips.jsonl").read_text("utf-8").splitlines()]
    random.Random(0).shuffle(rows)
    seen: Counter[int] = Counter()
    kept = []
    for row in rows:
        found = next((category[c] for c in row["classes"] if c in category), None)
        if found is not None and seen[found] < most:
            seen[found] += 1
            kept.append({**row, "category": found})
    return kept


def logits(store: Path, rows: list[dict[str, Any]]) -> dict[str, Matrix]:
    """Each library's scores `[clips, classes]`, every class with mean 0 and spread 1."""
    folder = weights.ensure("tiny").aisfx
    encoder, heads = encoders.load("aisfx", folder), encoders.load_heads(folder)
    scores: dict[str, list[Matrix]] = {name: [] for name in heads.libraries}
    for row in rows:
        recording = load_audio(store / row["audio"]).segment(0, _HEARD_SECONDS)
        spectrogram = torch.from_numpy(encoder.front_end(recording.resampled(encoder.sample_rate)))[None]
        with torch.inference_mode():
            heard = encoder(spectrogram, torch.ones(spectrogram.shape[:2], dtype=torch.bool), [-1])
            for name, values in heads(heard).items():
                scores[name].append(values[0].numpy())
    stacked = {name: np.stack(values) for name, values in scores.items()}
    return {name: (s - s.mean(0)) / s.std(0) for name, s in stacked.items()}


def fit(scores: Matrix, category: Matrix) -> Matrix:
    """How well each class fits each category: `[classes, categories]`; few clips count less, none count nothing."""
    out = np.zeros((scores.shape[1], len(CATEGORIES)))
    for index, count in Counter(category.tolist()).items():
        if count > 1:
            out[:, index] = scores[category == index].mean(0) * min(1.0, (count / 10) ** 0.5)
    return out


def best_through(fits: Matrix) -> Matrix:
    """The largest sum of an increasing assignment that gives class i category j: `[classes, categories]`."""
    n, m = fits.shape
    before, after = np.full((n + 1, m + 1), -np.inf), np.full((n + 2, m + 2), -np.inf)
    before[0], after[n + 1] = 0.0, 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            before[i, j] = max(before[i, j - 1], before[i - 1, j - 1] + fits[i - 1, j - 1])
    for i in range(n, 0, -1):
        for j in range(m, 0, -1):
            after[i, j] = max(after[i, j + 1], after[i + 1, j + 1] + fits[i - 1, j - 1])
    return before[:n, :m] + fits + after[2 : n + 2, 2 : m + 2]


def named(fits: Matrix) -> tuple[Matrix, Matrix]:
    """Each class's category and its margin over the best assignment that gives it another."""
    sums = best_through(fits)
    ordered = np.sort(sums, axis=1)
    return sums.argmax(1), ordered[:, -1] - ordered[:, -2]


def report(name: str, scores: Matrix, category: Matrix, half: Matrix) -> list[str]:
    fits = fit(scores, category)
    index, margin = named(fits)
    parts = [named(fit(scores[half == h], category[half == h])) for h in (0, 1)]
    both = (parts[0][1] >= _MARGIN) & (parts[1][1] >= _MARGIN)
    agree = int((parts[0][0] == parts[1][0])[both].sum())
    shuffles = np.random.default_rng(0)
    chance = max(best_through(fits[:, shuffles.permutation(len(CATEGORIES))]).max() for _ in range(20))
    absent = [c for i, c in enumerate(CATEGORIES) if i not in index]
    return [
        f"{name}: sum {best_through(fits).max():.1f}, best of 20 shuffled alphabets {chance:.1f}; "
        f"named {int((margin >= _MARGIN).sum())} of {len(index)}; halves agree on {agree} of {int(both.sum())}",
        f"  absent {absent}; unproven {[int(i) for i in np.flatnonzero(margin < _MARGIN)]}",
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--clips", type=int, default=40)
    given = parser.parse_args(arguments)
    rows = chosen(given.store, given.clips)
    category = np.array([row["category"] for row in rows])
    half = np.array([zlib.crc32(row["package"].encode()) % 2 for row in rows])
    lines = [f"{len(rows)} clips of {len(set(category.tolist()))} categories"]
    for name, scores in logits(given.store, rows).items():
        if scores.shape[1] > 60:  # the other five libraries have categories of their own
            lines += report(name, scores, category, half)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
