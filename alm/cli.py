"""The command line `alm`. Heavy imports live inside the commands: `alm --help` answers at once."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alm.allocator import one_arena
from alm.cli_encoders import app as encoders_app
from alm.cli_group import INTERRUPTED, CommandGroup
from alm.cores import usable_cores
from alm.errors import AudioError, ConversationError, PresetError
from alm.terminal import (
    asked_lines,
    console,
    event_line,
    evidence_lines,
    printable,
    step_bars,
    usage_line,
    working,
    write_json,
    write_piece,
)

if TYPE_CHECKING:
    from alm.assistant import Assistant
    from alm.conversation import Answer, Conversation
    from alm.listening import Listening
    from alm.long_audio import Sound

#: One word with an extension: a recording, there or mistyped, rather than a question.
_FILE_NAME = re.compile(r"\S+\.[A-Za-z][A-Za-z0-9]{1,4}")

EXAMPLES = """\b
alm ask dog.wav "What do you hear?"
alm ask a.flac b.mp3 "Which of the two is louder?"
alm ask call.ogg "Who is called?" --json | jq .answer
alm chat
alm batch questions.jsonl answers.jsonl
alm tag street.wav
arecord -q -f S16_LE -r 16000 | alm listen
alm COMMAND --help"""

app = typer.Typer(
    name="alm",
    cls=CommandGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Preset = Annotated[
    str, typer.Option(help="Model to use; `alm info` lists them. Or the path of a preset.json of your own.")
]
Parts = Annotated[
    list[str] | None,
    typer.Option(
        "--part",
        metavar="NAME=PATH",
        help="Weights that the preset lacks: language_model, an encoder by its name, transcriber; may be given again.",
        show_default=False,
    ),
]
Adapter = Annotated[
    Path | None, typer.Option(help="Folder of a trained adapter, or the preset that ships it, instead of one's own.")
]
EvidenceSwitch = Annotated[
    bool | None,
    typer.Option(
        "--evidence/--no-evidence",
        help="Give events and transcript to the language model as text, and show them. Default: the preset's.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no extras, only the result.")]


@app.callback(epilog=f"[bold]Examples[/bold]\n\n{EXAMPLES}")
def main(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="ALM_DEBUG", help="Show tracebacks. Understood anywhere.")
    ] = False,
) -> None:
    """Ask questions about recordings: one or several audio files in, an answer out.

    Everything runs on this machine. The first command fetches and converts the weights once.
    """


@app.command()
def ask(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[CLIP]... QUESTION",
            help="Audio files, then the question in quotes. `-` as question reads it from standard input.",
            show_default=False,
        ),
    ],
    preset: Preset = "tiny",
    adapter: Adapter = None,
    parts: Parts = None,
    evidence: EvidenceSwitch = None,
    system: Annotated[str | None, typer.Option(help="Instruction that precedes the conversation.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=8192, help="Longest answer in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 always takes the likeliest token.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="For temperatures above 0.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Answer one question about one or several recordings, streaming.

    The answer goes to standard output, evidence and counters to standard error.

    \b
    alm ask dog.wav "What do you hear?"
    alm ask before.wav after.wav "What changed?"
    echo "Who is called?" | alm ask call.ogg - --json
    """
    clips, question = split_words(words)
    recordings = [_read_clip(clip) for clip in clips]
    assistant = load_assistant(
        preset, adapter=adapter, evidence=evidence, quiet=quiet or as_json, parts=parse_parts(parts)
    )
    chat = assistant.conversation(system)
    if temperature > 0:
        _seed(seed)
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
    if as_json:
        answer = chat.ask(question, audio=recordings, **settings)
        write_json(answer_document(question, answer))
        return
    answer = _stream(chat, question, recordings, settings)
    if not quiet:
        _show_extras(answer, with_evidence=evidence is not False)


