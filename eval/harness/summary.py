"""`summary.json`: figures by both rules side by side with intervals, rates, controls, and by category."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, get_args

from alm.errors import RecordError
from eval.harness.answers import Status
from eval.harness.asking import candidates_of
from eval.harness.calibration import calibration
from eval.harness.confusion import confusion_tables
from eval.harness.runs import Run
from eval.harness.scoring import SEEN_DIGITS, Kinds, Scores, baseline_rows, kind_of, trained_on, waits
from eval.harness.store import replace_bytes
from eval.kinds import KINDS
from eval.kinds.base import Headed, Measure, Row, Surroundings
from eval.metrics import share
from eval.results import finite
from eval.suites import registry as suites

SUMMARY = "summary.json"
BOTH = ("official", "robust")
MOST_VALUES = 80
"""A tag with more values than this is no category, but a name."""
SEEN = "seen in training"


def summarise(run: Run, all_scores: Sequence[Scores], kinds: Kinds = KINDS) -> dict[str, Any]:
    """The summary of a run; what waits for a judge has no figures yet."""
    seen = trained_on(run.folder / run.card.trained_on) if run.card.trained_on else None
    unjudged = {s.condition: s.unjudged for s in all_scores if s.unjudged}
    missing = {s.condition: s.missing for s in all_scores if s.missing}
    return {
        "format": 1,
        "run": run.card.model_dump(mode="json", exclude={"prepared", "data", "trained_on"}),
        "complete": not unjudged and not missing and run.card.limit is None,
        "unjudged": unjudged,
        "missing": missing,
        "conditions": {s.condition: _condition(s, run, seen, kinds) for s in all_scores},
        "baselines": _baselines(all_scores[0], run.prepared.around, kinds) if all_scores else {},
    }


def write_summary(run: Run, summary: Mapping[str, Any]) -> Path:
    text = json.dumps(finite(dict(summary)), indent=1, ensure_ascii=False) + "\n"
    replace_bytes(run.folder / SUMMARY, [text.encode("utf-8", "backslashreplace")])
    return run.folder / SUMMARY


def read_summary(folder: Path) -> dict[str, Any]:
    """
    Raises:
        RecordError: there is none, or it cannot be read.
    """
    try:
        found = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return dict(found)
    except OSError:
        raise RecordError(f"{folder}: no {SUMMARY}; make it with `alm eval score {folder}`") from None
    except ValueError as error:
        raise RecordError(f"{folder / SUMMARY}: damaged ({error}); make it again with `alm eval score`") from error


def _condition(scores: Scores, run: Run, seen: frozenset[str] | None, kinds: Kinds) -> dict[str, Any]:
    around = run.prepared.around
    return {
        "items": len(scores.rows),
        "rates": rates(scores.rows),
        "kinds": {name: _kind(rows, run, seen, kinds) for name, rows in scores.by_kind.items()} | _suite(scores, run),
        "seconds": round(median([r.answered.seconds for r in scores.rows if r.answered] or [0.0]), 2),
        "audio_seconds": round(sum(r.answered.audio_seconds for r in scores.rows if r.answered), 1),
        "calibration": calibration(
            (r, candidates_of(r.item, around, run.asking)) for r in scores.rows if r.answered and r.answered.loglik
        ),
    }


def rates(rows: Sequence[Row]) -> dict[str, Any]:
    """Share of each way that answers ended, of all items; what is not named did not happen."""
    clusters = [r.item.cluster for r in rows]
    marks = {
        status: [r.scored.status == status for r in rows] for status in get_args(Status) if status != "read"
    } | {
        "ended by length": [bool(r.answered and r.answered.finish == "length") for r in rows],
        "audio cut": [bool(r.answered and r.answered.audio_cut) for r in rows],
        "audio in pieces": [bool(r.answered and r.answered.long == "chunk") for r in rows],
    }
    return {name: share(found, clusters).to_dict() for name, found in marks.items() if any(found)}


def _kind(rows: list[Row], run: Run, seen: frozenset[str] | None, kinds: Kinds) -> dict[str, Any]:
    kind, around = kind_of(rows[0].item, kinds), run.prepared.around
    waiting = sum(map(waits, rows))
    if waiting:
        return {"items": len(rows), "waiting": waiting, "measures": [], "tables": [], "tags": {}}
    return {
        "items": len(rows),
        "measures": [as_dict(m) for m in kind.measures(rows, around)],
        "tables": [asdict(t) for t in (*kind.tables(rows, around), *confusion_tables(rows))],
        "tags": {
            tag: {value: _both(some, around, kinds) for value, some in sorted(groups.items())}
            for tag, groups in sorted(_by_tag(rows, run, seen).items())
        },
    }


def _suite(scores: Scores, run: Run) -> dict[str, Any]:
    """What a generated benchmark has of its own, as if it were another kind."""
    bench = run.card.bench.bench
    suite = suites.suite_of(bench)
    if suite is None or any(map(waits, scores.rows)):
        return {}
    own = suites.measures(bench, scores.rows), suites.tables(bench, scores.rows)
    found = {"measures": [as_dict(m) for m in own[0]], "tables": [asdict(t) for t in own[1]], "tags": {}}
    return {suite.name: {"items": len(scores.rows), **found}} if any(own) else {}


def _by_tag(rows: Sequence[Row], run: Run, seen: frozenset[str] | None) -> dict[str, dict[str, list[Row]]]:
    """Rows by value of each tag that is a category."""
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    hashes = run.prepared.card.files
    for row in rows:
        for tag, value in row.item.tags.items():
            found[tag][value].append(row)
        if seen is not None and row.item.audios:
            known = any((c.sha256 or hashes.get(c.path, ""))[:SEEN_DIGITS] in seen for c in row.item.audios)
            found[SEEN]["yes" if known else "no"].append(row)
    return {t: g for t, g in found.items() if t == SEEN or 1 < len(g) <= MOST_VALUES}


def _both(rows: list[Row], around: Surroundings, kinds: Kinds) -> list[dict[str, Any]]:
    """The two rules, or what the kind has in their place."""
    kind = kind_of(rows[0].item, kinds)
    measures = kind.headline(rows, around) if isinstance(kind, Headed) else kind.measures(rows, around)
    return [as_dict(m) for m in [m for m in measures if m.key in BOTH] or measures[:2]]


def _baselines(scores: Scores, around: Surroundings, kinds: Kinds) -> dict[str, Any]:
    """By kind and name; they do not depend on the condition."""
    return {
        name: {what: _both(own, around, kinds) for what, own in baseline_rows(rows, around, kinds).items()}
        for name, rows in scores.by_kind.items()
    }


def as_dict(measure: Measure) -> dict[str, Any]:
    return {
        "key": measure.key, "label": measure.label, "unit": measure.unit, "note": measure.note,
        "better": measure.better, **measure.estimate.to_dict(),
    }  # fmt: skip
