"""A run of `alm data generate`: its files, its progress bar, and what it would take."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alm.endpoints import Endpoint
from alm.errors import AlmError, ConfigError
from data_prep.atomic import remove_leftovers, writing_text
from data_prep.generation.asking import LETTERS_A_TOKEN
from data_prep.generation.facts import facts_of, numbered
from data_prep.generation.generate import Generation
from data_prep.generation.kinds import KINDS
from data_prep.generation.plan import GenerationPlan
from data_prep.generation.prompting import load_prompt
from data_prep.generation.similarity import ClapSimilarity, Similarity, TagSimilarity
from data_prep.records import Record, to_row
from data_prep.sample_files import read_samples
from data_prep.samples import Sample
from data_prep.steps import console, progress

if TYPE_CHECKING:
    from alm.assistant import Assistant

RECORDS_FILE = "records.jsonl"


@dataclass(frozen=True)
class Asked:
    """Who takes part in a run."""

    writer: Endpoint
    judge: Endpoint | None = None
    listener: Endpoint | None = None
    hear: str = ""
    """Preset that hears for the evidence."""
    similarity: str = ""
    """`tags`, or a folder with a CLAP model."""


def run(samples: Path, plan: GenerationPlan, asked: Asked, out: Path) -> None:
    """Write the records whole, whether all samples were done or a limit was reached.

    Raises:
        AlmError: the run ended early; what was done is written, and the report says why.
    """
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    total = sum(1 for _ in read_samples(samples))
    generation = Generation(
        plan, asked.writer, out, asked.judge, asked.listener, _similarity(asked.similarity)
    )
    if asked.hear:
        from data_prep.generation.hearing import Hearing

        generation.hear = Hearing(_assistant(asked.hear), asked.hear, generation.cache)
    ended: AlmError | None = None
    with writing_text(out / RECORDS_FILE) as stream, progress() as bar:
        task = bar.add_task("samples", total=total)
        try:
            for record in generation.records(_counted(read_samples(samples), lambda: bar.advance(task))):
                stream.write(record_line(record, out))
        except AlmError as fault:
            ended = fault
    report = generation.report
    console().print(report.markdown(), markup=False, highlight=False)
    if ended:
        raise ended


def _counted(samples: Iterator[Sample], advance: Callable[[], None]) -> Iterator[Sample]:
    for sample in samples:
        yield sample
        advance()


def record_line(record: Record, folder: Path) -> str:
    """A row whose recordings are named from the folder of its file, so that both can be moved together."""
    base = folder.absolute()
    audios = tuple(a if "://" in a else Path(os.path.relpath(a, base)).as_posix() for a in record.audios)
    return json.dumps(to_row(dataclasses.replace(record, audios=audios)), ensure_ascii=False, sort_keys=True) + "\n"


def read_descriptions(path: Path | None) -> dict[str, str]:
    """The first description of each label.

    Raises:
        ConfigError: the file is not one that the kind `descriptions` writes.
    """
    if path is None:
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return {str(label): str(texts[0]) for label, texts in said.items()}
    except (OSError, ValueError, AttributeError, LookupError, TypeError) as fault:
        raise ConfigError(f"--descriptions {path}: not a file of descriptions.json's form ({fault})") from fault


@dataclass
class Estimate:
    """What a run takes at most, before any answer and without the checks' own requests."""

    samples: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def estimate(samples: Path, plan: GenerationPlan) -> Estimate:
    """Upper bounds from the prompts themselves; tokens of prompts are guessed from letters."""
    found = Estimate()
    prompts = {name: [load_prompt(p, plan.prompts) for p in KINDS[name].prompts] for name in plan.kinds}
    for sample in read_samples(samples):
        found.samples += 1
        facts = facts_of(sample, plan.descriptions)
        letters = len(numbered(facts))
        for name in plan.kinds:
            if not KINDS[name].wants(sample, facts):
                continue
            asks, longest = KINDS[name].asks(plan, sample), max(len(p.system) + len(p.user) for p in prompts[name])
            found.requests += asks
            found.prompt_tokens += asks * (letters + longest) // LETTERS_A_TOKEN
            found.completion_tokens += asks * max(p.max_tokens for p in prompts[name])
    return found


def show_estimate(samples: Path, plan: GenerationPlan) -> None:
    """Say what a run would take."""
    found = estimate(samples, plan)
    cost = plan.budget.cost(found.prompt_tokens, found.completion_tokens)
    console().print(
        f"{found.samples} samples: at most {found.requests} requests, {found.prompt_tokens} tokens of prompts, "
        f"{found.completion_tokens} of answers, cost {cost:.2f}; judges and self-consistency come on top"
    )


def _similarity(name: str) -> Similarity | None:
    if not name:
        return None
    return TagSimilarity(_assistant("tiny")) if name == "tags" else ClapSimilarity(Path(name))


@cache
def _assistant(preset: str) -> Assistant:
    from alm.cli import load_assistant

    return load_assistant(preset)
