"""`python -m training`: features, transcripts, run, export."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from alm.errors import AlmError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Train the adapter: cache features, run the curriculum, export."
)

ConfigPath = Annotated[Path, typer.Argument(help="YAML file of the run.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run instead of the configuration's.")]


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


@app.command()
def features(
    config: ConfigPath,
    splits: Annotated[str, typer.Option(help="Splits of labelled sounds to cache, with commas.")] = "train,dev",
) -> None:
    """Cache the frozen encoders' features of every recording that training uses."""
    import torch

    from training.config import load_config
    from training.features import Extractor, Report
    from training.models import find_base, make_ear
    from training.run import recordings

    settings = load_config(config)
    torch.set_num_threads(settings.threads)
    extractor = Extractor(make_ear(settings, find_base(settings)), Path(settings.data.cache), settings.data.max_windows)
    shown = [time.monotonic()]

    def show(report: Report, total: int) -> None:
        if time.monotonic() - shown[0] > 15:
            shown[0] = time.monotonic()
            _say(f"{report.cached} of {total} recordings, {report.cached / max(report.seconds, 1e-9):.1f} a second")

    for group in recordings(settings.data, splits.split(",")):
        report = extractor.run(group, show)
        _say(
            f"{report.cached} cached, {report.known} were there, {report.too_long} too long, "
            f"{len(report.refused)} refused"
        )
        for line in report.refused[:20]:
            _say(line)


@app.command()
def transcripts(config: ConfigPath) -> None:
    """Let Whisper write down what is said in the recordings of the rows."""
    from alm.transcription import Transcriber
    from data_prep.records import read_records
    from training.config import load_config
    from training.knowledge import transcribe
    from training.models import find_base
    from training.run import expand
    from training.stretches import recordings_of

    settings = load_config(config)
    if not settings.data.transcripts:
        raise typer.BadParameter("the configuration's data.transcripts names no file")
    rows = [r for f in expand(settings.data.records) for r in read_records(f) if r.split != "test"]
    named = list(dict.fromkeys(one for r in rows for one in recordings_of(r)))

    def show(done: int) -> None:
        if done % 200 == 0:
            _say(f"{done} of {len(named)} recordings")

    made = transcribe(Transcriber(find_base(settings).transcriber), named, Path(settings.data.transcripts), show)
    _say(f"{made} transcripts written")


@app.command()
def run(
    config: ConfigPath,
    stage: Annotated[str | None, typer.Option(help="Run only this stage, on top of the ones that are done.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in a folder that exists.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained and stop.")] = False,
    start: Annotated[
        Path | None, typer.Option(help="Adapter whose weights stand for the stages before --stage.")
    ] = None,
    out: OutOption = None,
) -> None:
    """Run the curriculum; end it with SIGTERM at any time and go on with --resume."""
    from training.config import load_config
    from training.run import Run
    from training.starting import start_from

    settings = load_config(config)
    folder = out or Path(settings.out)
    if (folder / "log.jsonl").is_file() and not (resume or dry_run):
        raise typer.BadParameter(f"{folder} holds a run; add --resume to go on, or give another --out")
    if stage is not None:
        settings.stage(stage)
    session = Run(settings, folder, _say)
    if start is not None and not (resume or dry_run):
        if stage is None:
            raise typer.BadParameter("--start needs --stage: the stage that goes on from the adapter")
        start_from(session, start, stage)
    if dry_run:
        from training.estimate import describe

        for line in describe(session):
            _say(line)
        return
    if not session.go(stage):
        raise typer.Exit(0)


@app.command()
def export(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    adapter: Annotated[Path, typer.Argument(help="Folder to write.")],
    stage: Annotated[str | None, typer.Option(help="After this stage instead of the last finished one.")] = None,
) -> None:
    """Write the trained adapter."""
    from training.config import RunConfig, build
    from training.export import write_adapter

    values: dict[str, Any] = json.loads((run_folder / "config.json").read_text(encoding="utf-8"))
    size = write_adapter(build(RunConfig, values, str(run_folder / "config.json")), run_folder, adapter, stage)
    _say(f"{adapter}: {size / 2**20:.1f} MiB")


