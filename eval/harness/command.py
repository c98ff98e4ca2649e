"""`alm eval list|prepare|run|judge|score|report|compare`. Nothing heavy is imported before a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alm.terminal import console, printable, write_json
from eval.harness.guarding import INCOMPLETE, guarded, progress

if TYPE_CHECKING:
    from eval.harness.models import Model
    from eval.harness.runs import Run

RunFolder = Annotated[Path, typer.Argument(help="Folder that `alm eval run --out` made.", show_default=False)]
PreparedAt = Annotated[
    Path | None, typer.Option("--prepared", help="Where the prepared benchmark is now, if it was moved.")
]
JudgeMissing = Annotated[
    Literal["wait", "zero"],
    typer.Option(help="An answer without a grade waits for one, and the run is incomplete; or it is worth nothing."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
JudgeName = Annotated[
    str, typer.Option("--judge", help="Preset or folder of a model that grades; with --judge-endpoint its name.")
]
JudgeEndpoint = Annotated[str, typer.Option(help="OpenAI-compatible server of the judge, up to and with /v1.")]
JudgeKey = Annotated[str, typer.Option(help="Environment variable that holds the judge's key.")]
JudgeRevision = Annotated[
    str, typer.Option(help="Date or revision of the judge where its name holds none; undated names change meaning.")
]


def list_benchmarks(
    name: Annotated[str | None, typer.Argument(help="Only this one, with how to get its data.")] = None,
    as_json: AsJson = False,
) -> None:
    """Name the benchmarks: licence, where the data are, what is measured.

    \b
    alm eval list
    alm eval list mmau
    """
    with guarded():
        from eval.harness.listing import describe

        found = describe(name)
        if as_json:
            write_json(found)
            return
        for one in found:
            typer.echo(printable(one["text"]))


def prepare(
    name: Annotated[str, typer.Argument(help="Benchmark; `alm eval list` shows the names.", show_default=False)],
    source: Annotated[Path, typer.Option("--from", help="Folder of the official download.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the prepared benchmark.", show_default=False)],
    split: Annotated[str, typer.Option(help="One of the benchmark's splits; the usual one if not given.")] = "",
    allow_lost: Annotated[
        bool, typer.Option("--allow-lost", help="Go on where the download lacks rows or recordings; it is recorded.")
    ] = False,
) -> None:
    """Turn an official download into items with hashes; refuses when counts do not match. No recording is copied.

    \b
    alm eval prepare mmau --from downloads/MMAU --out prepared/mmau
    """
    with guarded():
        from eval.harness.making import prepare_by_name

        made = prepare_by_name(name, source, out, split, allow_lost)
        lost = sum(one.count for one in made.card.lost)
        console().print(f"{made.card.items} items, {lost} lost, hash {made.hash}; data under {made.card.licence}")
        typer.echo(out)


def run(
    bench: Annotated[
        str, typer.Option(help="Folder of a prepared benchmark, or a benchmark's name.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; run again with it to go on.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option(help="Official download: where recordings are, or what is prepared by name.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split, for a benchmark given by name.")] = "",
    model: Annotated[str, typer.Option(help="Preset; with --endpoint the name that the server knows.")] = "tiny",
    adapter: Annotated[
        str | None, typer.Option(help="Folder of a trained adapter; `none` for the preset without one.")
    ] = None,
    evidence: Annotated[
        bool | None, typer.Option("--evidence/--no-evidence", help="Give events and transcript as text.")
    ] = None,
    engine: Annotated[Literal["transformers", "vllm"], typer.Option(help="What decodes our presets.")] = "transformers",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    rows: Annotated[int, typer.Option(min=1, help="Answers that our engine writes in step.")] = 16,
    endpoint: Annotated[str, typer.Option(help="OpenAI-compatible server to ask instead, up to and with /v1.")] = "",
    key_env: Annotated[str, typer.Option(help="Environment variable that holds the server's key.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Questions open at the server at the same time.")] = 4,
    cascade: Annotated[
        str, typer.Option(metavar="PRESET", help="The model only reads what this preset's ears write down: a baseline.")
    ] = "",
    max_audio_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Longest recording that the model takes. Default: the preset's.")
    ] = None,
    long: Annotated[
        Literal["chunk", "truncate", "refuse"],
        typer.Option(help="Longer recordings: given in pieces, cut and flagged, or counted as wrong."),
    ] = "truncate",
    condition: Annotated[
        list[str] | None,
        typer.Option(
            help="heard, text-only, shuffled, or what spoils recordings, such as noise-10dB; may be given again. "
            "Default: the first three."
        ),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer instead of each item's own.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 takes the likeliest token.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="For temperatures above 0.")] = 0,
    loglik: Annotated[
        bool, typer.Option("--loglik", help="Also rank choices and labels by likelihood (our presets only).")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many items, for a quick look.")] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only generate, and only a part: 1/4 to 4/4.")] = "1/1",
    trained_on: Annotated[
        Path | None, typer.Option(help="SHA-256 of the model's training recordings, one a line, to flag seen items.")
    ] = None,
    judge_name: JudgeName = "tiny",
    judge_endpoint: JudgeEndpoint = "",
    judge_key_env: JudgeKey = "",
    judge_revision: JudgeRevision = "",
    judge_missing: JudgeMissing = "wait",
    only_generate: Annotated[bool, typer.Option("--only-generate", help="Judge and score later.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and count; ask and write nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Ask a model a benchmark's questions, judge, score and report. Run it again to go on where it stopped.

    Exit code 0: complete; 1: answers or grades are missing or failed; 2: nothing could be done; 130: interrupted.

    \b
    alm eval run --bench prepared/mmau --model tiny --out runs/tiny-mmau
    alm eval run --bench mmau --data downloads/MMAU --out runs/quick --limit 20 --condition heard
    alm eval run --bench prepared/mmau --out runs/rival --model NAME-2026-01-31 \\
        --endpoint https://host/v1 --key-env API_KEY --concurrency 8 --max-audio-seconds 600
    """
    from eval.harness.asking import Asking
    from eval.harness.making import ModelWish

    wish = ModelWish(
        model, adapter, evidence, engine, device, rows, endpoint, key_env, concurrency, max_audio_seconds, cascade
    )
    asking = Asking(max_tokens, temperature, seed, loglik, long)
    judge_wish = _judge_wish(judge_name, judge_endpoint, judge_key_env, concurrency, device)
    with guarded():
        from eval.harness.generate import Part
        from eval.harness.making import asking_of, find_benchmark, make_run

        part, asked = Part.parse(shard), wish.made()
        prepared = find_benchmark(bench, data, out / "prepared", split)
        seen, asking = trained_on or wish.trained_on(), asking_of(asking, asked)
        made = make_run(out, prepared, data, asked, asking, limit, seen, write=not dry_run)
        failed = _generated(made, asked, condition, part, dry_run, quiet)
        if dry_run or only_generate or part.of > 1:
            raise typer.Exit(INCOMPLETE if failed else 0)
        _embedded(made, quiet)
        _judged(made, judge_wish, judge_revision, quiet)
        _scored(made, judge_missing, failed)


