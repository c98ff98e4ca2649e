"""The confidence file: what a scorer said about every recording, written as it is said and read again by later runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alm.errors import AlmError
from data_prep.errors import CorpusError
from data_prep.journal import journal
from data_prep.pseudo.scorers import Probabilities, Scorer, open_sample
from data_prep.pseudo.views import ViewPlan, view
from data_prep.samples import Sample

LEAST_KEPT = 0.001
"""Lower probabilities are written as nothing."""
DIGITS = 4


@dataclass(frozen=True)
class Confidence:
    """What was said about one sample."""

    sample: Sample
    scores: Probabilities
    """`[labels]`, the mean over the views that were asked about."""
    fault: str = ""
    """Why there are no scores."""


def file_name(scorer: Scorer, views: int, plan: ViewPlan, seed: int) -> str:
    """Name of the file; another scorer, other labels or other views have another one."""
    looked = [views, dataclasses.asdict(plan), seed] if views else []
    said = [scorer.fingerprint, list(scorer.labels), looked]
    return f"confidences-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]}.jsonl"


def confidences(
    samples: Iterable[Sample],
    scorer: Scorer,
    path: Path,
    views: int = 0,
    plan: ViewPlan | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[Confidence]:
    """Scores of all samples, those in the file from there; new ones are added to it.

    Args:
        views: so many weak views are scored and their mean is taken (MixMatch); 0: the recording as it is.
    """
    labels = list(scorer.labels)
    with journal(path) as book:
        known = _known(book.lines(_is_row))
        for sample in samples:
            key = key_of(sample)
            if key not in known:
                line = _scored(sample, key, scorer, views, plan or ViewPlan(), seed)
                book.append(line)
                known[key] = line
            advance(1)
            yield _confidence(sample, json.loads(known[key]), labels)


def key_of(sample: Sample) -> str:
    """Of the recording and the stretch of it, wherever the file lies."""
    try:
        size = Path(sample.audio).stat().st_size
    except OSError:
        size = -1
    said = repr((sample.source, sample.id, sample.start, sample.seconds, size))
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def _known(lines: Iterable[str]) -> dict[str, str]:
    return {json.loads(line)["key"]: line for line in lines}


def _is_row(line: str) -> bool:
    try:
        row = json.loads(line)
        return isinstance(row["key"], str) and (isinstance(row.get("scores"), dict) or isinstance(row["fault"], str))
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _scored(sample: Sample, key: str, scorer: Scorer, views: int, plan: ViewPlan, seed: int) -> str:
    row: dict[str, object] = {"key": key, "source": sample.source, "id": sample.id}
    try:
        scores = _mean_score(sample, scorer, views, plan, seed)
        if scores.shape != (len(scorer.labels),) or not np.isfinite(scores).all():
            raise CorpusError(f"{scorer.name}: gave {scores.shape} scores for {len(scorer.labels)} labels")
        row["scores"] = {
            label: round(float(score), DIGITS)
            for label, score in zip(scorer.labels, scores, strict=True)
            if score >= LEAST_KEPT
        }
    except AlmError as fault:
        row["fault"] = str(fault)[:500]
    return json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"


def _mean_score(sample: Sample, scorer: Scorer, views: int, plan: ViewPlan, seed: int) -> Probabilities:
    if not views:
        return scorer.score(sample)
    recording = open_sample(sample)
    seen = [scorer.score(sample, view(recording, plan, "weak", (seed, key_of(sample), n))) for n in range(views)]
    return np.asarray(np.mean(seen, axis=0), dtype=np.float32)


def _confidence(sample: Sample, row: dict[str, dict[str, float]], labels: Sequence[str]) -> Confidence:
    scores = row.get("scores", {})
    return Confidence(
        sample, np.array([scores.get(label, 0.0) for label in labels], dtype=np.float32), str(row.get("fault", ""))
    )
