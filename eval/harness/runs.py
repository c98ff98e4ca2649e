"""A run's folder: which model was asked which test and how, and the files of the stages.

`run.json`, `generate.CONDITION.jsonl` (with `--shard`: `generate.CONDITION.1of4.jsonl`), `judge.CONDITION.jsonl`,
`score.CONDITION.jsonl`, `summary.json`, `report.md`, `report.csv`, `plots/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from alm.errors import ConfigError, RecordError
from eval.harness.answers import Answered, Judged
from eval.harness.asking import Asking, answer_key, candidates_of, identity_hash
from eval.harness.conditions import condition
from eval.harness.items import BenchCard, Frozen, Item
from eval.harness.prepared import Prepared, read_prepared
from eval.harness.store import records, replace_bytes

RUN = "run.json"


class RunCard(Frozen):
    """`run.json`: what a run's figures are about."""

    format: int = 1
    bench: BenchCard
    bench_hash: str
    prepared: str
    """Folder of the prepared benchmark, relative to the run's folder where it lies near."""
    data: str = ""
    """Folder of the recordings, where it is not the one that the card says."""
    model: str
    identity: dict[str, Any]
    asking: dict[str, Any]
    limit: int | None = None
    """Only the first so many items: a quick look, not the benchmark's score."""
    trained_on: str = ""
    """File of the SHA-256 of recordings that the model was trained on, one a line; empty: not known."""
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str = ""
    """Of this program, where it runs from a checkout."""
    command: str = ""


@dataclass(frozen=True)
class Run:
    """A run's folder with what it is about."""

    folder: Path
    card: RunCard
    prepared: Prepared

    @property
    def asking(self) -> Asking:
        return Asking.from_dict(self.card.asking)

    def answers_files(self, condition_name: str) -> list[Path]:
        """The file of the condition, and those of its shards."""
        whole = self.folder / f"generate.{condition_name}.jsonl"
        return [p for p in (whole, *sorted(self.folder.glob(f"generate.{condition_name}.*of*.jsonl"))) if p.is_file()]

    def place(self, stage: str, condition_name: str, part: str = "") -> Path:
        """A stage's file."""
        return self.folder / f"{stage}.{condition_name}{part}.jsonl"

    @property
    def conditions(self) -> list[str]:
        """Those that were asked, `heard` first."""
        found = {p.name.split(".")[1] for p in self.folder.glob("generate.*.jsonl")}
        return sorted(found, key=lambda name: (name != "heard", name))

    def asked_items(self, condition_name: str) -> list[Item]:
        """The run's items as they are under a condition; whose recordings go where does not depend on the limit."""
        return condition(condition_name).items(self.prepared.items)[: self.card.limit]

    def keys(self, condition_name: str, items: Iterable[Item]) -> dict[str, str]:
        """Key of each item's answer by id, for items as they are under the condition."""
        chosen, asking, identity = condition(condition_name), self.asking, identity_hash(self.card.identity)
        sound, hashes, around = chosen.name if chosen.sound else "", self.prepared.card.files, self.prepared.around
        return {
            i.id: answer_key(identity, i, hashes, candidates_of(i, around, asking), asking, sound) for i in items
        }

    def answers(self, condition_name: str, keys: dict[str, str]) -> dict[str, Answered]:
        """The answer of each item that has one with today's key; one without error before others, else the last."""
        found: dict[str, Answered] = {}
        for path in self.answers_files(condition_name):
            for one in records(path, Answered):
                if keys.get(one.id) == one.key and not (one.error and one.id in found and not found[one.id].error):
                    found[one.id] = one
        return found

    def judged(self, condition_name: str) -> Iterator[Judged]:
        return records(self.place("judge", condition_name), Judged)


def start_run(folder: Path, card: RunCard, prepared: Prepared) -> Run:
    """A new run, or one that is gone on with.

    Raises:
        ConfigError: the folder holds a run of another model or another benchmark.
    """
    path = folder / RUN
    if path.exists():
        before = read_card(folder)
        for what, old, new in (
            ("benchmark", [before.bench.bench, before.bench.split], [card.bench.bench, card.bench.split]),
            ("model", before.identity, card.identity),
        ):
            if old != new:
                changed = _differing(old, new)
                raise ConfigError(f"{folder}: holds a run of another {what} ({changed}); choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, [card.model_dump_json(indent=1).encode() + b"\n"])
    return Run(folder, card, prepared)


def _differing(old: Any, new: Any) -> str:
    if isinstance(old, dict):
        changed = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
        return ", ".join(f"{k} was {old.get(k)!r} and is {new.get(k)!r}" for k in changed)
    return f"it was {' '.join(old)} and is {' '.join(new)}"


def read_card(folder: Path) -> RunCard:
    """
    Raises:
        RecordError: there is no run, or its card is damaged.
    """
    try:
        return RunCard.model_validate_json((folder / RUN).read_bytes())
    except OSError:
        raise RecordError(f"{folder}: no {RUN}; make a run with `alm eval run --out {folder}`") from None
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise RecordError(f"{folder / RUN}: damaged ({reason}); run again into another folder") from error


def read_run(folder: Path, prepared: Path | None = None) -> Run:
    """A run with its prepared benchmark.

    Args:
        prepared: where the prepared benchmark is now, if it was moved.

    Raises:
        RecordError: one of the two is missing or damaged, or the benchmark is another one than was asked.
    """
    card = read_card(folder)
    test = with_data(read_prepared(prepared or folder / card.prepared), folder / card.data if card.data else None)
    if test.hash != card.bench_hash:
        raise RecordError(
            f"{test.folder}: not the items that {folder} was asked (hash {test.hash}, not {card.bench_hash}); run the "
            "generate stage again, which asks what has changed"
        )
    return Run(folder, card, test)


def with_data(prepared: Prepared, data: Path | None) -> Prepared:
    """With the recordings in another folder than the card says."""
    if data is None:
        return prepared
    return replace(prepared, card=prepared.card.model_copy(update={"data_root": str(data.resolve())}))


def near(path: Path, folder: Path) -> str:
    """A path as a run keeps it: relative to the run's folder, so that both can be moved together."""
    return os.path.relpath(path.resolve(), folder.resolve())


def commit() -> str:
    """The checkout's commit; empty outside one. Read from files, so that no program is started."""
    root = Path(__file__).resolve().parents[2] / ".git"
    try:
        head = (root / "HEAD").read_text(encoding="utf-8").strip()
        return head if not head.startswith("ref: ") else (root / head[5:]).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