def _judge_wish(name: str, endpoint: str, key_env: str, concurrency: int, device: str) -> Any:
    from eval.harness.making import ModelWish

    # Our own judge reads text alone: nothing is heard, so nothing is told as evidence.
    return ModelWish(name, None, None, "transformers", device, 16, endpoint, key_env, concurrency)


def _generated(made: Run, model: Model, wanted: list[str] | None, part: Any, dry_run: bool, quiet: bool) -> int:
    """Ask under each condition; gives how many questions failed."""
    from eval.harness.conditions import chosen_conditions
    from eval.harness.generate import generate

    failed = 0
    try:
        for name in chosen_conditions(wanted, made.prepared.items):
            with progress(f"asking ({name})", quiet) as report:
                outcome = generate(made, model, name, part, dry_run, report)
            failed += outcome.failed
            said = "to ask" if dry_run else "open"
            console().print(
                f"{name}: {outcome.total} items, {outcome.already} answered before, {outcome.done} now, "
                f"{outcome.failed} failed, {outcome.left} {said}"
                + (f", {outcome.recordings} recordings there" if dry_run else "")
            )
    finally:
        model.close()
    return failed


def _embedded(made: Run, quiet: bool) -> None:
    from eval.harness.nearness import embed, pinned_embedder, wants_embedding

    if wants_embedding(made):
        embedder, name = pinned_embedder()
        for condition_name in made.conditions:
            with progress(f"embedding ({condition_name})", quiet) as report:
                embed(made, condition_name, embedder, name, report)


