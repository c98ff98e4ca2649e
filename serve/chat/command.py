"""`alm chat`. Nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from alm.cli import Adapter, EvidenceSwitch, Parts, Preset, load_assistant, parse_parts
from alm.errors import ConfigError
from alm.terminal import console, printable
from alm.weights import home
from serve.addresses import reached_by_others
from serve.engines.starting import ENGINE_HELP, check_engine, start_engine


def chat(
    preset: Preset = "tiny",
    adapter: Adapter = None,
    parts: Parts = None,
    offer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Further model to choose on the page: a preset, or PRESET:ADAPTER_FOLDER; may be given again.",
            show_default=False,
        ),
    ] = None,
    evidence: EvidenceSwitch = None,
    engine: Annotated[Literal["transformers", "vllm"], typer.Option(help=ENGINE_HELP)] = "transformers",
    cache_gigabytes: Annotated[float, typer.Option(min=0.1, help="Room for keys and values, with vllm.")] = 1.0,
    rows: Annotated[int, typer.Option(min=1, help="Answers that are written in step.")] = 16,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 7860,
    share: Annotated[bool, typer.Option("--share", help="Make a public link through gradio.live.")] = False,
    auth: Annotated[
        str | None,
        typer.Option(envvar="ALM_CHAT_AUTH", help="USER:PASSWORD that the page asks for.", show_default=False),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    max_file_megabytes: Annotated[int, typer.Option(min=1, help="Largest upload.")] = 200,
    max_recordings: Annotated[int, typer.Option(min=1, help="Recordings in one conversation.")] = 12,
    max_seconds: Annotated[float, typer.Option(min=1, help="Seconds of audio in one conversation.")] = 10_800.0,
    max_conversations: Annotated[int, typer.Option(min=1, help="Conversations kept at a time.")] = 32,
    max_queue: Annotated[int, typer.Option(min=1, help="Questions that may wait beside them.")] = 32,
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
    alm chat --offer tiny:runs/mine
    """
    from serve.chat.limits import ChatLimits
    from serve.chat.models import Models, Offer, Served
    from serve.chat.page import PageSettings, open_page

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
    check_engine(engine)
    offers, given = [Offer.of(preset, adapter), *map(Offer.parse, offer or ())], parse_parts(parts)

    def start(chosen: Offer) -> Served:
        own = given if chosen is offers[0] else {}
        assistant = load_assistant(chosen.preset, adapter=chosen.adapter, evidence=evidence, parts=own)
        return Served(assistant, start_engine(engine, assistant, rows, max_queue, cache_gigabytes))

    open_page(Models(offers, start), limits, page)


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
        if share or reached_by_others(host):
            who = "behind the public link is open to everybody who knows it" if share else reached
            console().print(f"Note: the page {who}; --auth USER:PASSWORD asks for a password.")
        return None
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise ConfigError("--auth needs USER:PASSWORD, both not empty")
    return user, password