@app.command()
def average(
    first: Annotated[Path, typer.Argument(help="Folder of an adapter.", exists=True, file_okay=False)],
    second: Annotated[
        Path, typer.Argument(help="Folder of a later one of the same training.", exists=True, file_okay=False)
    ],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    share: Annotated[float, typer.Option(help="Share of the second, between 0 and 1.")] = 0.5,
) -> None:
    """Write the mean of two adapters."""
    from training.average import average as write_average

    write_average(first, second, share, out)
    _say(f"{out}: {share:g} of {second}, {1 - share:g} of {first}")


@app.command()
def compare(
    config: ConfigPath,
    variants: Annotated[list[str] | None, typer.Argument(help="Names of variants; all if none is given.")] = None,
    out: OutOption = None,
) -> None:
    """Train the same curriculum with each fusion scheme; run it again to go on. `python -m eval schemes` compares."""
    from training.compare import chosen
    from training.compare import compare as train_all
    from training.config import load_config

    settings = load_config(config)
    if not train_all(settings, out or Path(settings.out), chosen(variants or []), _say):
        raise typer.Exit(0)


@app.command()
def study(
    config: ConfigPath,
    arms: Annotated[list[str] | None, typer.Argument(help="Names of arms; all if none is given.")] = None,
    out: OutOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds, from the configuration's on.")] = 3,
    at_once: Annotated[int, typer.Option(min=1, help="Runs side by side.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.0, help="Stop then; the same command goes on.")] = 1e6,
    tasks: Annotated[str, typer.Option(help="Tasks that are scored, with commas; all if none is given.")] = "",
    most: Annotated[int, typer.Option(min=1, help="Questions scored of each task.")] = 120,
    evidence: Annotated[
        Path | None, typer.Option(help="Finished run whose sounds the arms with evidence are told.")
    ] = None,
) -> None:
    """Train every arm of the study (docs/study.md) with every seed, and score it on the test split."""
    from training.config import load_config
    from training.study.arms import chosen
    from training.study.running import jobs, run_all, shared

    settings = load_config(config)
    folder = out or Path(settings.out)
    common = shared(settings, folder, [t for t in tasks.split(",") if t], most, _say)
    todo = jobs(chosen(arms or []), range(settings.seed, settings.seed + seeds))
    done = run_all(todo, common, folder, at_once, 60 * minutes, _say, evidence)
    _say(f"{done} of {len(todo)} runs are done")


@app.command()
def pack(
    config: ConfigPath,
    out: Annotated[Path, typer.Argument(help="New folder.")],
    distortion: Annotated[float, typer.Option(min=0.005, max=0.5, help="Error, as a part of the variance.")] = 0.01,
    processes: Annotated[int, typer.Option(min=1, help="Processes that pack.")] = 1,
) -> None:
    """Make the feature cache small enough to travel to another machine (with losses; `unpack` there)."""
    from training.config import load_config
    from training.packing import pack as write_packed
    from training.run import Run

    run = Run(load_config(config), out, _say)
    known = [run.cache.find(s.path) for s in run.sounds if s.split in ("train", "dev", "test") and s.single]
    items = [i for r in run.rows for i in r.items] + [i for i in known if i is not None]
    size = write_packed(run.cache, items, out, distortion, processes)
    _say(f"{out}: {size / 2**20:.1f} MiB")


@app.command()
def unpack(
    source: Annotated[Path, typer.Argument(help="Folder that `pack` wrote.", exists=True, file_okay=False)],
    cache: Annotated[Path, typer.Argument(help="Feature cache to make.")],
    processes: Annotated[int, typer.Option(min=1, help="Processes that unpack.")] = 1,
) -> None:
    """Make a feature cache of a packed one; it stands in for the recordings, which need not be there."""
    from training.packing import unpack as write_cache

    _say(f"{cache}: {write_cache(source, cache, processes)} recordings")


def main() -> None:
    """Entry point: typed errors become one line and exit code 2."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except AlmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
