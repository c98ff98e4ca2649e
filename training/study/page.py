"""docs/study.md: what was trained, what papers claim, tables, plots."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.study import claims
from training.study.arms import ARMS
from training.study.report import DRAWS, Questions, Scores, draw, read_study, tables
from training.study.running import CONFIG

SEEDS = 3
"""That the whole study has."""
WIDTH = 118


def page(folder: Path, out: Path, command: str) -> str:
    """The page, with its plots in a folder beside it.

    Raises:
        ConfigError: the folder holds no study.
    """
    questions, known = read_study(folder)
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    lines = [*_head(config, questions, known, command), *claims.table(known, questions), ""]
    lines += tables(questions, known)
    lines += [*_where(), *draw(folder, out.with_suffix(""))]
    return "\n".join(lines) + "\n"


def _head(
    config: Mapping[str, Any], questions: Questions, known: Mapping[str, Scores], command: str
) -> Iterator[str]:
    stages = config["stages"]
    steps = ", ".join(f"`{s['name']}` {s['steps']} steps of {s['batch_size']}" for s in stages)
    runs = sum(len(known[a.name].right) for a in ARMS if a.name in known)
    lacking = [a.name for a in ARMS if a.name not in known]
    without = f"; none of {', '.join(lacking)}" if lacking else ""
    packages = len(set(questions.sources.tolist()))
    yield from ("# How should audio enter a language model?", "")
    yield from _paragraph(f"""
        Written by `{command}` out of the scores that `python -m training study` kept. {len(ARMS)} arms start from the
        preset `{config["preset"]}`, see the same data in the same order, and differ in one thing each
        (`training/study/arms.py`). {runs} runs of {SEEDS * len(ARMS)} are done{without}. Stages: {steps}.
    """)
    yield from _paragraph(f"""
        Each run is asked {len(questions.tasks)} questions about recordings of {packages} packages that no run heard,
        without evidence text but where it says so. An answer is right if it is the likeliest of those that its
        question allows. At this scale (minutes of training, two small encoders, a language model of 135 M
        parameters) most answers are little better than guesses, so that nats a token of the true answer tell more
        than right answers do.
    """)
    yield from ("## What papers claim", "")
    yield from _paragraph(f"""
        Differences are paired by question and seed. Intervals are 95 % of {DRAWS} draws of packages and of seeds,
        with replacement. A claim holds, or does not, if the interval of right answers or of nats lies on one side of
        nothing and the other does not contradict; of one seed nothing is said. With so many comparisons, one in
        twenty would look sure by chance. Time and memory: [schemes.md](schemes.md).
    """)


def _paragraph(text: str) -> tuple[str, str]:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_on_hyphens=False, break_long_words=False), ""


def _where() -> Iterator[str]:
    yield from ("## Where the audio goes", "")
    yield from _paragraph("""
        Both plots look at the place from which the first word of the answer is predicted, after one question. The
        probe is a linear one on what enters each layer there, fitted to name the sound on recordings of other
        packages; attention is the share of all heads' weight that lies on audio.
    """)
