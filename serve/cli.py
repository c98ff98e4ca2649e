"""The commands `alm chat`, `alm serve` and `alm batch`. Nothing heavy is imported before one of them runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alm.cli import Adapter, AsJson, EvidenceSwitch, Preset, Quiet, load_assistant
from alm.errors import ConfigError
from alm.terminal import console, printable, progress_bars, working, write_json
from alm.weights import home

if TYPE_CHECKING:
    from alm.assistant import Assistant
    from serve import engine as serving
    from serve.batch import BatchPolicy, Outcome
    from serve.manifest import BatchSettings
    from serve.sources import Source
    from serve.stages import Answerer, Engine

_ENGINE_HELP = "What decodes; vllm has an environment of its own (make env-vllm)."

_ROWS_FAILED = 1
_PROBLEMS_SHOWN = 20
_PLAIN_PROGRESS_SECONDS = 30.0


def chat(
    preset: Preset = "tiny",
    adapter: Adapter = None,
    evidence: EvidenceSwitch = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 7860,
    share: Annotated[bool, typer.Option("--share", help="Make a public link through gradio.live.")] = False,
    auth: Annotated[
        str | None,
        typer.Option(envvar="ALM_CHAT_AUTH", help="USER:PASSWORD that the page asks for.", show_default=False),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    max_file_megabytes: Annotated[int, typer.Option(min=1, help="Largest upload.")] = 50,
    max_recordings: Annotated[int, typer.Option(min=1, help="Recordings in one conversation.")] = 12,
    max_seconds: Annotated[float, typer.Option(min=1, help="Seconds of audio in one conversation.")] = 1800.0,
    max_conversations: Annotated[int, typer.Option(min=1, help="Conversations kept at a time.")] = 32,
    max_queue: Annotated[int, typer.Option(min=1, help="Questions that may wait for the model.")] = 32,
    feedback: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|off", help="File for thumbs; feedback.jsonl in the cache folder of alm.", show_default=False
        ),
    ] = None,
) -> None:
    """Open the chat page: recordings and questions in the browser, over several turns.

    \b
    alm chat
    alm chat --port 8000 --no-browser
    alm chat --host 0.0.0.0 --auth me:secret --feedback off
    """
    from serve.chat import PageSettings, open_page
    from serve.limits import ChatLimits

    limits = ChatLimits(
        max_file_megabytes=max_file_megabytes,
        max_recordings=max_recordings,
        max_seconds=max_seconds,
        max_conversations=max_conversations,
        max_queue=max_queue,
    )
    page = PageSettings(
        host,
        port,
        share=share,
        auth=parse_auth(auth, host, share=share),
        open_browser=browser,
        feedback=feedback_path(feedback),
    )
    assistant = load_assistant(preset, adapter=adapter, evidence=evidence)
    open_page(assistant, limits, page)


def serve(
    preset: Preset = "tiny",
    adapter: Adapter = None,
    evidence: EvidenceSwitch = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    api_key: Annotated[
        list[str] | None,
        typer.Option(envvar="ALM_API_KEY", help="Key that requests must bear; may be given again.", show_default=False),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Host whose https addresses are fetched; may be given again.", show_default=False),
    ] = None,
    engine: Annotated[Literal["transformers", "vllm"], typer.Option(help=_ENGINE_HELP)] = "transformers",
    cache_gigabytes: Annotated[float, typer.Option(min=0.1, help="Room for keys and values, with vllm.")] = 1.0,
    rows: Annotated[int, typer.Option(min=1, help="Answers that are written in step.")] = 16,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that may wait beside them.")] = 64,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer that may be asked for.")] = 512,
    max_file_megabytes: Annotated[int, typer.Option(min=1, help="Largest recording.")] = 25,
    max_recordings: Annotated[int, typer.Option(min=1, help="Recordings in one request.")] = 16,
    max_seconds: Annotated[float, typer.Option(min=1, help="Seconds of audio in one request.")] = 1800.0,
) -> None:
    """Serve OpenAI's chat API: recordings as `input_audio` parts, several turns, streaming.

    \b
    alm serve --port 8000
    ALM_API_KEY=secret alm serve --host 0.0.0.0
    """
    from serve.fetching import Fetcher
    from serve.launch import launch
    from serve.recordings import Opener, RequestLimits
    from serve.server_settings import ServerSettings

    limits = RequestLimits(
        max_body_megabytes=max_recordings * max_file_megabytes * 4 // 3 + 1,
        max_recordings=max_recordings,
        max_file_megabytes=max_file_megabytes,
        max_recording_seconds=min(600.0, max_seconds),
        max_seconds=max_seconds,
    )
    opener = Opener(limits, Fetcher(frozenset(allow_host or ())))
    settings = ServerSettings(preset, tuple(api_key or ()), max_new_tokens, min(256, max_new_tokens), opener)
    _note_open(host, bool(api_key))
    _check_engine(engine)
    assistant = load_assistant(preset, adapter=adapter, evidence=evidence)
    started = _serving_engine(engine, assistant, rows, max_queue, cache_gigabytes)
    launch(started, assistant.ears.transcriber, settings, host, port)


def _check_engine(name: str) -> None:
    """Before a model is loaded."""
    if name == "vllm":
        from serve.vllm_start import ensure_vllm

        ensure_vllm()


def _serving_engine(
    name: str, assistant: Assistant, rows: int, most_waiting: int, cache_gigabytes: float = 1.0
) -> serving.Engine:
    if name == "vllm":
        from serve.vllm_engine import VllmEngine
        from serve.vllm_start import VllmSettings

        with working("starting vLLM"):
            return VllmEngine(assistant, VllmSettings(rows, cache_gigabytes), most_waiting)
    from serve.engine import TransformersEngine

    return TransformersEngine(assistant, rows, most_waiting)


def _note_open(host: str, guarded: bool) -> None:
    if not guarded and host not in ("127.0.0.1", "localhost", "::1"):
        console().print(
            f"Note: the server on {printable(host)} is open to everybody who reaches this machine; "
            "--api-key asks for a key."
        )


def batch(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Rows: .jsonl .json .csv .parquet; or a folder.", show_default=False)
    ],
    target: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Answers: .jsonl .csv .parquet", show_default=False)
    ] = None,
    preset: Preset = "tiny",
    adapter: Adapter = None,
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
    rows_at_once: Annotated[int, typer.Option(min=1, help="Rows that are answered in step.")] = 16,
    window: Annotated[int, typer.Option(min=1, help="Rows read together; recordings they share are heard once.")] = 64,
    engine: Annotated[
        Literal["transformers", "vllm", "ray"],
        typer.Option(help=f"{_ENGINE_HELP} ray: transformers in several processes or machines."),
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
    from serve.batch import BatchPolicy, run_batch, validate
    from serve.index import Shard
    from serve.manifest import BatchSettings, model_hashes
    from serve.sources import open_source

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
    settings = BatchSettings(preset, chosen, evidence, max_new_tokens, temperature, seed, **hashes)
    merged = tuple(merge or ())
    policy = BatchPolicy(on_error == "stop", retry_errors, details, window, limit, shard=part, merge=merged)
    with ExitStack() as started, _progress("answering", quiet=quiet or as_json) as on_row:
        load = partial(_batch_engine, engine, rows, target, settings, policy, rows_at_once, workers, started)
        outcome = run_batch(rows, target, settings, policy, load, on_row)
    _finish(outcome, "answered", as_json=as_json, quiet=quiet, code=_ROWS_FAILED)


def feedback_path(text: str | None) -> Path | None:
    """Where thumbs are kept: the given file, the usual one, or nowhere for `off`.

    Raises:
        ConfigError: it is a folder.
    """
    if text == "off":
        return None
    path = Path(text).expanduser() if text else home() / "feedback.jsonl"
    if path.is_dir():
        raise ConfigError(f"--feedback {printable(text or str(path))} is a folder; give a file, or off")
    return path.absolute()


def parse_auth(text: str | None, host: str, *, share: bool = False) -> tuple[str, str] | None:
    """User and password of `USER:PASSWORD`.

    Raises:
        ConfigError: one of them is empty.
    """
    if text is None:
        reached = f"on {printable(host)} is open to everybody who reaches this machine"
        if share or host not in ("127.0.0.1", "localhost", "::1"):
            who = "behind the public link is open to everybody who knows it" if share else reached
            console().print(f"Note: the page {who}; --auth USER:PASSWORD asks for a password.")
        return None
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise ConfigError("--auth needs USER:PASSWORD, both not empty")
    return user, password


def _batch_engine(
    name: str,
    source: Source,
    target: Path,
    settings: BatchSettings,
    policy: BatchPolicy,
    rows_at_once: int,
    workers: int,
    started: ExitStack,
) -> Engine:
    details = policy.details or source.dialect == "openai"  # whose responses tell usage and why an answer ended
    if name == "ray":
        from serve.on_ray import RayEngine

        spool = target.with_name(target.name + ".spool.jsonl").resolve()
        return RayEngine(source, partial(_answerer, settings, rows_at_once), spool, policy.window, details, workers)
    from serve.stages import LocalEngine

    made = _vllm_answerer(settings, rows_at_once, started) if name == "vllm" else _answerer(settings, rows_at_once)
    return LocalEngine(source, made, policy.window, details)


def _answerer(settings: BatchSettings, rows_at_once: int) -> Answerer:
    from serve.answering import BatchAnswerer

    return BatchAnswerer(_batch_assistant(settings), settings, rows_at_once)


def _vllm_answerer(settings: BatchSettings, rows_at_once: int, started: ExitStack) -> Answerer:
    from serve.vllm_engine import VllmAnswerer

    _check_engine("vllm")
    engine: Any = _serving_engine("vllm", _batch_assistant(settings), rows_at_once, sys.maxsize)
    started.callback(engine.close)
    return VllmAnswerer(engine, settings)


def _batch_assistant(settings: BatchSettings) -> Assistant:
    adapter = Path(settings.adapter) if settings.adapter else None
    return load_assistant(settings.preset, adapter=adapter, evidence=settings.evidence)


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
    if outcome.repaired_bytes:
        parts.append(f"a torn last line of {outcome.repaired_bytes} bytes was cut off")
    rest = outcome.total - outcome.already - outcome.answered - outcome.failed
    if rest:
        parts.append(f"{rest} still open")
    return ", ".join(parts) + f" (of {outcome.total})"
