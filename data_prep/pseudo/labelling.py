"""Labels for samples without any: scores to a file, thresholds, then samples with what is taken for heard."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.atomic import write_text
from data_prep.pseudo import calibration
from data_prep.pseudo.calibration import Labelled, Platt
from data_prep.pseudo.confidences import Confidence, confidences, file_name
from data_prep.pseudo.scorers import Probabilities, Scorer, open_sample
from data_prep.pseudo.thresholds import Guess, LabelPlan, decide, fixed, per_class, relative
from data_prep.pseudo.views import ViewPlan, write_views
from data_prep.sample_files import read_samples, write_samples
from data_prep.samples import Sample

SAMPLES, VIEWS = "samples.jsonl", "views.jsonl"
REPORT_JSON, REPORT, PICTURE = "report.json", "report.md", "calibration.png"
Advance = Callable[[int], None]


@dataclass(frozen=True)
class PseudoPlan:
    """How to label."""

    labels: LabelPlan = field(default_factory=LabelPlan)
    views: ViewPlan = field(default_factory=ViewPlan)
    weak_views: int = 0
    """The mean score of so many weak views decides (MixMatch takes 2); 0: that of the recording itself."""
    calibrate: bool = True
    """Whether probabilities are corrected by the labelled samples before thresholds are applied."""
    seed: int = 0


@dataclass
class PseudoReport:
    """What a run brought."""

    samples: int = 0
    labelled: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Samples without scores, by reason."""
    by_label: Counter[str] = field(default_factory=Counter)
    thresholds: dict[str, float] = field(default_factory=dict)
    correction: Platt = field(default_factory=Platt)
    trusted: dict[str, Any] = field(default_factory=dict)
    """Calibration; empty without labelled samples."""


def pseudo_label(
    samples: Sequence[Sample],
    scorer: Scorer,
    plan: PseudoPlan,
    out: Path,
    labelled: Sequence[Sample] = (),
    advance: Advance = lambda count: None,
) -> PseudoReport:
    """Write `samples.jsonl`, the report and the confidence file into `out`; an interrupted run goes on.

    Args:
        samples: to be labelled; what labels they have is not looked at, and replaced.
        labelled: samples with labels: half of them correct the probabilities and set thresholds of classes, the
            other half tells how good the labels are.

    Raises:
        CorpusError: the plan asks for thresholds by class, and there are no labelled samples.
    """
    path = out / file_name(scorer, plan.weak_views, plan.views, plan.seed)
    labels, report = tuple(scorer.labels), PseudoReport()

    def scored(asked: Sequence[Sample]) -> Iterator[Confidence]:
        return confidences(asked, scorer, path, plan.weak_views, plan.views, plan.seed, advance)

    halves = calibration.halves(scored(labelled), labels)
    if plan.calibrate:
        report.correction = calibration.fit_platt(*calibration.top_scores(halves[0]))
    fitting, testing = (calibration.corrected(half, report.correction) for half in halves)
    thresholds = _thresholds(plan.labels, labels, fitting, lambda: _scores(scored(samples), report.correction))
    report.thresholds = {label: round(float(t), 4) for label, t in zip(labels, thresholds, strict=True)}
    if len(labelled):
        report.trusted = calibration.trust(halves[1], testing, thresholds, plan.labels)
    write_samples(_labelled(scored(samples), labels, thresholds, plan, scorer.name, report), out / SAMPLES)
    write_report(report, scorer.name, plan, out)
    return report


def _scores(found: Iterable[Confidence], correction: Platt) -> Iterator[Probabilities]:
    return (correction(one.scores) for one in found if not one.fault)


def _thresholds(
    plan: LabelPlan, labels: tuple[str, ...], fitting: Labelled, scores: Callable[[], Iterator[Probabilities]]
) -> NDArray[np.float64]:
    if plan.method == "per-class":
        return per_class(fitting.scores, fitting.truth, plan)
    return relative(scores(), labels, plan) if plan.method == "relative" else fixed(labels, plan)


