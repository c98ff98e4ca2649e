"""The tag head alone, asked for the options: what the evidence knows before the language model reads it.

The recordings are those that the questions have been asked about already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alm.asked import NOT_AT_ALL, SURENESS, Asked, asked
from alm.evidence import surest as surest_events
from eval.asking import Column
from eval.items import Item
from eval.session import Session

LABEL = "tag head alone, asked for the options"
DENIED = (NOT_AT_ALL, SURENESS[-1][1])
"""How sure it is of a sound that it takes for absent."""


def of_texts(session: Session, item: Item, texts: Sequence[str]) -> dict[str, Asked]:
    """What was heard of each text that names a class, by text."""
    assistant = session.assistant
    scores = session.answerer.heard[item.sounds[0]].scores
    mentions = [m for t in texts for m in assistant.vocabulary.find(t)[:1]]
    if scores is None:
        return {}
    return {a.words: a for a in asked(mentions, scores, assistant.model.config.tag_labels or [])}


def surest(session: Session, items: Sequence[Item]) -> Column:
    """The option that it is surest of."""
    return _column(session, items, lambda a: -a.logit)


def listed(session: Session, items: Sequence[Item]) -> Column:
    """The option that stands first in the evidence that does not depend on the question; none if none is listed."""
    picks: list[int | None] = []
    for item in items:
        heard = session.answerer.heard[item.sounds[0]].sounds
        names = list(dict.fromkeys([t.label for t in surest_events(heard.tags)] + list(heard.guesses)))
        known = [(names.index(n), i) for i, n in enumerate(item.facts["options"]) if n in names]
        picks.append(min(known)[1] if known else None)
    return Column("listed", "best-ranked in the list of events and guesses", picks)


def earliest(session: Session, items: Sequence[Item]) -> Column:
    """The option that it hears first."""
    return _column(session, items, lambda a: a.seconds)


def present(session: Session, items: Sequence[Item]) -> Column:
    """Yes (0) or no (1), by the words for how sure it is; none for a class without a tag."""
    picks: list[int | None] = []
    for item in items:
        phrase = session.corpus.classes.by_name[item.facts["asked"]].phrase
        told = of_texts(session, item, [phrase])
        picks.append(int(next(iter(told.values())).sureness in DENIED) if told else None)
    return Column("tags", LABEL, picks)


def _column(session: Session, items: Sequence[Item], rank: Callable[[Asked], float]) -> Column:
    picks: list[int | None] = []
    for item in items:
        told = of_texts(session, item, [o.text for o in item.options])
        known = [(rank(told[o.text]), i) for i, o in enumerate(item.options) if o.text in told]
        picks.append(min(known)[1] if known else None)
    return Column("tags", LABEL, picks)
