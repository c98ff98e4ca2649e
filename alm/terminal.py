"""What the command line writes: text that cannot steer the terminal, evidence as a small timeline, progress."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from alm.asked import Asked
    from alm.conversation import Usage
    from alm.evidence import Evidence, Tag

_BAR_CELLS = 24
#: Overrides of the writing direction can make a line read as something else than it is.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def printable(text: str, *, keep: str = "\n\t") -> str:
    """`text` with everything that could steer a terminal written out, as in `\\x1b`.

    Control characters of both sets, lone surrogates, line and paragraph separators and direction overrides
    are escaped; those in `keep` pass.
    """
    return "".join(char if char in keep or not _is_unsafe(char) else _escaped(char) for char in text)


def _is_unsafe(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _BIDI_CONTROLS


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def console(*, stderr: bool = True) -> Console:
    """A rich console that treats text as text: no markup, no highlighting, no emoji codes."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def write_piece(piece: str, stream: TextIO | None = None) -> None:
    """One piece of a streamed answer, at once."""
    target = stream or sys.stdout
    target.write(printable(piece))
    target.flush()


def write_json(value: object, *, indent: int | None = None) -> None:
    """One JSON document on stdout; what could steer a terminal is escaped as JSON does it."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=indent)
    safe = "".join(f"\\u{ord(char):04x}" if char != "\n" and _is_unsafe(char) else char for char in text)
    sys.stdout.write(safe + "\n")
    sys.stdout.flush()


def plain(value: object) -> Any:
    """Dataclasses, paths, tuples and numpy scalars as what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


def clock(seconds: float) -> str:
    """`0:07.3`, `12:05.0`, `1:02:03.5`."""
    tenths = round(max(0.0, seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    lead = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{lead}:{rest // 10:02d}.{rest % 10}"


def span_bar(start: float, end: float, total: float, cells: int = _BAR_CELLS) -> str:
    """Where a span lies in the recording: `····████····`; at least one cell is filled."""
    scale = cells / total if total > 0 else 0.0
    first = min(cells - 1, max(0, int(start * scale)))
    last = min(cells, max(first + 1, round(end * scale)))
    return "·" * first + "█" * (last - first) + "·" * (cells - last)


def evidence_lines(evidence: Evidence) -> Iterable[str]:
    """The events and the transcript of one recording, one line each."""
    yield f"{printable(evidence.name, keep='')}  {clock(evidence.seconds)}"
    for tag in evidence.tags:
        times = f"{clock(tag.start):>8} - {clock(tag.end):<8}"
        bar = span_bar(tag.start, tag.end, evidence.seconds)
        yield f"  {times} {bar} {printable(tag.label, keep='')}  {tag.score:.2f}"
    if not evidence.tags:
        yield "  no event recognised"
    if evidence.guesses:
        yield f"  perhaps: {printable(', '.join(evidence.guesses), keep='')}"
    yield from _transcript_lines(evidence)


def event_line(event: Tag) -> str:
    """One event of a stream, whose length nobody knows yet."""
    return f"{clock(event.start):>10} - {clock(event.end):<10} {printable(event.label, keep='')}  {event.score:.2f}"


def asked_lines(told: Iterable[Asked]) -> Iterable[str]:
    """What was heard of the sounds that a question names, one line each."""
    for one in told:
        words = printable(" ".join(one.words.split()), keep="")
        place = f"{clock(one.seconds)} in recording {one.recording}"
        yield f"  asked for: {words}  {one.sureness}, {one.score:.3f} at {place}"


def _transcript_lines(evidence: Evidence) -> Iterable[str]:
    if not evidence.transcript.strip():
        yield "  no speech"
    for part in evidence.segments:
        times = f"{clock(part.start):>8} - {clock(part.end):<8}"
        yield f"  {times} \u201c{printable(part.text.strip(), keep='')}\u201d"


def usage_line(usage: Usage) -> str:
    """Counters of one answer in one line."""
    rate = usage.new_tokens / usage.seconds if usage.seconds > 0 else 0.0
    first = f"first after {usage.first_token_seconds:.1f} s, " if usage.first_token_seconds else ""
    return (
        f"{usage.audio_tokens} audio + {usage.prompt_tokens - usage.audio_tokens} text tokens read, "
        f"{usage.new_tokens} written in {usage.seconds:.1f} s ({first}{rate:.0f}/s)"
    )


@contextmanager
def working(text: str, *, quiet: bool = False) -> Iterator[None]:
    """A spinner on stderr while something takes long; nothing where stderr is no terminal."""
    screen = console()
    if quiet or not screen.is_terminal:
        yield
        return
    from rich.text import Text

    with screen.status(Text(text)):
        yield


def progress_bars(*, quiet: bool = False) -> Progress:
    """Bars on stderr with amount, rate and remaining time; silent where stderr is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    screen = console()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=screen, disable=quiet or not screen.is_terminal)


@contextmanager
def step_bars(*, quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """A callback for named steps with their fraction done: a bar each on a terminal, a line each elsewhere."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    screen = console()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=screen, disable=quiet or not screen.is_terminal)
    known: dict[str, TaskID] = {}

    def progress(step: str, fraction: float) -> None:
        if step not in known:
            known[step] = bars.add_task(printable(step, keep=""), total=1.0)
            if not quiet and not screen.is_terminal:
                screen.print(printable(step, keep=""))
        bars.update(known[step], completed=fraction)

    with bars:
        yield progress


def reporter(*, quiet: bool = False) -> Callable[[str], None]:
    """Prints one line of news on stderr, or nothing."""
    screen = console()

    def report(text: str) -> None:
        if not quiet:
            screen.print(printable(text, keep=""))

    return report
