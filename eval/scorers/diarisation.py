"""Who spoke when: the diarisation error rate, with the naming of speakers that is kindest to the answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from eval.scorers.events import Event


def diarisation_parts(gold: Sequence[Event], said: Sequence[Event], collar_seconds: float = 0.0) -> dict[str, float]:
    """Seconds of speech, missed, said too much and given to the wrong speaker; the label is the speaker.

    Overlapping speech counts as often as there are speakers. Time within the collar of an edge of the reference is
    left out.

    >>> parts = diarisation_parts([Event("ann", 0, 4), Event("bob", 4, 8)], [Event("1", 0, 5), Event("2", 5, 8)])
    >>> parts["confused"], parts["speech"]
    (1.0, 8.0)
    """
    names, guesses = sorted({e.label for e in gold}), sorted({e.label for e in said})
    edges = sorted({x for e in (*gold, *said) for x in (e.start, e.end)} | _collar_edges(gold, collar_seconds))
    shared, found = np.zeros((len(names), len(guesses))), dict.fromkeys(("speech", "missed", "extra", "confused"), 0.0)
    for start, end in pairwise(edges):
        middle = (start + end) / 2
        if any(abs(middle - x) < collar_seconds for e in gold for x in (e.start, e.end)):
            continue
        ours, theirs = _speaking(gold, middle), _speaking(said, middle)
        found["speech"] += (end - start) * len(ours)
        found["missed"] += (end - start) * max(0, len(ours) - len(theirs))
        found["extra"] += (end - start) * max(0, len(theirs) - len(ours))
        found["confused"] += (end - start) * min(len(ours), len(theirs))
        for name in ours:
            for guess in theirs:
                shared[names.index(name), guesses.index(guess)] += end - start
    rows, columns = linear_sum_assignment(-shared)
    found["confused"] = max(0.0, found["confused"] - float(shared[rows, columns].sum()))
    return found


def _collar_edges(gold: Sequence[Event], collar: float) -> set[float]:
    return {x + side * collar for e in gold for x in (e.start, e.end) for side in (-1, 1)} if collar else set()


def _speaking(events: Sequence[Event], moment: float) -> set[str]:
    return {e.label for e in events if e.start <= moment < e.end}
