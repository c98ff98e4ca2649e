"""Trains and scores every arm with every seed, several at once; what is done is not done again."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from alm.errors import ConfigError
from alm.modeling import AlmForConditionalGeneration
from training.atomic import write_json
from training.config import RunConfig
from training.features import FeatureCache
from training.precision import as_kept
from training.processes import Processes
from training.rows import Collator, Row
from training.run import Run
from training.sounds import Sound
from training.study.arms import TOLD, Arm, configured
from training.study.insight import attention_by_layer, knowledge_by_layer, probed
from training.study.scoring import chosen_rows, save_scores, score
from training.typed import build

Say = Callable[[str], None]
SCORES, INSIGHT, ROWS, CONFIG = "scores.npz", "insight.json", "rows.json", "config.json"
EVIDENCE = ("sounds.json", "scores.safetensors")
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """One run of the study."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm.name}-{self.seed}"


@dataclass(frozen=True)
class Shared:
    """What all runs read: made once, before the processes part."""

    folder: Path
    """Of the runs: weights, logs."""
    kept: Path
    """Of what the report needs: a few kilobytes a run, which outlive the runs."""
    base: RunConfig
    rows: list[Row]
    sounds: list[Sound]
    labels: list[str]
    test: list[Row]


def shared(base: RunConfig, folder: Path, kept: Path, tasks: Sequence[str], most: int, say: Say) -> Shared:
    """Read rows and recordings, and write down which questions are scored.

    Raises:
        ConfigError: `kept` holds scores of other questions or of another configuration.
    """
    whole = Run(base, folder / "shared", say)
    test = chosen_rows(whole.rows, tasks, most)
    asked = [{"id": r.id, "task": r.task, "source": r.source} for r in test]
    same_study(kept, {ROWS: asked, CONFIG: json.loads(json.dumps(replace(base, out="").to_dict()))})
    say(f"{len(test)} questions of the test split are scored")
    return Shared(folder, kept, base, whole.rows, whole.sounds, whole.labels, test)


def same_study(kept: Path, files: Mapping[str, Any]) -> None:
    """Write what all runs have in common, or find the same there."""
    kept.mkdir(parents=True, exist_ok=True)
    begun = any(kept.glob(f"*/{SCORES}"))
    for name, content in files.items():
        path = kept / name
        if begun and (not path.is_file() or _kept(path) != content):
            raise ConfigError(
                f"{path}: the scores beside it are of other questions or settings; give another --kept, or the same "
                "corpus, configuration, --tasks and --most"
            )
        write_json(path, content)


def _kept(path: Path) -> Any:
    """What a file holds; of a configuration, with fields that came later as they are when left out."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if path.name != CONFIG:
        return content
    return json.loads(json.dumps(build(RunConfig, content, str(path)).to_dict()))


def jobs(arms: Sequence[Arm], seeds: Sequence[int]) -> list[Job]:
    """All arms with the first seed, then all with the next."""
    return [Job(arm, seed) for seed in seeds for arm in arms]


def run_job(job: Job, common: Shared, evidence: Path | None) -> None:
    """Train, score and look inside one run, in folders of its name."""
    own, kept = common.folder / job.name, common.kept / job.name
    config = configured(common.base, job.arm, job.seed)
    torch.set_num_threads(Processes().threads(config.threads))
    run = Run(config, own, lambda text: None)
    run.rows, run.sounds, run.labels = common.rows, common.sounds, common.labels
    own.mkdir(parents=True, exist_ok=True)
    kept.mkdir(parents=True, exist_ok=True)
    write_json(own / "labels.json", common.labels)
    if job.arm.evidence and evidence is not None:
        for name in EVIDENCE:
            shutil.copyfile(evidence / name, own / name)
    began = time.monotonic()
    if not run.go():
        return
    trained = time.monotonic() - began
    model = run.parts[0]
    knowledge = run.knowledge()
    bare = run.collator(knowledge)
    facts: dict[str, Any] = {"seconds": trained}
    with as_kept(model):
        right, nats = score(model, bare, common.test)
        if job.arm.evidence:
            told, told_nats = score(model, bare, common.test, TOLD)
            save_scores(kept / f"told-{SCORES}", told, told_nats, facts)
        if job.seed == common.base.seed and job.arm.part == "a":
            _look_inside(model, bare, common, kept)
    save_scores(kept / SCORES, right, nats, facts)


def _look_inside(model: AlmForConditionalGeneration, bare: Collator, common: Shared, kept: Path) -> None:
    chosen = probed(common.sounds, FeatureCache(Path(common.base.data.cache)))
    found = {
        "probe": knowledge_by_layer(model, bare, chosen),
        "attention": attention_by_layer(model, bare, chosen),
    }
    write_json(kept / INSIGHT, found)


def _guarded(job: Job, common: Shared, evidence: Path | None) -> None:
    log = common.folder / f"{job.name}.log"
    try:
        run_job(job, common, evidence)
    except Exception as error:
        log.write_text(traceback.format_exc(), encoding="utf-8")
        raise SystemExit(1) from error


def run_all(
    todo: Sequence[Job], common: Shared, at_once: int, seconds: float, say: Say, evidence: Path | None
) -> int:
    """Work through the jobs, so many at once, until all are done or the time is over; gives how many are done.

    Runs that are under way when the time is over are ended; the same call goes on with them later.
    """
    context = multiprocessing.get_context("fork")
    waiting = [j for j in todo if not (common.kept / j.name / SCORES).is_file()]
    running: dict[str, BaseProcess] = {}
    ends = time.monotonic() + seconds
    while (waiting or running) and time.monotonic() < ends:
        for name, process in list(running.items()):
            if not process.is_alive():
                del running[name]
                state = "done" if process.exitcode == 0 else f"failed; see {common.folder / name}.log"
                say(f"{name}: {state} ({len(waiting)} wait)")
        while waiting and len(running) < at_once and _ready(waiting, evidence):
            job = _next(waiting, evidence)
            process = context.Process(target=_guarded, args=(job, common, evidence))
            process.start()
            running[job.name] = process
        time.sleep(POLL_SECONDS)
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.join()
    return sum((common.kept / j.name / SCORES).is_file() for j in todo)


def _can(job: Job, evidence: Path | None) -> bool:
    """Arms with evidence take another run's opinion of the recordings, and wait for it."""
    return not job.arm.evidence or evidence is None or all((evidence / n).is_file() for n in EVIDENCE)


def _ready(waiting: Sequence[Job], evidence: Path | None) -> bool:
    return any(_can(j, evidence) for j in waiting)


def _next(waiting: list[Job], evidence: Path | None) -> Job:
    return waiting.pop(next(i for i, j in enumerate(waiting) if _can(j, evidence)))
