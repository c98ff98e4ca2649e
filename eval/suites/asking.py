"""Questions of the suites: how options, yes or no, numbers and recordings are put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.harness.items import AUDIO_MARK, ChoiceWant, Clip, Item, LabelWant, Message, PairWant, StructuredWant, Want

YES_NO = ("yes", "no")


def item(
    name: str, text: str, want: Want, audios: Sequence[Clip], group: str, tags: Mapping[str, str], tokens: int = 32
) -> Item:
    """Recordings come first, as in a conversation; then the question."""
    message = Message(role="user", content=AUDIO_MARK * len(audios) + text)
    return Item(
        id=name, messages=(message,), audios=tuple(audios), want=want, group=group, tags=dict(tags), max_tokens=tokens
    )


def with_options(question: str, options: Sequence[str]) -> str:
    """A question with its options in one line.

    >>> with_options("Which is heard?", ("rain", "a dog"))
    'Which is heard? Options: rain; a dog.'
    """
    return f"{question} Options: {'; '.join(options)}."


def choice(
    name: str,
    question: str,
    options: Sequence[str],
    answer: int,
    audios: Sequence[Clip],
    group: str,
    tags: Mapping[str, str],
) -> Item:
    """One of several options, which are listed."""
    want = ChoiceWant(choices=tuple(options), answer=answer)
    return item(name, with_options(question, options), want, audios, group, tags)


def yes_no(name: str, question: str, yes: bool, audios: Sequence[Clip], group: str, tags: Mapping[str, str]) -> Item:
    """Is it so?"""
    want = ChoiceWant(choices=YES_NO, answer=0 if yes else 1)
    return item(name, f"{question} Answer yes or no.", want, audios, group, tags)


def pair(
    name: str,
    question: str,
    options: Sequence[str],
    answer: int,
    audios: Sequence[Clip],
    group: str,
    tags: Mapping[str, str],
    cell: str = "",
) -> Item:
    """A comparison of two recordings, or of two sounds, that is asked both ways round."""
    want = PairWant(mode="two-clip", choices=tuple(options), answer=answer, cell=cell)
    return item(name, with_options(question, options), want, audios, group, tags)


def number(
    name: str,
    question: str,
    value: float,
    tolerance: float,
    unit: str,
    audios: Sequence[Clip],
    group: str,
    tags: Mapping[str, str],
) -> Item:
    """A number, right within a tolerance."""
    want = StructuredWant(form="number", answer=round(value, 3), unit=unit, tolerance=tolerance)
    return item(name, question, want, audios, group, tags)


def label(
    name: str,
    question: str,
    labels: Sequence[str],
    label_set: str,
    audios: Sequence[Clip],
    group: str,
    tags: Mapping[str, str],
) -> Item:
    """A free answer that one label of a set must be read out of."""
    return item(name, question, LabelWant(labels=tuple(labels), label_set=label_set, mode="open"), audios, group, tags)


def placed(right: str, wrong: Sequence[str], place: int) -> tuple[str, ...]:
    """Options with the right one at a place."""
    return (*wrong[:place], right, *wrong[place:])
