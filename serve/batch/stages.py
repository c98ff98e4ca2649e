"""The stages that a row goes through: made ready, answered, finished; the same whoever runs them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from alm.audio import AudioLimits, Waveform, load_audio
from alm.errors import AudioError
from alm.terminal import plain, printable
from serve.batch.rows import Line, Row

if TYPE_CHECKING:
    from alm.conversation import Answer

#: Answers the questions of some rows: the place of each among them with its answer or its error, in any order. The work
#: may begin with the call, before anybody asks for a result.
Answerer = Callable[[Sequence["Ready"]], Iterator[tuple[int, "Answer | Exception"]]]
Results = Generator[tuple[Line, "Finished"], None, None]
#: From open lines to finished rows in the same order; closing them early ends the work.
Engine = Callable[[Iterator[Line]], Results]


@dataclass(frozen=True)
class Ready:
    """A checked row with its recordings."""

    row: Row
    recordings: list[Waveform]

    @property
    def seconds(self) -> float:
        return sum(r.seconds for r in self.recordings)


@dataclass(frozen=True)
class Finished:
    """What becomes of a row."""

    added: dict[str, Any]
    """Fields for the output: `answer` and perhaps details, or `error`."""
    seconds: float = 0.0
    """Of audio."""
    cut: bool = False
    """Whether the answer ended at the limit of tokens."""
    cause: Exception | None = None
    """The error itself, where it is at hand."""

    @property
    def problem(self) -> str | None:
        return self.added["error"]["message"] if "error" in self.added else None


class Opens(Protocol):
    """Makes rows of lines; satisfied by `serve.batch.sources.Source`."""

    def ready(self, line: Line, recordings: RecordingCache) -> Ready:
        """The row with its recordings. Raises: RecordError, AudioError, ConversationError."""


def there(path: Path) -> None:
    """Raise `AudioError` where no file is, with the whole path: paths count from the folder of the input."""
    if not path.exists():
        name, shown = (printable(text, keep="") for text in (path.name, str(path)))
        raise AudioError(f"{name}: no such file; it was looked for as {shown}, from the input's folder")


class RecordingCache:
    """Decoded recordings of the last few rows, so that ten questions about one file decode it once."""

    def __init__(self, max_bytes: int = 256 * 2**20, limits: AudioLimits = AudioLimits()) -> None:
        self._max_bytes = max_bytes
        self._limits = limits
        self._held: OrderedDict[Path, Waveform] = OrderedDict()

    def load(self, path: Path) -> Waveform:
        """Decode, or take what was decoded before.

        Raises:
            AudioError: as `load_audio`.
        """
        if path in self._held:
            self._held.move_to_end(path)
            return self._held[path]
        there(path)
        recording = self._held[path] = load_audio(path, limits=self._limits)
        while len(self._held) > 1 and sum(w.samples.nbytes for w in self._held.values()) > self._max_bytes:
            self._held.popitem(last=False)
        return recording


@dataclass
class Window:
    """Rows that are answered together."""

    lines: list[Line] = field(default_factory=list)
    ready: list[Ready | Exception] = field(default_factory=list)
    _bytes: dict[int, int] = field(default_factory=dict)

    def add(self, line: Line, own: Ready | Exception) -> None:
        self.lines.append(line)
        self.ready.append(own)
        if isinstance(own, Ready):
            self._bytes.update({id(r): r.samples.nbytes for r in own.recordings})

    @property
    def bytes(self) -> int:
        """Of decoded recordings, each counted once."""
        return sum(self._bytes.values())


def windows(
    lines: Iterable[Line], source: Opens, rows: int, recordings: RecordingCache, max_bytes: int = 256 * 2**20
) -> Iterator[Window]:
    """The lines made ready, in windows of so many rows; fewer where their recordings are long."""
    window = Window()
    for line in lines:
        window.add(line, ready_or_error(line, source, recordings))
        if len(window.lines) >= rows or window.bytes >= max_bytes:
            yield window
            window = Window()
    if window.lines:
        yield window


def ready_or_error(line: Line, source: Opens, recordings: RecordingCache) -> Ready | Exception:
    """A row must not take the other rows with it."""
    try:
        return source.ready(line, recordings)
    except Exception as error:
        return error


def answered(window: Window, answer: Answerer, details: bool) -> Iterator[tuple[Line, Finished]]:
    """Finished rows in the order of the window, each as soon as those before it are there; begins at once."""
    return _finished(window, answer([r for r in window.ready if isinstance(r, Ready)]), details)


def _finished(
    window: Window, answers: Iterator[tuple[int, Answer | Exception]], details: bool
) -> Iterator[tuple[Line, Finished]]:
    for line, own, result in zip(window.lines, window.ready, _results(window.ready, answers), strict=True):
        if isinstance(result, Exception):
            text = str(result) or type(result).__name__
            yield line, Finished({"error": {"type": type(result).__name__, "message": text}}, cause=result)
        else:
            assert isinstance(own, Ready)
            added = {"answer": result.text, **(_details(result) if details else {})}
            yield line, Finished(added, own.seconds, result.finish == "length")


def _results(
    ready: list[Ready | Exception], answers: Iterator[tuple[int, Answer | Exception]]
) -> Iterator[Answer | Exception]:
    places = [i for i, r in enumerate(ready) if isinstance(r, Ready)]
    done: dict[int, Answer | Exception] = {i: r for i, r in enumerate(ready) if isinstance(r, Exception)}
    for index in range(len(ready)):
        while index not in done:
            place, result = next(answers)
            done[places[place]] = result
        yield done.pop(index)


def _details(result: Answer) -> dict[str, Any]:
    return {
        "finish": result.finish,
        "usage": plain(result.usage),
        "evidence": plain(result.evidence),
        "asked": plain(result.asked),
    }


@dataclass
class LocalEngine:
    """All stages in this process. Satisfies `Engine`."""

    source: Opens
    answer: Answerer
    window: int
    details: bool

    def __call__(self, lines: Iterator[Line]) -> Results:
        """A window is begun before the one before it is done: the last answers of a window leave room for others."""
        recordings, before = RecordingCache(), None
        for window in windows(lines, self.source, self.window, recordings):
            begun = answered(window, self.answer, self.details)
            if before is not None:
                yield from before
            before = begun
        if before is not None:
            yield from before
