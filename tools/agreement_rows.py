"""Invented questions and answers on which a published scorer and ours are compared; always the same for a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SOUNDS = (
    "dog", "owl", "frog", "cow", "rain", "heavy rain", "a dog barking", "a door that slams", "in the morning",
    "in the evening", "at noon", "male", "female", "yes", "no", "2", "3", "12", "piano and violin", "violin", "C", "C#",
    "D minor", "Both first and third", "first", "third", "The speaker is happy", "The speaker is sad", "café", "don't",
    "well-known", "-5 dB", "5 dB", "A", "B",
)  # fmt: skip
LEADS = ("", "The correct answer is ", "I think it is ", "Answer: ", "It must be the ", "Based on the audio, ", "\n")
TAILS = ("", ".", "!", " because it is heard first.", ", not the other one.", "\n\nExplanation: it repeats.", " (sure)")
ODD = (
    "", " ", "None", "Because of the sound", "Dark noises", "I'm sorry, I cannot hear it.", "All of them", "A", "b.",
    "(C)", "D)", "**(B)**", "The answer is A.", "The answer is (D).", "B or C", "(A) and later (B)", "Answer: C\n", "E",
    "Ｂ", "?", "AB", "x A.", "maybe B ", "Choose", "\tA", "🙂",
)  # fmt: skip
LETTERS = "ABCDEFGH"


@dataclass(frozen=True)
class Question:
    """One invented question with what a model said; None: the row has no prediction."""

    choices: tuple[str, ...]
    answer: int
    said: str | None


def questions(count: int, most: int = 5, missing: float = 0.03, seed: int = 0, least: int = 2) -> Iterator[Question]:
    """Questions with `least` to `most` options, some of them worded alike, answered in many ways."""
    rng = random.Random(seed)
    for _ in range(count):
        options = tuple(rng.sample(SOUNDS, rng.randint(least, most)))
        if rng.random() < 0.03:
            options = (*options[:-1], options[0].capitalize())
        answer = rng.randrange(len(options))
        said = None if rng.random() < missing else _said(rng, options, answer)
        yield Question(options, answer, said)


def _said(rng: random.Random, options: Sequence[str], answer: int) -> str:
    if rng.random() < 0.2:
        return rng.choice(ODD)
    pick = answer if rng.random() < 0.6 else rng.randrange(len(options))
    letter = LETTERS[pick]
    form = rng.choice(("{text}", "{letter}", "({letter}) {text}", "{letter}. {text}", "**({letter})**", "{all}"))
    said = form.format(text=options[pick], letter=letter, all="\n".join(options))
    said = rng.choice((str, str.upper, str.capitalize, str))(said)
    return rng.choice(LEADS) + said + rng.choice(TAILS)


def sentences(count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """References and what was heard of them; some of it nothing."""
    rng = random.Random(seed)
    pool = "the a dog he she said walked home quickly colour two hundred isn't mister rain at noon an St. $5".split()
    for _ in range(count):
        words = rng.choices(pool, k=rng.randint(1, 15))
        heard = [rng.choice(pool) if rng.random() < 0.1 else w for w in words if rng.random() > 0.1]
        said = " ".join(heard) + rng.choice(("", ".", "?", " okay"))
        yield " ".join(words), "" if rng.random() < 0.05 else rng.choice((str, str.upper, str.title))(said)