def _labelled(
    found: Iterable[Confidence],
    labels: tuple[str, ...],
    thresholds: NDArray[np.float64],
    plan: PseudoPlan,
    scorer: str,
    report: PseudoReport,
) -> Iterator[Sample]:
    for one in found:
        report.samples += 1
        if one.fault:
            report.failed[one.fault.rsplit(":", 1)[-1].strip()[:80]] += 1
            continue
        guess = decide(report.correction(one.scores), labels, thresholds, plan.labels)
        if guess.labels:
            report.labelled += 1
            report.by_label.update(guess.labels)
            yield with_guess(one.sample, guess, scorer)


def with_guess(sample: Sample, guess: Guess, scorer: str) -> Sample:
    """The sample with guessed labels in the place of its own; never complete, and marked as guessed."""
    told = {"by": scorer, "confidence": dict(guess.confidence), "absent": list(guess.absent)}
    return dataclasses.replace(
        sample, labels=guess.labels, label_set=scorer, events=(), complete=False,
        extras={**sample.extras, "pseudo": told},
    )  # fmt: skip


def write_all_views(out: Path, plan: PseudoPlan, advance: Advance = lambda count: None) -> int:
    """A weak and a strong view of every sample that got labels, listed in `views.jsonl`; gives their number.

    Views that are there are made again: they cost less than the scores.
    """

    def made() -> Iterator[Sample]:
        for sample in read_samples(out / SAMPLES):
            yield from write_views(sample, open_sample(sample), plan.views, plan.seed, out / "views")
            advance(1)

    return write_samples(made(), out / VIEWS)


def write_report(report: PseudoReport, scorer: str, plan: PseudoPlan, out: Path) -> None:
    """`report.json`, `report.md` and, with labelled samples, `calibration.png`."""
    counts = {"failed": dict(report.failed), "by_label": dict(report.by_label)}
    plans = {"correction": dataclasses.asdict(report.correction), "plan": dataclasses.asdict(plan)}
    facts = vars(report) | counts | plans | {"scorer": scorer}
    write_text(out / REPORT_JSON, json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
    write_text(out / REPORT, _markdown(report, scorer, plan))
    if report.trusted:
        calibration.plot(report.trusted["surest_after"], report.trusted["sweep"], out / PICTURE)


def _markdown(report: PseudoReport, scorer: str, plan: PseudoPlan) -> str:
    lines = [
        f"# Labels by {scorer}", "",
        f"{report.labelled} of {report.samples} samples have labels, {sum(report.failed.values())} could not be scored;"
        f" method {plan.labels.method}, threshold {plan.labels.threshold:g}.", "",
    ]  # fmt: skip
    lines += [f"- not scored: {count} x {reason}" for reason, count in report.failed.most_common(20)]
    if report.trusted:
        found = report.trusted["quality"]
        lines += [
            "", f"## On {found['samples']} labelled samples that set nothing", "",
            f"Coverage {found['coverage']:.1%}, precision {found['precision']:.1%}, recall {found['recall']:.1%}; the "
            f"surest label is right in {found['first_label_right']:.1%}. Calibration error of the surest label "
            f"{report.trusted['error_before']:.3f}, after correction {report.trusted['error_after']:.3f}.", "",
            "| threshold | coverage | precision | recall |", "|---|---|---|---|",
        ]  # fmt: skip
        lines += [
            f"| {row['threshold']:g} | {row['coverage']:.1%} | {row['precision']:.1%} | {row['recall']:.1%} |"
            for row in report.trusted["sweep"]
        ]
        lines += ["", f"![calibration]({PICTURE})"]
    lines += ["", "## Labels", "", "| label | samples | threshold |", "|---|---|---|"]
    lines += [f"| {label} | {count} | {report.thresholds[label]:g} |" for label, count in report.by_label.most_common()]
    return "\n".join(lines) + "\n"
