"""Invented items and answers for the tests of the kinds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eval.harness.answers import Answered, Judged
from eval.harness.items import ChoiceWant, Clip, Item, LabelWant, Message, PairWant, TranscriptWant, Want
from eval.kinds import KINDS
from eval.kinds.base import LabelSet, Measure, Row, Surroundings

PETS = ("Dog", "Owl", "Frog", "Cow")
NOTHING = Surroundings()


def item(want: Want, name: str = "a", official: str = "", group: str = "", question: str = "Which?") -> Item:
    return Item(
        id=name,
        messages=(Message(role="user", content=f"<audio>{question}"),),
        audios=(Clip(path="a.wav"),),
        want=want,
        official=official,
        group=group,
    )


def choice(choices: Sequence[str] = PETS, answer: int = 1, official: str = "mmau", **other: Any) -> Item:
    want = ChoiceWant(choices=tuple(choices), answer=answer, none_ok=other.pop("none_ok", False))
    return item(want, official=official, **other)


def label(labels: Sequence[str], **other: Any) -> Item:
    fields = {k: other.pop(k) for k in ("multi", "mode") if k in other}
    return item(LabelWant(labels=tuple(labels), label_set="sounds", **fields), **other)


def transcript(reference: str, **other: Any) -> Item:
    fields = {k: other.pop(k) for k in ("metric", "language", "normaliser") if k in other}
    return item(TranscriptWant(reference=reference, **fields), **other)


def pair(**other: Any) -> Item:
    fields = {k: other.pop(k) for k in ("mode", "choices", "answer", "cell", "judge") if k in other}
    return item(PairWant(**fields), **other)


def sounds(*names: str, **wordings: tuple[str, ...]) -> Surroundings:
    return Surroundings({"sounds": LabelSet("sounds", {n: wordings.get(n, ()) for n in names})})


def answer(text: str = "", **other: Any) -> Answered:
    return Answered(id="a", key="k", text=text, **other)


def row(
    of: Item,
    said: str | Answered | None,
    around: Surroundings = NOTHING,
    judged: Sequence[Judged] = (),
) -> Row:
    answered = answer(said) if isinstance(said, str) else said
    return Row(of, answered, KINDS[of.want.kind].score(of, answered, judged, around))


def figures(rows: Sequence[Row], around: Surroundings = NOTHING) -> dict[str, float]:
    """Every measure's value by its key."""
    return {m.key: m.estimate.value for m in measured(rows, around)}


def measured(rows: Sequence[Row], around: Surroundings = NOTHING) -> list[Measure]:
    found = KINDS[rows[0].item.want.kind].measures(rows, around)
    keys = [m.key for m in found]
    assert len(set(keys)) == len(keys), f"a key comes twice: {keys}"
    return found


def many(items: Iterable[Item]) -> list[Item]:
    """The same with ids of their own."""
    return [one.model_copy(update={"id": f"{one.id}{n}"}) for n, one in enumerate(items)]
