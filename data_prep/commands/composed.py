"""`alm data compose` and `alm data pseudo-label`: scenes made of samples, and labels for samples without any."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alm.terminal import console, printable, progress_bars

if TYPE_CHECKING:
    from data_prep.composed import Composer

Samples = Annotated[
    Path,
    typer.Argument(help="File of samples, as `alm data read --out` writes, or a store's folder.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def compose(
    samples: Samples,
    out: Annotated[Path, typer.Option("--out", help="Folder for the scenes and their lists.", show_default=False)],
    plan: Annotated[str, typer.Option("--plan", help="A YAML file, or the name of a plan.")] = "mixed",
    seed: Annotated[int, typer.Option(help="Another seed makes other scenes.")] = 0,
    train: Annotated[int | None, typer.Option(min=0, help="Number of train scenes; else the plan's.")] = None,
    dev: Annotated[int | None, typer.Option(min=0, help="Number of dev scenes; else the plan's.")] = None,
    test: Annotated[int | None, typer.Option(min=0, help="Number of test scenes; else the plan's.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Make scenes of the clips of samples, with the exact times of all that is heard in them.

    Interrupt it at any time: the next run goes on. The same samples, plan and seed give the same bytes.

    \b
    alm data compose read/samples.jsonl --plan teminal-b --out scenes
    alm data compose read/samples.jsonl --plan plan.yaml --train 100 --dev 0 --test 0 --out scenes
    """
    import dataclasses

    from data_prep.cli import guarded
    from data_prep.composed import Composer, load_plan
    from data_prep.composed.composing import scenes_of
    from data_prep.sample_files import samples_at

    with guarded():
        wanted = load_plan(plan)
        given = {name: n for name, n in (("train", train), ("dev", dev), ("test", test)) if n is not None}
        wanted = dataclasses.replace(wanted, scenes={**wanted.scenes, **given})
        composer = Composer(samples_at(samples), wanted, seed, out)
        if dry_run:
            sys.stdout.write(_planned(composer))
            return
        kinds, seconds = Counter[str](), 0.0
        with progress_bars() as bars:
            for split, count in ((s, n) for s, n in wanted.scenes.items() if n):
                task = bars.add_task(f"{split} scenes", total=count, note="")
                for scene in scenes_of(composer, split, count):
                    kinds[scene.extras["composed"]["kind"]] += 1
                    seconds += scene.seconds or 0.0
                    bars.advance(task)
                console().print(f"written: {printable(str(composer.list_file(split)))}")
        for path, fault in sorted(composer.lost.items()):
            console().print(printable(f"left out {path}: {fault}"))
        sys.stdout.write(f"{sum(kinds.values())} scenes, {seconds / 3600:.2f} h: {_counts(kinds)}\n")


def _planned(composer: Composer) -> str:
    lines = []
    for split, count in composer.plan.scenes.items():
        if count:
            pool = composer.pool(split)
            cuts = sum(len(found) for found in pool.by_label.values())
            lines.append(f"{split}: {count} scenes of {cuts} clips with {len(pool.labels)} labels")
    return "\n".join(lines) + "\n"


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.most_common())


def pseudo_label(
    samples: Samples,
    out: Annotated[Path, typer.Option("--out", help="Folder for labels, confidences and report.", show_default=False)],
    labelled: Annotated[
        Path | None,
        typer.Option("--labelled", help="File of samples with labels: they tell how good the labels are."),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", help="JSON lines of source, id and scores, in the place of a tag head.")
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="Preset whose tag head scores.")] = "tiny",
    method: Annotated[str, typer.Option(help="Thresholds: fixed, per-class, or relative (FlexMatch).")] = "fixed",
    threshold: Annotated[float, typer.Option(help="How sure of one label a recording must be to count.")] = 0.75,
    precision: Annotated[float, typer.Option(help="Wanted precision, for thresholds per class.")] = 0.9,
    single: Annotated[bool, typer.Option("--single", help="One label a recording.")] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Correct probabilities by half of the labelled samples.")
    ] = False,
    weak_views: Annotated[int, typer.Option(min=0, max=8, help="Take the mean score of so many weak views.")] = 0,
    views: Annotated[bool, typer.Option("--views", help="Write a weak and a strong view of what got labels.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed makes other views.")] = 0,
    dry_run: DryRun = False,
) -> None:
    """Label samples by a scorer's confidence; OUT gets samples.jsonl, all confidences, and a calibration report.

    Interrupt it at any time: the next run goes on, and other thresholds need no new scores.

    \b
    alm data pseudo-label new.jsonl --labelled known.jsonl --out labels
    alm data pseudo-label new.jsonl --scores mine.jsonl --method relative --out labels
    """
    from data_prep.cli import guarded
    from data_prep.pseudo.labelling import SAMPLES, PseudoPlan, pseudo_label, write_all_views
    from data_prep.pseudo.scorers import ScoreFile, TagHead
    from data_prep.pseudo.thresholds import LabelPlan
    from data_prep.sample_files import samples_at

    with guarded():
        kept = LabelPlan(method=method, threshold=threshold, precision=precision, single=single)
        plan = PseudoPlan(kept, weak_views=weak_views, calibrate=calibrate, seed=seed)
        known = list(samples_at(labelled)) if labelled is not None else []
        asked = list(samples_at(samples))
        if dry_run:
            by = scores if scores is not None else f"the tag head of {preset}"
            sys.stdout.write(f"{len(asked)} samples to label by {by}, {len(known)} labelled ones to test it\n")
            return
        scorer = ScoreFile(scores) if scores is not None else TagHead.of(preset)
        with progress_bars() as bars:
            times = 2 if method == "relative" else 1
            task = bars.add_task("samples", total=len(known) + times * len(asked), note="")
            report = pseudo_label(asked, scorer, plan, out, known, lambda count: bars.advance(task, count))
            if views:
                task = bars.add_task("views", total=report.labelled, note="")
                write_all_views(out, plan, lambda count: bars.advance(task, count))
    told = f"{report.labelled} of {report.samples} samples got labels, {sum(report.failed.values())} not scored"
    sys.stdout.write(f"{told}\n")
    console().print(f"written: {printable(str(out / SAMPLES))}, report.md")
