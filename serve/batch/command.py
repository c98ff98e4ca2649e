"""`alm batch`. Nothing heavy is imported before it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alm.cli import Adapter, AsJson, EvidenceSwitch, Parts, Preset, Quiet, load_assistant, parse_parts
from alm.errors import ConfigError
from alm.terminal import console, printable, progress_bars, write_json
from serve.engines.starting import ENGINE_HELP, check_engine, start_engine

if TYPE_CHECKING:
    from serve.batch.answering import BatchAnswerer
    from serve.batch.manifest import BatchSettings
    from serve.batch.runner import BatchPolicy, Outcome
    from serve.batch.sources import Source
    from serve.batch.stages import Engine

_ROWS_FAILED = 1
ROWS_AT_ONCE = 64
WINDOW = 256
_PROBLEMS_SHOWN = 20
_PLAIN_PROGRESS_SECONDS = 30.0


def batch(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Rows: .jsonl .json .csv .parquet; or a folder.", show_default=False)
    ],
    target: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Answers: .jsonl .csv .parquet", show_default=False)
    ] = None,
    preset: Preset = "tiny",
    adapter: Adapter = None,
    parts: Parts = None,
    evidence: EvidenceSwitch = None,
    question: Annotated[
        str | None, typer.Option(help="What to ask about each recording of a folder.", show_default=False)
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=8192, help="Longest answer in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 takes the likeliest token.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="For temperatures above 0; the same for each row.")] = 0,
    on_error: Annotated[Literal["skip", "stop"], typer.Option(help="What to do when a row fails.")] = "skip",
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Try failed rows again.")] = False,
    details: Annotated[bool, typer.Option("--details", help="Add usage and evidence to each row.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Answer at most so many rows now.")] = None,
    shard: Annotated[str, typer.Option(help="Only a part of the rows: 1/4 to 4/4.", metavar="I/N")] = "1/1",
    merge: Annotated[
        list[Path] | None, typer.Option(help="Begin with the rows of this output; may be given again.", metavar="PART")
    ] = None,
    rows_at_once: Annotated[int, typer.Option(min=1, help="Rows that are answered in step.")] = ROWS_AT_ONCE,
    window: Annotated[
        int, typer.Option(min=1, help="Rows read together; recordings they share are heard once.")
    ] = WINDOW,
    engine: Annotated[
        Literal["transformers", "vllm", "ray"],
        typer.Option(help=f"{ENGINE_HELP} ray: transformers in several processes or machines."),
    ] = "transformers",
    workers: Annotated[int, typer.Option(min=1, help="Models that Ray runs at the same time.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check rows and recordings, write nothing.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Answer a file of questions; run it again to go on where it stopped.

    Rows are `{"id", "messages", "audios"}`, where `<audio>` marks a recording,
    or simply `{"id", "audio", "question"}`: lines of JSON, a JSON list, CSV or
    Parquet. Entries of OpenAQA and lines of OpenAI's Batch API are understood,
    too. Paths are relative to the input file. A row comes out for each row, with
    `answer` or `error`.
    Exit code 0: all answered; 1: some rows failed; 2: nothing could be done.

    \b
    alm batch questions.jsonl answers.jsonl
    alm batch recordings/ answers.csv --question "What do you hear?"
    alm batch questions.csv --dry-run
    alm batch questions.parquet answers.parquet --retry-errors
    alm batch questions.jsonl part1.jsonl --shard 1/2        (and 2/2 on another machine)
    alm batch questions.jsonl answers.jsonl --merge part1.jsonl --merge part2.jsonl
    """
    from serve.batch.index import Shard
    from serve.batch.manifest import BatchSettings, model_hashes
    from serve.batch.runner import BatchPolicy, run_batch, validate
    from serve.batch.sources import open_source

    rows, part = open_source(source, question), Shard.parse(shard)
    if dry_run:
        with _progress("checking", quiet=quiet or as_json) as on_row:
            outcome = validate(rows, part, on_row)
        _finish(outcome, "usable", as_json=as_json, quiet=quiet, code=2)
        return
    if target is None:
        raise ConfigError("the output file is missing: alm batch IN OUT")
    chosen = str(adapter.resolve()) if adapter else None
    hashes = model_hashes(preset, adapter)
    decodes = "vllm" if engine == "vllm" else "transformers"
    settings = BatchSettings(preset, chosen, evidence, max_new_tokens, temperature, seed, **hashes, engine=decodes)
    merged = tuple(merge or ())
    policy = BatchPolicy(on_error == "stop", retry_errors, details, window, limit, shard=part, merge=merged)
    with ExitStack() as started, _progress("answering", quiet=quiet or as_json) as on_row:
        made = partial(_answerer, settings, parse_parts(parts), rows_at_once)
        load = partial(_batch_engine, engine, rows, target, made, policy, workers, started)
        outcome = run_batch(rows, target, settings, policy, load, on_row)
    _finish(outcome, "answered", as_json=as_json, quiet=quiet, code=_ROWS_FAILED)


