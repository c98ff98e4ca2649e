"""Order, number and presence of sounds, each against chance, the text-only model and another recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eval.asking import Column, Style, all_columns, item_rows
from eval.items import Item, count_items, order_items, presence_items
from eval.metrics import mcnemar, mean, share
from eval.results import Figure, Result, Table, constant
from eval.session import Session
from eval.tags import earliest, present
from eval.text import chosen, core, number_in, yes_or_no

ORDER = Style(lambda i: [f"{_capital(o.text)} comes first." for o in i.options], lambda a, i: first_named(a, i))
PRESENCE = Style(lambda i: ["Yes", "No"], lambda a, i: _yes(a), closed=False, max_new_tokens=12)
COUNT = Style(lambda i: [f"{_capital(o.text)}." for o in i.options], lambda a, i: _count(a, i), max_new_tokens=12)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _yes(answer: str) -> int | None:
    said = yes_or_no(answer)
    return None if said is None else int(not said)


def _count(answer: str, item: Item) -> int | None:
    number = number_in(answer)
    return number - 1 if number is not None and 1 <= number <= len(item.options) else None


def first_named(answer: str, item: Item) -> int | None:
    """The only option that is named, or the one named first when the answer lists several."""
    picked = chosen(answer, item.options)
    if picked is not None:
        return picked
    said = f" {core(answer)} "
    places = [min((said.find(f" {w} ") for w in o.wordings if f" {w} " in said), default=-1) for o in item.options]
    named = [(p, i) for i, p in enumerate(places) if p >= 0]
    return min(named)[1] if named else None


def _scored(
    session: Session,
    empty: Result,
    items: Sequence[Item],
    style: Style,
    chance: float,
    tags: Callable[[Session, Sequence[Item]], Column] | None = None,
) -> list[Column]:
    """Fill a result with the accuracy under every condition; gives the columns for further figures."""
    columns, result = all_columns(session, items, style), empty
    columns += [tags(session, items)] if tags else []
    columns.append(Column("always_first", "always the first option", [0] * len(items)))
    result.figures = [c.figure(items) for c in columns]
    result.figures.append(Figure("chance", "chance", constant(chance)))
    named = {c.key: c.right(items) for c in columns}
    p = mcnemar(named["heard_likelihood"], named["alone_likelihood"])
    result.notes = [f"Likeliest option, with against without recording: exact McNemar p = {p:.2g}."]
    result.items = item_rows(items, columns)
    result.facts = {"counts": {"questions": len(items)}}
    result.tables = [_by_kind(items, columns)]
    return columns


def _by_kind(items: Sequence[Item], columns: Sequence[Column]) -> Table:
    """Accuracy by kind of item."""
    kinds = sorted({i.kind for i in items})
    rows = []
    for kind in kinds:
        own = [n for n, i in enumerate(items) if i.kind == kind]
        rows.append((kind, len(own), *(sum(c.right(items)[n] for n in own) / len(own) for c in columns)))
    return Table("By kind", ("kind", "questions", *(c.label for c in columns)), rows, folded=True)


def order(session: Session) -> Result:
    """Which of two sounds of a composed sequence comes first."""
    items = order_items(session.corpus, session.options.seed)[: session.options.limit]
    about = (
        "Sequences of two to four sounds composed from test recordings; the first and the last are asked for. "
        "The right one is listed first in every second question."
    )
    result = Result("order", "Which sound comes first", about, [])
    _scored(session, result, items, ORDER, 0.5, earliest)
    return result


def count(session: Session) -> Result:
    """How many times a sound is heard."""
    items = count_items(session.corpus)[: session.options.limit]
    about = "One test recording repeated one to five times with pauses of 0.3 to 0.9 s."
    result = Result("count", "How many times", about, [])
    columns = _scored(session, result, items, COUNT, 0.2)
    sources = [i.source for i in items]
    common = max((sum(i.gold == n for i in items) for n in range(5)), default=0) / max(1, len(items))
    result.figures.append(Figure("majority", "always the most frequent number", constant(common)))
    for column in columns[:2]:
        off = [abs((c if c is not None else 0) - i.gold) for c, i in zip(column.chosen, items, strict=True)]
        result.figures.append(
            Figure(f"{column.key}_error", f"{column.label}: mean distance", mean(off, sources), unit="times")
        )
        near = [d <= 1 for d in off]
        result.figures.append(Figure(f"{column.key}_near", f"{column.label}: at most one off", share(near, sources)))
    return result


def presence(session: Session) -> Result:
    """Whether a sound is there."""
    items = presence_items(session.corpus, session.options.seed)
    items = items[: session.options.limit]
    about = (
        "Each test recording is asked for its own sound and for one of another group; every sound is asked for as "
        "often where it is as where it is not."
    )
    result = Result("presence", "Is it there", about, [])
    columns = _scored(session, result, items, PRESENCE, 0.5, present)
    sources = [i.source for i in items]
    for column in columns[:4]:
        rate = share([c == 0 for c in column.chosen], sources)
        result.figures.append(Figure(f"{column.key}_yes_rate", f"{column.label}: yes rate", rate))
    result.tables = []
    return result


SCENES: dict[str, Callable[[Session], Result]] = {"order": order, "count": count, "presence": presence}