def _judged(made: Run, wish: Any, revision: str, quiet: bool) -> None:
    from eval.harness.grading import judge_run, wants_judge

    if wants_judge(made):
        judge_run(made, wish, revision, lambda what: progress(what, quiet))


def _scored(made: Run, judge_missing: Literal["wait", "zero"], failed: int = 0) -> None:
    from eval.harness.grading import score_run
    from eval.harness.report import write_report

    summary = score_run(made, judge_missing)
    for path in write_report(made.folder):
        typer.echo(path)
    waiting, missing = sum(summary["unjudged"].values()), sum(summary["missing"].values())
    if waiting or missing:
        console().print(f"incomplete: {missing} answers and {waiting} graded answers are missing")
    if waiting or missing or failed:
        raise typer.Exit(INCOMPLETE)


def judge(
    folder: RunFolder,
    judge_name: JudgeName = "tiny",
    judge_endpoint: JudgeEndpoint = "",
    judge_key_env: JudgeKey = "",
    judge_revision: JudgeRevision = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Questions open at the server at the same time.")] = 4,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    prepared: PreparedAt = None,
    quiet: Quiet = False,
) -> None:
    """Let a judge grade open answers; grades that are there stay, gaps are asked again. Then say `alm eval score`.

    \b
    alm eval judge runs/tiny-air
    alm eval judge runs/tiny-air --judge NAME-2026-01-31 --judge-endpoint https://host/v1 --judge-key-env API_KEY
    """
    with guarded():
        from eval.harness.runs import read_run

        made = read_run(folder, prepared)
        wish = _judge_wish(judge_name, judge_endpoint, judge_key_env, concurrency, device)
        _embedded(made, quiet)
        _judged(made, wish, judge_revision, quiet)


def score(folder: RunFolder, judge_missing: JudgeMissing = "wait", prepared: PreparedAt = None) -> None:
    """Score stored answers again and write summary and report; loads no model.

    Exit code 1: answers or grades are missing.

    \b
    alm eval score runs/tiny-mmau
    alm eval score runs/tiny-air --judge-missing zero
    """
    with guarded():
        from eval.harness.runs import read_run

        _scored(read_run(folder, prepared), judge_missing)


def report_runs(runs: list[Path], out: Path | None) -> list[Path]:
    """Write the report of each run from its summary, and one table and page over several; gives the paths."""
    from eval.harness.report import write_report
    from eval.harness.together import write_together

    written = [path for folder in runs for path in write_report(folder)]
    together = write_together(runs, out or Path("report")) if out is not None or len(runs) > 1 else []
    return written + together


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a scored run.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Folder of another on the same items.", show_default=False)],
    condition: Annotated[str, typer.Option(help="Under which condition.")] = "heard",
    out: Annotated[Path, typer.Option(help="Folder for the comparison.")] = Path("comparison"),
) -> None:
    """Compare two runs item by item: McNemar's test, and intervals of the paired difference by source.

    \b
    alm eval compare runs/tiny-mmau runs/rival-mmau --out runs/tiny-rival
    """
    with guarded():
        from eval.harness.compare import write_comparison
        from eval.harness.runs import read_run

        for path in write_comparison(read_run(first), read_run(second), condition, out):
            typer.echo(path)


def register(app: typer.Typer) -> None:
    """Add the harness's commands; `report` is shared with the corpus evaluations and registered by them."""
    app.command("list")(list_benchmarks)
    app.command()(prepare)
    app.command()(run)
    app.command()(judge)
    app.command()(score)
    app.command()(compare)
