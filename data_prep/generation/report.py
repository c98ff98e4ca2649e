"""What a run brought, rejected and cost, as data and as a page."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data_prep.generation.meter import Spent


@dataclass
class KindCount:
    """Of one kind."""

    samples: int = 0
    """That had what the kind needs."""
    made: int = 0
    failed: int = 0
    """Samples whose server or recording failed; they are asked again next time."""
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""
    prompts: dict[str, str] = field(default_factory=dict)
    """Prompts that were used, by name, and the hashes of their files."""


@dataclass
class Report:
    """Counts add up: what was written is made or rejected."""

    models: dict[str, str] = field(default_factory=dict)
    """Who wrote, judged and listened."""
    samples: int = 0
    done: int = 0
    """Samples that all kinds were through with."""
    stopped: str = ""
    """Why the run ended early."""
    kinds: dict[str, KindCount] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """The first ones."""
    spent: Spent = field(default_factory=Spent)

    @property
    def made(self) -> int:
        return sum(kind.made for kind in self.kinds.values())

    def to_json(self) -> dict[str, Any]:
        """JSON-able; what was spent is of this run alone."""
        kinds = {
            name: {**dataclasses.asdict(kind), "rejected": dict(sorted(kind.rejected.items()))}
            for name, kind in self.kinds.items()
        }
        return {**dataclasses.asdict(self), "kinds": kinds, "spent": _rounded(dataclasses.asdict(self.spent))}

    def markdown(self) -> str:
        """A page for people."""
        spent, made = self.spent, self.made
        lines = ["# Generated data", "", *(f"- {role}: {name}" for role, name in self.models.items())]
        lines += [f"- samples: {self.done} of {self.samples} done, {made} records"]
        lines += [f"- stopped early: {self.stopped}"] if self.stopped else []
        each = f" ({spent.cost / made:.6f} a record)" if made and spent.cost else ""
        lines += [
            f"- requests: {spent.requests} sent ({spent.failed} failed), {spent.cached} answered from the cache",
            f"- tokens of this run: {spent.prompt_tokens} of prompts, {spent.completion_tokens} of answers"
            + (f"; {spent.uncounted} answers counted by their letters" if spent.uncounted else ""),
            f"- cost of this run: {spent.cost:.4f}{each}",
            "",
            "| kind | samples | records | rejected | failed | most common reasons |",
            "|---|---|---|---|---|---|",
            *(_row(name, kind) for name, kind in self.kinds.items()),
            "",
        ]
        failed = [f"- {' '.join(text.split())}" for text in self.failures]
        return "\n".join([*lines, "Failed:", "", *failed, ""] if failed else lines)


def _row(name: str, kind: KindCount) -> str:
    reasons = ", ".join(f"{reason} ({count})" for reason, count in kind.rejected.most_common(4)) or "-"
    return f"| {name} | {kind.samples} | {kind.made} | {kind.rejected.total()} | {kind.failed} | {reasons} |"


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}
