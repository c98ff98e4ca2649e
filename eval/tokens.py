"""What the audio tokens alone carry: short questions of every kind, without evidence; for comparing adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.asking import Column, Style, ask, item_rows
from eval.choice import STYLE as CHOICE
from eval.choice import in_one_line
from eval.corpus import Corpus
from eval.items import Item, choice_items, count_items, order_items, presence_items
from eval.metrics import mcnemar
from eval.results import Figure, Result, constant
from eval.scenes import COUNT, ORDER, PRESENCE
from eval.session import Session

HEARD, ALONE = "heard_likelihood", "alone_likelihood"
ABOUT = (
    "The likeliest answer with the recording but without evidence, and without the recording (control): which of four "
    "sounds, which of two comes first, how many times, is there such a sound. Questions as in the tables of these "
    "names, as many of each as the limit allows."
)


@dataclass(frozen=True)
class Kind:
    """Questions of one kind."""

    name: str
    label: str
    style: Style
    chance: float
    items: list[Item]


def kinds(corpus: Corpus, seed: int, limit: int | None) -> list[Kind]:
    """All questions."""
    return [
        Kind("choice", "which of four", CHOICE, 0.25, in_one_line(choice_items(corpus, seed))[:limit]),
        Kind("presence", "is it there", PRESENCE, 0.5, presence_items(corpus, seed)[:limit]),
        Kind("order", "which comes first", ORDER, 0.5, order_items(corpus, seed)[:limit]),
        Kind("count", "how many times", COUNT, 0.2, count_items(corpus)[:limit]),
    ]


def run(session: Session) -> Result:
    """See the module."""
    result = Result("tokens", "What the audio tokens carry", ABOUT, [])
    for kind in kinds(session.corpus, session.options.seed, session.options.limit):
        if kind.items:
            _add(result, kind, [ask(session, kind.items, c).likelihood(kind.style) for c in ("heard", "alone")])
    return result


def _add(result: Result, kind: Kind, columns: Sequence[Column]) -> None:
    heard, alone = (column.figure(kind.items) for column in columns)
    result.figures += [
        Figure(kind.name, f"{kind.label}, recording", heard.estimate),
        Figure(f"{kind.name}_alone", f"{kind.label}, no recording (control)", alone.estimate),
        Figure(f"{kind.name}_chance", f"{kind.label}, chance", constant(kind.chance)),
    ]
    p = mcnemar(*(column.right(kind.items) for column in columns))
    result.notes.append(f"{kind.label}: with against without recording, exact McNemar p = {p:.2g}.")
    rows: list[dict[str, Any]] = item_rows(kind.items, columns)
    result.items += [{**row, "set": kind.name} for row in rows]
    result.facts.setdefault("counts", {})[kind.name] = len(kind.items)
