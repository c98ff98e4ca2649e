"""`python -m training`: features, transcripts, run, export."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from alm.cli import Parts, parse_parts
from alm.errors import AlmError, ConfigError
from alm.presets import adapter_folder

if TYPE_CHECKING:
    from training.config import RunConfig

CONFIG_ENDINGS = (".yaml", ".yml", ".json")


class TrainGroup(TyperGroup):
    """A configuration where a command is expected means `run`: `alm train my.yaml --dry-run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As click's, with `run` put in front."""
        first = next((arg for arg in args if not arg.startswith("-")), "")
        if first not in self.commands and any(arg.endswith(CONFIG_ENDINGS) for arg in args):
            args = ["run", *args]
        return list(super().parse_args(ctx, args))


app = typer.Typer(
    cls=TrainGroup,
    add_completion=False,
    no_args_is_help=True,
    help="Train the adapter: cache features, run the curriculum, export. `train CONFIG.yaml` is short for `train run`.",
)

ConfigPath = Annotated[Path, typer.Argument(help="YAML file of the run.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run instead of the configuration's.")]
GoOnFrom = Annotated[str, typer.Option(metavar="ADAPTER", help="Adapter to go on from: a folder, or a preset's name.")]
NewFolder = Annotated[Path, typer.Option(help="New folder for the adapter.")]


def _must_be_new(folder: Path) -> None:
    """Raises ConfigError if it is there."""
    if folder.exists():
        raise ConfigError(f"{folder} is there already; name a new folder")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _explain(wanted: bool) -> None:
    if wanted:
        from training.explain import explain

        for line in explain():
            print(line)
        raise typer.Exit(0)


@app.callback()
def training_commands(
    explain: Annotated[
        bool,
        typer.Option("--explain", callback=_explain, is_eager=True, help="List the fields of a configuration."),
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def features(
    config: ConfigPath,
    splits: Annotated[str, typer.Option(help="Splits of labelled sounds to cache, with commas.")] = "train,dev",
) -> None:
    """Cache the frozen encoders' features of every recording that training uses."""
    from training.config import load_config

    _make_features(load_config(config), splits.split(","))


def _make_features(settings: RunConfig, splits: Sequence[str]) -> None:
    import torch

    from training.features import Extractor, Report
    from training.models import find_base, make_ear
    from training.processes import Processes
    from training.run import recordings

    torch.set_num_threads(Processes().threads(settings.threads))
    extractor = Extractor(make_ear(settings, find_base(settings)), Path(settings.data.cache), settings.data.max_windows)
    shown = [time.monotonic()]

    def show(report: Report, total: int) -> None:
        if time.monotonic() - shown[0] > 15:
            shown[0] = time.monotonic()
            _say(f"{report.cached} of {total} recordings, {report.cached / max(report.seconds, 1e-9):.1f} a second")

    for group in recordings(settings.data, splits):
        report = extractor.run(group, show)
        _say(
            f"{report.cached} cached, {report.known} were there, {report.too_long} too long, "
            f"{len(report.refused)} refused"
        )
        for line in report.refused[:20]:
            _say(line)


def _silent(text: str) -> None:
    """What the further processes of a run say."""


@app.command()
def transcripts(config: ConfigPath) -> None:
    """Let Whisper write down what is said in the recordings of the rows."""
    from training.config import load_config

    settings = load_config(config)
    if not settings.data.transcripts:
        raise typer.BadParameter("the configuration's data.transcripts names no file")
    _make_transcripts(settings)


def _make_transcripts(settings: RunConfig) -> None:
    from alm.transcription import Transcriber
    from data_prep.records import read_records
    from training.knowledge import transcribe
    from training.models import find_base
    from training.run import record_files
    from training.stretches import recordings_of

    rows = [r for f in record_files(settings.data) for r in read_records(f) if r.split != "test"]
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
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run was ended; begin where there is none.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, in which memory and time, and stop.")
    ] = False,
    gpu: Annotated[
        str | None, typer.Option(help="With --dry-run: on these cards instead of this machine, as `h100` or `8xa100`.")
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="First make missing features, and transcripts where a file is named.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of bars, on a terminal too.")] = False,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="ADAPTER",
            help="Go on from this adapter, a folder or a preset's name, with the first stage or with --stage.",
        ),
    ] = None,
    out: OutOption = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another value for a field, as stages.answer.steps=200."),
    ] = None,
) -> None:
    """Run the curriculum; end it with SIGTERM or Ctrl-C at any time and go on with --resume.

    A run that was ended so leaves with 128 and the signal's number (143, 130).
    """
    from training.config import load_config

    settings = load_config(config, single=change or ())
    if dry_run and (gpu is not None or (settings.base.text_config and not Path(settings.base.llm).is_dir())):
        from training.paper import report

        for line in report(settings, gpu or "h100"):
            print(line)
        return
    from training.processes import join
    from training.run import Run, is_run
    from training.starting import start_from
    from training.watching import watchers

    begin = adapter_folder(start) if start is not None else None
    folder, processes = out or Path(settings.out), join(settings.device)
    known = is_run(folder)
    if known and not (resume or dry_run):
        raise typer.BadParameter(f"{folder} holds a run; add --resume to go on, or give another --out")
    if stage is not None:
        settings.stage(stage)
    if prepare and not dry_run:
        _prepare(settings, processes.world)
    shown = sys.stdout.isatty() and not (plain or dry_run)
    bar, listeners = watchers(settings.curves, folder, shown, _say) if processes.main else (None, [])
    say = bar.say if bar is not None else _say
    session = Run(settings, folder, say if processes.main else _silent, processes, tuple(listeners))
    if resume and not known and processes.main:
        say(f"{folder} holds no run to go on with; this one begins {f'from {begin}' if begin else 'anew'}")
    if begin is not None and not (known or dry_run):
        if processes.main:
            start_from(session, begin, stage)
        processes.wait()
    if dry_run:
        from training.estimate import describe

        for line in describe(session):
            _say(line)
        return
    with bar if bar is not None else contextlib.nullcontext():
        done = session.go(stage)
    if not done:
        raise typer.Exit(128 + session.stop.number)


def _prepare(settings: RunConfig, processes: int) -> None:
    """Features and transcripts that are missing; what is there is not made again."""
    if processes > 1:
        raise typer.BadParameter("--prepare is for one process; call `train features` and `train transcripts` before")
    if settings.data.cache:
        _make_features(settings, ("train", "dev"))
    if settings.data.transcripts:
        _make_transcripts(settings)


@app.command()
def export(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    adapter: Annotated[Path, typer.Argument(help="Folder to write.")],
    stage: Annotated[str | None, typer.Option(help="After this stage instead of the last finished one.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="best|latest|STEP", help="Weights of a stage that is not finished, instead (the one that goes on)."
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="One plain checkpoint for transformers and vLLM instead of an adapter.")
    ] = False,
) -> None:
    """Write what was trained: an adapter for `alm.load`, or one merged checkpoint for `from_pretrained`."""
    from training.config import RunConfig
    from training.export import read_stages, write_adapter, write_merged
    from training.typed import build

    file = run_folder / "config.json"
    if not file.is_file():
        raise ConfigError(f"{file} is not there; name the folder of a run")
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    write = write_merged if merge else write_adapter
    if not (checkpoint is None or checkpoint in ("best", "latest") or checkpoint.isdigit()):
        raise typer.BadParameter(f"--checkpoint is {checkpoint!r}; it must be best, latest or a step")
    settings = build(RunConfig, values, str(file))
    size = write(settings, run_folder, adapter, stage, checkpoint)
    held = read_stages(adapter)
    at = f", {checkpoint}" if checkpoint else ""
    lacking = [s.name for s in settings.stages if s.name not in held]
    last = [s.name for s in settings.stages if s.name in held][-1]
    _say(f"{adapter}: {size / 2**20:.1f} MiB, after stage {last}{at}")
    if lacking:
        _say(f"not in it, since they have not ended: {', '.join(lacking)}")


@app.command()
def average(
    first: Annotated[str, typer.Argument(metavar="ADAPTER", help="Folder of an adapter, or a preset's name.")],
    second: Annotated[
        Path, typer.Argument(help="Folder of a later one of the same training.", exists=True, file_okay=False)
    ],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    share: Annotated[float, typer.Option(help="Share of the second, between 0 and 1.")] = 0.5,
) -> None:
    """Write the mean of two adapters."""
    from training.average import average as write_average

    write_average(adapter_folder(first), second, share, out)
    _say(f"{out}: {share:g} of {second}, {1 - share:g} of {first}")


@app.command()
def prefer(
    records: Annotated[list[Path], typer.Argument(help="Record files: questions with options, or of yes and no.")],
    adapter: GoOnFrom,
    out: NewFolder,
    steps: Annotated[int, typer.Option(min=1, help="Steps.")] = 100,
    batch: Annotated[int, typer.Option(min=1, help="Pairs a step.")] = 8,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 2e-5,
    beta: Annotated[float, typer.Option(help="How dear it is to leave the first answers.")] = 0.1,
    part: Parts = None,
) -> None:
    """Prefer right answers to wrong ones (DPO, by TRL)."""
    from data_prep.records import read_records
    from training.preferences import PreferSettings, prefer_adapter, preferences

    _must_be_new(out / "adapter")
    pairs = preferences(r for file in records for r in read_records(file))
    _say(f"{len(pairs)} pairs of a right and a wrong answer")
    settings = PreferSettings(steps, batch, lr, beta)
    last = prefer_adapter(adapter_folder(adapter), pairs, settings, out, parse_parts(part), _say)
    _say(f"{out / 'adapter'}: right over wrong in {float(last['rewards/accuracies']):.0%} of the last pairs")


@app.command()
def grpo(
    records: Annotated[list[Path], typer.Argument(help="Record files: options, yes and no, or whole numbers.")],
    adapter: GoOnFrom,
    out: NewFolder,
    steps: Annotated[int, typer.Option(min=1, help="Steps.")] = 100,
    questions: Annotated[int, typer.Option(min=1, help="Questions a step.")] = 4,
    answers: Annotated[int, typer.Option(min=2, help="Answers to each question.")] = 8,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-5,
    temperature: Annotated[float, typer.Option(min=0.01, help="Temperature of the answers.")] = 1.0,
    task: Annotated[list[str] | None, typer.Option(help="Only questions of this task; may be given again.")] = None,
    part: Parts = None,
) -> None:
    """Make answers likelier that turn out right (GRPO, by TRL)."""
    from data_prep.records import read_records
    from training.grpo import GrpoSettings, grpo_adapter
    from training.rewards import askable

    _must_be_new(out / "adapter")
    found = askable(r for file in records for r in read_records(file))
    asked = [r for r in found if not task or r.task in task]
    _say(f"{len(asked)} questions whose answers can be checked")
    settings = GrpoSettings(steps, questions, answers, lr, temperature)
    last = grpo_adapter(adapter_folder(adapter), asked, settings, out, parse_parts(part), _say)
    _say(f"{out / 'adapter'}: {float(last['reward']):.0%} of the last answers are right")


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
    kept: Annotated[
        Path | None, typer.Option(help="Folder of what the report needs, small; OUT if none is given.")
    ] = None,
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
    common = shared(settings, folder, kept or folder, [t for t in tasks.split(",") if t], most, _say)
    todo = jobs(chosen(arms or []), range(settings.seed, settings.seed + seeds))
    done = run_all(todo, common, at_once, 60 * minutes, _say, evidence)
    _say(f"{done} of {len(todo)} runs are done")


@app.command()
def score(
    config: ConfigPath,
    adapters: Annotated[list[str], typer.Argument(help="NAME=FOLDER of each adapter; the first is compared with.")],
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("score.md"),
    tasks: Annotated[str, typer.Option(help="Tasks, with commas; all if none is given.")] = "",
    most: Annotated[int, typer.Option(min=1, help="Questions of each task.")] = 100,
    before: Annotated[
        Path | None, typer.Option(help="Configuration of the first adapter; tasks it does not name are called new.")
    ] = None,
) -> None:
    """Ask adapters the test rows of a configuration, task by task, on cached features."""
    from training.config import load_config
    from training.score import ask, named_adapter, page, rows_of, table

    settings = load_config(config)
    named = dict(map(named_adapter, adapters))
    rows = rows_of(settings, [t for t in tasks.split(",") if t], most, _say)
    said = {}
    for name, folder in named.items():
        said[name] = ask(settings, folder, rows)
        _say(f"{name}: {100 * said[name].right.mean():.1f} % right, {said[name].nats.mean():.2f} nats a token")
    known = [t for s in load_config(before).stages for t in s.tasks] if before else []
    told = [f"python -m training score {config} {' '.join(adapters)}", f"--before {before}" if before else ""]
    told += [f"--tasks {tasks}" if tasks else "", f"--most {most} --out {out}"]
    out.write_text(page(table(rows, said, known), " ".join(t for t in told if t)), encoding="utf-8")
    _say(f"written: {out}")


@app.command(name="study-report")
def study_report(
    folder: Annotated[Path, typer.Argument(help="What a study kept.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Argument(help="Markdown file to write; plots go into a folder beside it.")],
) -> None:
    """Write the tables and plots of a study."""
    from training.study.page import page

    out.write_text(page(folder, out, f"python -m training study-report {folder} {out}"), encoding="utf-8")
    _say(f"written: {out}")


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
