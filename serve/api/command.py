"""`alm serve`. Nothing heavy is imported before it runs."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from alm.cli import Adapter, EvidenceSwitch, Parts, Preset, load_assistant, parse_parts
from alm.presets import load_preset
from alm.terminal import console, printable
from serve.addresses import reached_by_others
from serve.engines.starting import ENGINE_HELP, check_engine, start_engine


def serve(
    preset: Preset = "tiny",
    adapter: Adapter = None,
    parts: Parts = None,
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
    engine: Annotated[Literal["transformers", "vllm"], typer.Option(help=ENGINE_HELP)] = "transformers",
    cache_gigabytes: Annotated[float, typer.Option(min=0.1, help="Room for keys and values, with vllm.")] = 1.0,
    rows: Annotated[int, typer.Option(min=1, help="Answers that are written in step.")] = 16,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that may wait beside them.")] = 64,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer that may be asked for.")] = 512,
    max_file_megabytes: Annotated[int, typer.Option(min=1, help="Largest recording.")] = 25,
    max_recordings: Annotated[int, typer.Option(min=1, help="Recordings in one request.")] = 16,
    max_seconds: Annotated[
        float, typer.Option(min=1, help="Seconds of audio in one request; presets hear up to 10800.")
    ] = 3600.0,
) -> None:
    """Serve OpenAI's chat API: recordings as `input_audio` parts, several turns, streaming.

    \b
    alm serve --port 8000
    ALM_API_KEY=secret alm serve --host 0.0.0.0
    """
    from serve.api.fetching import Fetcher
    from serve.api.launch import launch
    from serve.api.recordings import Opener, RequestLimits
    from serve.api.settings import ServerSettings

    limits = RequestLimits(
        max_body_megabytes=max_recordings * max_file_megabytes * 4 // 3 + 1,
        max_recordings=max_recordings,
        max_file_megabytes=max_file_megabytes,
        max_seconds=max_seconds,
    )
    opener = Opener(limits, Fetcher(frozenset(allow_host or ())))
    name = load_preset(preset).name
    settings = ServerSettings(name, tuple(api_key or ()), max_new_tokens, min(256, max_new_tokens), opener)
    _note_open(host, bool(api_key))
    check_engine(engine)
    assistant = load_assistant(preset, adapter=adapter, evidence=evidence, parts=parse_parts(parts))
    started = start_engine(engine, assistant, rows, max_queue, cache_gigabytes)
    launch(started, assistant.ears.transcriber, settings, host, port)


def _note_open(host: str, guarded: bool) -> None:
    if not guarded and reached_by_others(host):
        console().print(
            f"Note: the server on {printable(host)} is open to everybody who reaches this machine; "
            "--api-key asks for a key."
        )