@app.command()
def tag(
    clip: Annotated[str, typer.Argument(help="Audio file, or `-` for standard input.", show_default=False)],
    preset: Preset = "tiny",
    adapter: Adapter = None,
    parts: Parts = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show the events and the speech in a recording with their times, without the language model."""
    recording = _read_clip(clip)
    assistant = load_assistant(preset, adapter=adapter, evidence=True, quiet=quiet or as_json, parts=parse_parts(parts))
    with working("listening", quiet=quiet or as_json):
        evidence = assistant.analyse(recording)
    if as_json:
        write_json(evidence)
        return
    for line in evidence_lines(evidence):
        typer.echo(line)


@app.command()
def listen(
    question: Annotated[
        str, typer.Argument(help="Asked about the whole stream when it has ended; none is asked without it.")
    ] = "",
    rate: Annotated[int, typer.Option(min=1_000, max=768_000, help="Samples per second of the stream.")] = 16_000,
    encoding: Annotated[str, typer.Option(help="s16 or f32: raw mono samples, little-endian.")] = "s16",
    preset: Preset = "tiny",
    adapter: Adapter = None,
    parts: Parts = None,
    as_json: Annotated[bool, typer.Option("--json", help="Each event, and the answer, as a line of JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Listen to raw samples on standard input; each event is told once it is over, a window (10 s) later at most.

    Ctrl-C ends the stream, as does its own end; then the question is answered. Memory does not grow but for what
    the answer needs. What is said is not written down.

    \b
    arecord -q -f S16_LE -r 16000 | alm listen
    ffmpeg -v error -i call.mp3 -f s16le -ac 1 -ar 16000 - | alm listen "What happens?" --json
    """
    from alm.raw_audio import ENCODINGS, raw_blocks

    if encoding not in ENCODINGS:
        raise typer.BadParameter(f"--encoding is {encoding!r}; it must be one of {', '.join(ENCODINGS)}")
    if sys.stdin.isatty():
        raise AudioError("standard input is a terminal; pipe raw samples into it, as `alm listen --help` shows")
    assistant = load_assistant(preset, adapter=adapter, quiet=quiet or as_json, parts=parse_parts(parts))
    from alm.listening import Listening

    listening, name = Listening(assistant.ears, rate), "standard input"
    with suppress(KeyboardInterrupt):
        for block in raw_blocks(sys.stdin.buffer, rate, encoding, name):
            if listening.push(block):
                _tell_events(listening, as_json)
    listening.finish()
    _tell_events(listening, as_json)
    if not question.strip():
        return
    chat = assistant.conversation()
    sound = listening.sound(name)
    if as_json:
        write_json(answer_document(question, chat.ask(question, audio=sound)))
    else:
        _stream(chat, question, [sound], {})


def _tell_events(listening: Listening, as_json: bool) -> None:
    for event in listening.events():
        if as_json:
            write_json(event)
        else:
            typer.echo(event_line(event))


@app.command()
def weights(
    preset: Preset = "tiny",
    quiet: Quiet = False,
) -> None:
    """Fetch, verify and convert the weights, once. Other commands do the same when they need to."""
    from alm.presets import OWN_WEIGHTS, load_preset
    from alm.weights import ensure, home

    kind = load_preset(preset).weights
    if kind == OWN_WEIGHTS:
        raise PresetError(f"preset {preset!r} comes without weights; bring them with --part NAME=PATH where it is used")
    with step_bars(quiet=quiet) as progress:
        ensure(kind, progress=progress)
    if not quiet:
        typer.echo(f"Weights of {preset} are ready in {home() / kind}")


app.add_typer(encoders_app, name="encoders")


@app.command()
def info(
    verify: Annotated[bool, typer.Option("--verify", help="Hash every weight file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show presets, weights, versions, licences, limits, and where things are."""
    from alm.about import collect, lines, verified

    document = collect()
    if verify:
        with working("hashing", quiet=as_json):
            document["verified"] = verified(document)
    if as_json:
        write_json(document, indent=2)
        return
    for line in lines(document):
        typer.echo(line)


def app_main() -> None:
    """Entry point of the console script."""
    try:
        app(prog_name="alm")
    except KeyboardInterrupt:  # while typer itself was still at work
        sys.exit(INTERRUPTED)


def split_words(words: Sequence[str]) -> tuple[list[str], str]:
    """Recordings and question of the arguments of `alm ask`.

    Raises:
        ConversationError: the question is missing, empty, or looks like a forgotten one.
    """
    *clips, question = words
    if question == "-":
        question = sys.stdin.read()
    elif Path(question).is_file() or _FILE_NAME.fullmatch(question):
        raise ConversationError(
            f"the question is missing: the last argument, {question!r}, is the name of a file; "
            'write the question last, as in: alm ask clip.wav "What do you hear?"'
        )
    if not question.strip():
        raise ConversationError("the question is empty; write what you want to know")
    return clips, question.strip()


def parse_parts(texts: Sequence[str] | None) -> dict[str, str]:
    """Of `NAME=PATH` each, as `alm.load` takes them; a path is made absolute, what is no path here is a hub's id.

    Raises:
        PresetError: one is written otherwise, or a name comes twice.
    """
    parts: dict[str, str] = {}
    for text in texts or ():
        name, equals, source = text.partition("=")
        if not (name and equals and source):
            raise PresetError(f"--part is {text!r}; it must be NAME=PATH, as in --part beats=BEATs_iter3.pt")
        if name in parts:
            raise PresetError(f"--part names {name} twice ({parts[name]}, {source}); leave one of them out")
        path = Path(source).expanduser()
        parts[name] = str(path.absolute()) if path.exists() else source
    return parts


def load_assistant(
    preset: str,
    *,
    adapter: Path | None = None,
    evidence: bool | None = None,
    quiet: bool = False,
    parts: Mapping[str, str] | None = None,
) -> Assistant:
    """The one place where a command line loads a model: weights first, with progress when they are new."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    one_arena()
    from alm.presets import OWN_WEIGHTS, adapter_folder, load_preset

    chosen = load_preset(preset)
    adapter = adapter_folder(str(adapter)) if adapter is not None else None
    with working("starting", quiet=quiet):
        import alm
        from alm.weights import ensure
    if chosen.weights != OWN_WEIGHTS:
        with step_bars(quiet=quiet) as progress:
            ensure(chosen.weights, progress=progress)
    _share_cores()
    with working("loading the model", quiet=quiet):
        return alm.load(preset, adapter=adapter, evidence=evidence, parts=parts or None)


def _share_cores() -> None:
    """Half of the cores for each operation: hearing, transcribing and writing go on at the same time.

    Threads of several operations that wait for each other on the same cores make all of them slower.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // 2))


def answer_document(question: str, answer: Answer) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "question": question,
        "answer": answer.text,
        "finish": answer.finish,
        "evidence": answer.evidence,
        "asked": answer.asked,
        "usage": answer.usage,
    }


def _seed(seed: int) -> None:
    import torch

    torch.manual_seed(seed)


def _read_clip(clip: str) -> Sound:
    from alm.long_audio import open_audio

    return open_audio(sys.stdin.buffer, name="standard input") if clip == "-" else open_audio(clip)


def _stream(chat: Conversation, question: str, audio: Sequence[Sound], settings: dict[str, Any]) -> Answer:
    """Write the answer as it comes; whatever ends the loop early also ends the generation."""
    with _stopping() as stop:
        for piece in chat.stream(question, audio=audio, stop=stop, **settings):
            write_piece(piece)
        write_piece("\n")
    assert chat.last is not None, "stream() sets it"
    return chat.last


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    stop = threading.Event()
    try:
        yield stop
    finally:
        stop.set()


def _show_extras(answer: Answer, *, with_evidence: bool) -> None:
    screen = console()
    for evidence in answer.evidence if with_evidence else ():
        for line in evidence_lines(evidence):
            screen.print(line, style="dim")
    for line in asked_lines(answer.asked) if with_evidence else ():
        screen.print(line, style="dim")
    note = {"length": "  [cut at --max-new-tokens]", "cancelled": "  [cancelled]"}.get(answer.finish, "")
    screen.print(printable(usage_line(answer.usage) + note), style="dim")


if __name__ == "__main__":
    app_main()
