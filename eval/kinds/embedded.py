"""How near an answer is to each label or option by sentence embedding: a stage of its own, kept like a judge's grades.

Scoring reads what is kept here, so that no model is loaded for it. The embedder is named in every record: another
embedder orders models differently, and figures of two embedders do not belong into one column.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval.harness.answers import Answered, Judged
from eval.harness.items import ChoiceWant, Item, LabelWant
from eval.kinds.arrived import arrived
from eval.kinds.base import Surroundings
from eval.kinds.caption import SOUND, caption_in

Way = Literal["bare", "embedding", "ltu"]
"""*bare*: without what leads to it (as a whole, "The recording has bubbles in water" is nearest to "a recorder");
*embedding*: as it stands; *ltu*: in LTU's form."""
Embed = Callable[[Sequence[str]], Any]
"""Unit vectors `[texts, dim]`, such as `eval.embedding.Embedder`."""

BATCH, DIGITS = 512, 7
_LEADS = re.compile(
    rf"^(?:{SOUND} (?:has|holds)|(?:this|that|it) is(?: the sound of)?|(?:this|it) sounds like|there (?:is|are)) ",
    re.IGNORECASE,
)
"""Beside the lead-ins of captions."""


def ways_of(item: Item) -> tuple[Way, ...]:
    """By which ways an item's answer is to be compared; none for most items."""
    if isinstance(item.want, LabelWant) and item.want.mode == "open":
        return ("bare", "ltu") if item.official == "ltu-closed" else ("bare",)
    if isinstance(item.want, ChoiceWant) and item.official == "mmau-pro":
        return ("embedding",)
    return ()


def similarities(
    asked: Iterable[tuple[Item, Answered]], around: Surroundings, embed: Embed, name: str
) -> Iterator[Judged]:
    """Cosines of each answer with the labels or options of its item, for every way of the item.

    Empty answers and refusals are left out by our way, and keep a place by LTU's, which knows no abstention.
    `name` is the embedder's, with its revision.
    """
    near = _Nearness(around, embed)
    jobs = ((i, a, way) for i, a in asked for way in ways_of(i) if compared(a, way))
    while batch := list(itertools.islice(jobs, BATCH)):
        vectors = near.vectors([said(a, way) for _, a, way in batch])
        for (item, answered, way), vector in zip(batch, vectors, strict=True):
            cosines = near.cosines(vector, item, way)
            raw = json.dumps([round(float(c), DIGITS) for c in cosines])
            yield Judged(id=item.id, key=answered.key, rater=rater(way, name), raw=raw, grade=float(max(cosines)))


def said(answered: Answered, way: Way) -> str:
    """What of an answer is embedded."""
    text = arrived(answered).text
    if way == "embedding":
        return text
    return bare(text) if way == "bare" else ltu_phrase(text)


def bare(text: str) -> str:
    """The first paragraph of an answer without what leads to the sound.

    >>> bare("The recording has a machine running."), bare("This is the sound of rain."), bare("A recording machine.")
    ('a machine running.', 'rain.', 'A recording machine.')
    """
    first, _ = caption_in(text)
    return _LEADS.sub("", first) or first


def ltu_phrase(text: str) -> str:
    """LTU's form of an answer: what follows the last colon, lower case, as a sound.

    >>> ltu_phrase("Audio caption: A Dog barks.")
    'sound of a dog barks.'
    """
    return "sound of " + text.split(":")[-1].lstrip().lower()


def found(judged: Sequence[Judged], way: Way) -> list[float] | None:
    """The cosines kept for one answer, in the order of labels or options."""
    raw = next((j.raw for j in judged if j.rater.startswith(f"{way}:")), None)
    return None if raw is None else [float(c) for c in json.loads(raw)]


def rater(way: Way, name: str) -> str:
    """What a record of this way by this embedder is called."""
    return f"{way}:{name}"


def compared(answered: Answered, way: Way) -> bool:
    """Whether there is something to compare."""
    status = arrived(answered).status
    return status is None or (way == "ltu" and status in ("empty", "refused"))


class _Nearness:
    """Vectors of labels, made once for a set and a way."""

    def __init__(self, around: Surroundings, embed: Embed) -> None:
        self.around, self.embed = around, embed

    @cached_property
    def _kept(self) -> dict[tuple[str, ...], tuple[NDArray[np.float32], NDArray[np.int64]]]:
        return {}

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(self.embed(texts), dtype=np.float32)

    def cosines(self, vector: NDArray[np.float32], item: Item, way: Way) -> NDArray[np.float32]:
        """With each label or option: that of its nearest wording."""
        table, starts = self._table(item, way)
        return np.asarray(np.maximum.reduceat(table @ vector, starts))

    def _table(self, item: Item, way: Way) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        want = item.want
        if isinstance(want, ChoiceWant):  # options differ from item to item: nothing is kept
            return self.vectors(want.choices), np.arange(len(want.choices))
        assert isinstance(want, LabelWant)
        key = (want.label_set, way)
        if key not in self._kept:
            wordings = self._wordings(want.label_set, way)
            starts = np.cumsum([0, *(len(w) for w in wordings[:-1])])
            self._kept[key] = self.vectors([t for w in wordings for t in w]), starts
        return self._kept[key]

    def _wordings(self, label_set: str, way: Way) -> list[tuple[str, ...]]:
        labels = self.around.label_sets[label_set].labels
        if way == "ltu":
            return [("sound of " + name.replace("_", " ").lower(),) for name in labels]
        return [(name.replace("_", " "), *other) for name, other in labels.items()]
