"""Finding near copies: one small picture per recording, compared by correlation.

The same measure as for the first corpus: a 32 x 16 mel envelope over the whole recording, cosine above 0.985, and
lengths within 5 %. It misses parts, mixes and re-pitched copies; `shared_freesound` catches some of these by credit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

RATE_HZ = 16_000
BANDS = 32
LOW_HZ = 60.0
HIGH_HZ = 7600.0
STEPS = 16
WINDOW = 512
HOP = 256
SAME_COSINE = 0.985
SAME_LENGTH = 0.05


def _mel_bank() -> NDArray[np.float32]:
    """Triangular filters `[bins, bands]` on the mel scale, 60 Hz to 7.6 kHz."""
    low, high = (2595 * float(np.log10(1 + hertz / 700)) for hertz in (LOW_HZ, HIGH_HZ))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    hertz = np.linspace(0, RATE_HZ / 2, WINDOW // 2 + 1)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    bank: NDArray[np.float32] = np.clip(np.minimum(rising, falling), 0, None).astype(np.float32)
    return bank


def picture(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Unit vector `[bands * steps]`: log mel energy over 16 equal parts of the recording, mean removed."""
    sound = soxr.resample(samples, rate, RATE_HZ) if rate != RATE_HZ else samples
    sound = np.pad(sound, (0, max(0, WINDOW + HOP * STEPS - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * np.hanning(WINDOW).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    mel = np.log(power @ _mel_bank() + 1e-6 * power.max() + 1e-12)
    parts = np.stack([part.mean(axis=0) for part in np.array_split(mel, STEPS)])
    parts -= parts.mean()
    unit: NDArray[np.float32] = (parts / (np.linalg.norm(parts) + 1e-9)).astype(np.float32).ravel()
    return unit


@dataclass(frozen=True)
class Pictured:
    """A clip by name with its picture."""

    id: str
    split: str
    seconds: float
    picture: NDArray[np.float32]


def near_copies(some: Sequence[Pictured], others: Sequence[Pictured]) -> list[tuple[int, int]]:
    """Index pairs (in `some`, in `others`) of near copies."""
    if not some or not others:
        return []
    table = np.stack([item.picture for item in others])
    lengths = np.array([item.seconds for item in others])
    pairs: list[tuple[int, int]] = []
    for index, item in enumerate(some):
        close = np.abs(lengths - item.seconds) <= SAME_LENGTH * np.maximum(lengths, item.seconds)
        found = np.flatnonzero(close & (table @ item.picture > SAME_COSINE)).tolist()
        pairs.extend((index, other) for other in found if others[other].id != item.id)
    return pairs


def groups(ids: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Id -> name of its group of near copies (the smallest id in it), only for ids that have a copy."""
    parent = {key: key for key in ids}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for first, second in pairs:
        a, b = sorted((root(first), root(second)))
        parent[b] = a
    members: dict[str, list[str]] = defaultdict(list)
    for key in ids:
        members[root(key)].append(key)
    return {key: name for name, keys in members.items() if len(keys) > 1 for key in keys}
