"""The suites by name; to add one, write `make(order)` in a module of its own and list it here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from eval.harness.prepared import Prepared
    from eval.kinds.base import Measure, Row, Table
    from eval.suites.studio import Order


@dataclass(frozen=True)
class Suite:
    """One generated benchmark, or a family over the same recordings."""

    name: str
    module: str
    items: int
    """Questions that are made if nobody says how many."""
    about: str
    size: str
    """Of what is written with so many questions."""

    def make(self, order: Order) -> list[Prepared]:
        """Write recordings and questions."""
        make: Callable[[Order], list[Prepared]] = import_module(self.module).make
        return make(order)


SUITES: dict[str, Suite] = {
    s.name: s
    for s in (
        Suite(
            "corpus", "eval.suites.corpus_sets", 1000,
            "The test split itself: what is it (of four, of all classes), is it there, in what order, how many times, "
            "what is said, and how would one describe it. About ITEMS questions of each.", "165 MB",
        ),
        Suite(
            "hallucination", "eval.suites.hallucination", 960,
            "Is a sound there that is not: random, popular and adversarial absent sounds, as in POPE.", "70 MB",
        ),
        Suite(
            "wording", "eval.suites.wording", 1280,
            "The same questions in eight wordings each: mean, worst, and how often wordings agree.", "10 MB",
        ),
        Suite(
            "robustness", "eval.suites.robustness", 2760,
            "The same questions under noise, reverberation, gain, codecs, speed and bandwidth at stated levels.",
            "250 MB",
        ),
        Suite(
            "two-clip", "eval.suites.two_clip", 800,
            "Two recordings and one question about both, asked both ways round; in the place of NLAR.", "80 MB",
        ),
        Suite(
            "temporal", "eval.suites.temporal", 700,
            "Order, overlap, duration and time in seven levels; in the place of ZSTE.", "70 MB",
        ),
        Suite(
            "long-audio", "eval.suites.long_audio", 126,
            "One sound hidden in recordings of 10 s to 1 h: which it is and when it is heard.", "650 MB",
        ),
        Suite(
            "fairness", "eval.suites.fairness", 1000,
            "Speech by language, and by sex where the catalogue says it; gaps between groups.", "80 MB",
        ),
    )
}  # fmt: skip


def suite_of(bench: str) -> Suite | None:
    """The suite that a prepared benchmark is of; None for the others.

    >>> suite_of("alm-corpus-choice").name
    'corpus'
    """
    return next((s for s in SUITES.values() if bench == f"alm-{s.name}" or bench.startswith(f"alm-{s.name}-")), None)


def measures(bench: str, rows: Sequence[Row]) -> list[Measure]:
    """Figures that a suite adds to those of the kinds; none for other benchmarks."""
    suite = suite_of(bench)
    found = getattr(import_module(suite.module), "measures", None) if suite else None
    return cast("list[Measure]", found(rows)) if found else []


def tables(bench: str, rows: Sequence[Row]) -> list[Table]:
    """Tables that a suite adds."""
    suite = suite_of(bench)
    found = getattr(import_module(suite.module), "tables", None) if suite else None
    return cast("list[Table]", found(rows)) if found else []