def _batch_engine(
    name: str,
    source: Source,
    target: Path,
    make: Callable[..., BatchAnswerer],
    policy: BatchPolicy,
    workers: int,
    started: ExitStack,
) -> Engine:
    details = policy.details or source.dialect == "openai"  # whose responses tell usage and why an answer ended
    if name == "ray":
        from serve.batch.on_ray import RayEngine

        spool = target.with_name(target.name + ".spool.jsonl").resolve()
        return RayEngine(source, make, spool, policy.window, details, workers)
    from serve.batch.stages import LocalEngine

    return LocalEngine(source, make(started), policy.window, details)


def _answerer(
    settings: BatchSettings, parts: Mapping[str, str], rows_at_once: int, started: ExitStack | None = None
) -> BatchAnswerer:
    """An engine for rows; `started` ends it, or else the end of the process."""
    from serve.batch.answering import BatchAnswerer

    check_engine(settings.engine)
    adapter = Path(settings.adapter) if settings.adapter else None
    assistant = load_assistant(settings.preset, adapter=adapter, evidence=settings.evidence, parts=parts)
    decoding = start_engine(settings.engine, assistant, rows_at_once, sys.maxsize, a_batch=True)
    if started is not None:
        started.callback(decoding.close)
    return BatchAnswerer(decoding, settings)


@contextmanager
def _progress(what: str, *, quiet: bool) -> Iterator[Callable[[Outcome], None]]:
    """A bar on a terminal; elsewhere a line now and then."""
    screen = console()
    last = time.monotonic()
    with progress_bars(quiet=quiet) as bars:
        task = bars.add_task(what, total=None, note="")

        def on_row(outcome: Outcome) -> None:
            nonlocal last
            done = outcome.already + outcome.answered + outcome.failed
            bars.update(task, total=outcome.total, completed=done, note=_rate(outcome))
            now = time.monotonic()
            if not quiet and not screen.is_terminal and now - last >= _PLAIN_PROGRESS_SECONDS:
                last = now
                screen.print(f"{what}: {done} of {outcome.total} rows, {_rate(outcome)}, {_left(outcome)}")

        yield on_row


def _rate(outcome: Outcome) -> str:
    failed = f", {outcome.failed} failed" if outcome.failed else ""
    if outcome.seconds <= 0:
        return f"0 rows/s{failed}"
    rows = (outcome.answered + outcome.failed) / outcome.seconds
    return f"{rows:.2f} rows/s, {outcome.audio_seconds / outcome.seconds:.1f} s of audio/s{failed}"


def _left(outcome: Outcome) -> str:
    """How long the open rows will take, at the rate so far."""
    now = outcome.answered + outcome.failed
    rest = outcome.total - outcome.already - now
    if rest and not (now and outcome.seconds):
        return "time left unknown"
    seconds = rest * outcome.seconds / max(1, now)
    return f"{timedelta(seconds=round(seconds))} left"


def _finish(outcome: Outcome, what: str, *, as_json: bool, quiet: bool, code: int) -> None:
    """Say what happened; leave with `code` when a row failed."""
    failed = outcome.failed + outcome.failed_before
    if as_json:
        write_json(outcome)
    else:
        screen = console()
        if not quiet:
            screen.print(_summary(outcome, what))
        for problem in outcome.problems[-_PROBLEMS_SHOWN:]:
            screen.print(f"  {printable(problem, keep='')}")
        if failed and what == "answered":
            screen.print(f"{failed} rows hold an error; --retry-errors tries them again.")
    if failed:
        raise typer.Exit(code)


def _summary(outcome: Outcome, what: str) -> str:
    parts = [f"{outcome.answered} rows {what}", f"{outcome.failed} failed"]
    if outcome.already:
        parts.append(f"{outcome.already} were done before")
    if outcome.seconds:
        parts.append(_rate(outcome).removesuffix(f", {outcome.failed} failed"))
    if outcome.without_recording:
        parts.append(f"{outcome.without_recording} of them without a recording ('audio' or 'audios' names it)")
    if outcome.cut:
        parts.append(f"{outcome.cut} cut off at --max-new-tokens")
    if outcome.repaired_bytes:
        parts.append(f"a torn last line of {outcome.repaired_bytes} bytes was cut off")
    rest = outcome.total - outcome.already - outcome.answered - outcome.failed
    if rest:
        parts.append(f"{rest} still open")
    return ", ".join(parts) + f" (of {outcome.total})"
