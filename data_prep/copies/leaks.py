"""Keeping what a benchmark tests on out of training: by sound, not by name, so that a renamed copy is found, too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.copies.matching import CopyLimits
from data_prep.copies.recordings import Recording
from data_prep.copies.search import Pair, fill, look_up
from data_prep.errors import CorpusError

_SHOWN = 5


class LeakError(CorpusError):
    """Training would hear what a benchmark tests on."""


@dataclass(frozen=True)
class LeakReport:
    """Which training recordings share sound with which benchmark's."""

    training: int
    """Recordings that were compared."""
    benchmarks: dict[str, int]
    """Recordings of each benchmark."""
    leaks: dict[str, tuple[Pair, ...]]
    """By benchmark: the training recording, and that of the benchmark."""
    allowed: tuple[str, ...] = ()
    """Benchmarks whose items may be trained on, because somebody said so by name."""

    @property
    def leaking(self) -> frozenset[str]:
        """Names of the training recordings that must not be used."""
        return frozenset(
            pair.recording for name, pairs in self.leaks.items() if name not in self.allowed for pair in pairs
        )

    def refuse(self) -> None:
        """Let nothing pass that is not allowed.

        Raises:
            LeakError: a benchmark's recording is among the training recordings.
        """
        for name, pairs in self.leaks.items():
            if pairs and name not in self.allowed:
                shown = ", ".join(f"'{pair.recording}' is '{pair.other}'" for pair in pairs[:_SHOWN])
                more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
                raise LeakError(
                    f"{len({pair.recording for pair in pairs})} training recordings share sound with the benchmark "
                    f"'{name}': {shown}{more}; leave them out, or allow this benchmark by name (--allow {name})"
                )

    def to_json(self) -> dict[str, Any]:
        """JSON-able, as `leaks.json` holds it."""
        return {
            "version": 1,
            "training": self.training,
            "benchmarks": self.benchmarks,
            "allowed": list(self.allowed),
            "leaks": {name: [pair.to_json() for pair in pairs] for name, pairs in self.leaks.items()},
        }


def check_leaks(
    training: Sequence[Recording],
    benchmarks: Mapping[str, Sequence[Recording]],
    work: Path,
    *,
    allow: Collection[str] = (),
    limits: CopyLimits = CopyLimits(),
    advance: Callable[[int], None] = lambda count: None,
    workers: int = 1,
) -> LeakReport:
    """Look every training recording up among those of each benchmark; `work` keeps the indexes and what was found.

    Raises:
        CorpusError: a name in `allow` is no benchmark's, or an index in `work` belongs to other recordings.
    """
    if unknown := sorted(set(allow) - set(benchmarks)):
        named = ", ".join(sorted(benchmarks)) or "none"
        raise CorpusError(f"--allow {unknown[0]}: no such benchmark here; those compared with are {named}")
    leaks = {}
    for name, recordings in benchmarks.items():
        index = fill(work / name / "index", recordings, advance, workers)
        journal = work / name / "looked-up.jsonl"
        found = look_up(index, training, journal, limits, advance, workers)
        leaks[name] = tuple(sorted(found, key=lambda pair: (-pair.score, pair.recording, pair.other)))
    return LeakReport(
        len(training), {name: len(found) for name, found in benchmarks.items()}, leaks, tuple(sorted(allow))
    )
