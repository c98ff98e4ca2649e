"""Random numbers that depend on nothing but what they are for."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def rng_for(*key: object) -> random.Random:
    """Draws that depend on `key` alone, on every machine."""
    return random.Random("\x1f".join(map(str, key)))


def noise_rng(*key: object) -> np.random.Generator:
    """The same for arrays of numbers."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
