"""Recordings with one or several labels of a closed set, asked in three ways: listed, open, by likelihood.

The four columns that reports show come from them: *listed* from the first, *embedded* and *LTU's steps* from a caption,
*log-likelihood* from the third.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Literal

from eval.benchmarks import prompts
from eval.harness.items import Clip, Item, LabelWant
from eval.kinds.base import LabelSet

Mode = Literal["listed", "open", "loglik"]
MODES: tuple[Mode, ...] = ("listed", "open", "loglik")


@dataclass(frozen=True)
class Labelled:
    """One recording with what is heard in it."""

    path: str
    labels: tuple[str, ...]
    """Names as in the label set."""
    group: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    """The path where it is not given."""


@dataclass(frozen=True)
class Asking:
    """How a closed set is asked about."""

    question: str
    official: str
    multi: bool = False
    modes: tuple[Mode, ...] = MODES

    @property
    def prompts(self) -> dict[str, Template]:
        """Templates by mode."""
        listed = prompts.LISTED_MULTI if self.multi else prompts.LISTED
        every = {"listed": listed, "open": prompts.DESCRIBE, "loglik": prompts.LABEL}
        return {mode: every[mode] for mode in self.modes}


def plain(label: str) -> str:
    """A label as people write it.

    >>> plain("Accelerating_and_revving"), plain("bird chirping_ tweeting")
    ('Accelerating and revving', 'bird chirping, tweeting')
    """
    return " ".join(label.replace("_ ", ", ").replace("_", " ").split())


def label_set(name: str, labels: Iterable[str], wordings: Mapping[str, tuple[str, ...]] | None = None) -> LabelSet:
    """Labels as people write them; other wordings are the official spelling and those that are given."""
    found: dict[str, tuple[str, ...]] = {}
    for label in labels:
        name_of = plain(label)
        more = (wordings or {}).get(name_of, ())
        found[name_of] = tuple(dict.fromkeys(w for w in (label, *more) if w != name_of))
    return LabelSet(name, found)


def labelled_items(rows: Iterable[Labelled], labels: LabelSet, asking: Asking) -> Iterator[Item]:
    """The label set's items, one a mode for each recording."""
    shown = "; ".join(labels.labels)
    for row in rows:
        for mode in asking.modes:
            yield Item(
                id=f"{row.id or row.path}:{mode}",
                messages=prompts.asked(asking.prompts[mode], question=asking.question, labels=shown),
                audios=(Clip(path=row.path),),
                want=LabelWant(labels=row.labels, label_set=labels.name, multi=asking.multi, mode=mode),
                official=asking.official if mode == "open" else "",
                group=row.group or row.path,
                tags={**row.tags, "asked": mode},
                max_tokens=128,
            )
