"""Questions over recordings of the corpus' test split, for measurements of speed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = (1.0, 10.0)
"""Recordings so long, at least and at most."""


@dataclass(frozen=True)
class Asked:
    """One question about one recording."""

    id: str
    audio: Path
    question: str
    seconds: float

    def row(self) -> dict[str, Any]:
        """As `alm batch` reads it."""
        content = f"<audio>{self.question}"
        return {"id": self.id, "messages": [{"role": "user", "content": content}], "audios": [str(self.audio)]}


def questions(corpus: Path, recordings: int, each: int, seed: int = 0) -> list[Asked]:
    """`each` questions about each of so many recordings of different classes, all in random order.

    Raises:
        ValueError: the corpus has fewer recordings.
    """
    rng = np.random.default_rng(seed)
    rows = [json.loads(line) for line in (corpus / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
    usable = [r for r in rows if r["split"] == "test" and r["classes"] and SECONDS[0] <= r["seconds"] <= SECONDS[1]]
    by_class = {r["classes"][0]: r for r in (usable[int(k)] for k in rng.permutation(len(usable)))}
    if len(by_class) < recordings:
        raise ValueError(f"{corpus} has {len(by_class)} classes with recordings to ask about; {recordings} are needed")
    names = [str(n) for n in rng.permutation(sorted(by_class))[:recordings]]
    made = [
        Asked(f"{name}-{index}", (corpus / by_class[name]["audio"]).resolve(), text, by_class[name]["seconds"])
        for name in names
        for index, text in zip(range(each), _texts(name, names, rng), strict=False)
    ]
    return [made[int(k)] for k in rng.permutation(len(made))]


def _texts(name: str, names: list[str], rng: np.random.Generator) -> Iterator[str]:
    others = [str(n) for n in rng.permutation([n for n in names if n != name])[:3]]
    options = [str(n) for n in rng.permutation([name, *others])]
    yield "What do you hear?"
    yield f"Which of these is heard: {', '.join(options[:3])} or {options[3]}?"
    yield f"Is there the sound of {name}?"
    yield "Describe the recording in one sentence."
    yield "How many times is it heard?"
    yield "Does anybody speak?"
