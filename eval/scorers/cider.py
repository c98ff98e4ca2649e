"""CIDEr-D of captions, without Java: "CIDEr-D/regex", since the tokens are of a regular expression, not of PTB.

Every group of one to four words weighs as much as it is rare among the references of the set. A caption's weights are
clipped at the reference's, the cosine is taken, and a difference in length costs; ten times the mean over the four
lengths and over the references. A corpus statistic: with other clips the same caption scores otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from alm.errors import RecordError

NAME = "CIDEr-D/regex"
GROUPS, SIGMA, SCALE = 4, 6.0, 10.0
MOST_WORDS = 200
"""Of one caption that are looked at."""
AT_ONCE = 20_000
"""Clips whose references are compared at the same time."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

Array = NDArray[np.float64]


def words_of(caption: str) -> list[str]:
    """Words in lower case, without punctuation.

    >>> words_of("A dog's bark, twice!")
    ['a', "dog's", 'bark', 'twice']
    """
    return _WORD.findall(caption.lower().replace("’", "'"))[:MOST_WORDS]


@dataclass(frozen=True)
class _Texts:
    """Captions as numbers of words, one after another."""

    words: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def owners(self) -> NDArray[np.int64]:
        """Which caption each word belongs to."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def cider_d(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """The score of each candidate, 0 to 10; the corpus score is their mean.

    Raises:
        RecordError: fewer than two clips, or a clip without references.
    """
    if len(candidates) < 2:
        raise RecordError(f"{NAME}: {len(candidates)} clip; rarity among references needs at least 2 clips")
    if empty := [i for i, r in enumerate(references) if not r]:
        raise RecordError(f"{NAME}: clip {empty[0]} has no reference")
    counts = np.array([len(r) for r in references])
    texts = _numbered([*candidates, *(text for group in references for text in group)])
    owner = np.repeat(np.arange(len(candidates)), counts)
    shortness = _length_costs(texts.lengths, owner, len(candidates))
    total = np.zeros(len(owner))
    groups = texts.words
    for length in range(1, GROUPS + 1):
        groups = groups if length == 1 else _longer(groups, texts, length)
        total += _similarities(_counted(groups, texts, length), owner, len(candidates)) * shortness
    sums = np.bincount(owner, weights=total, minlength=len(candidates))
    scores: Array = SCALE / GROUPS * sums / counts
    return scores


def _numbered(captions: Iterable[str]) -> _Texts:
    """Words as the numbers of their first appearance."""
    known: dict[str, int] = {}
    split = [[known.setdefault(w, len(known)) for w in words_of(c)] for c in captions]
    return _Texts(
        np.fromiter((w for words in split for w in words), np.int64), np.array([len(w) for w in split], np.int64)
    )


def _length_costs(lengths: NDArray[np.int64], owner: NDArray[np.int64], clips: int) -> Array:
    apart = (lengths[owner] - lengths[clips:]).astype(np.float64)
    costs: Array = np.exp(-(apart**2) / (2 * SIGMA**2))
    return costs


def _longer(groups: NDArray[np.int64], texts: _Texts, length: int) -> NDArray[np.int64]:
    """Numbers of groups of `length` words from those of groups one word shorter; -1 past a caption's end."""
    ends = np.cumsum(texts.lengths)
    fits = np.arange(len(texts.words)) + length <= np.repeat(ends, texts.lengths)
    following = np.roll(texts.words, 1 - length)
    pairs = groups * (texts.words.max(initial=0) + 1) + following  # exact: fewer groups than 2^31, fewer words, too
    found = np.full(len(groups), -1, np.int64)
    found[fits] = np.unique(pairs[fits], return_inverse=True)[1]
    return found


def _counted(groups: NDArray[np.int64], texts: _Texts, length: int) -> csr_array:
    """How often each group stands in each caption, `[captions, groups]`."""
    there = groups >= 0
    shape = (len(texts.lengths), int(groups.max(initial=0)) + 1)
    ones = np.ones(int(there.sum()))
    return csr_array((ones, (texts.owners[there], groups[there])), shape=shape)


def _similarities(counts: csr_array, owner: NDArray[np.int64], clips: int) -> Array:
    """Clipped cosines of each reference with the candidate of its clip."""
    rarity = np.log(clips) - np.log(np.maximum(1.0, _clips_with(counts[clips:], owner, clips)))
    weighted = counts.multiply(rarity[None]).tocsr()
    norms = np.sqrt(weighted.multiply(weighted).sum(axis=1))
    candidates, references, found = weighted[:clips], weighted[clips:], np.zeros(len(owner))
    for start in range(0, len(owner), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        reference = references[part]
        both = candidates[owner[part]].minimum(reference).multiply(reference)
        found[part] = both.sum(axis=1)
    scale = norms[owner] * norms[clips:]
    np.divide(found, scale, out=found, where=scale > 0)  # where a norm is 0, nothing is shared
    return found


def _clips_with(counts: csr_array, owner: NDArray[np.int64], clips: int) -> Array:
    """In how many clips' references each group stands."""
    where = counts.tocoo()
    pairs = np.sort(owner[where.row] * np.int64(counts.shape[1]) + where.col)  # np.unique hashes these badly
    fresh = np.diff(pairs, prepend=-1) > 0
    return np.bincount(pairs[fresh] % counts.shape[1], minlength=counts.shape[1]).astype(np.float64)
