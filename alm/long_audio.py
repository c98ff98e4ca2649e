"""Recordings of up to three hours: read anew whenever somebody listens, window by window, never held as a whole.

What is heard of them is what is heard of the same recording in memory, to the bit: the windows have the same samples.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from alm.audio import Meter, Waveform, content_hash, decoded_blocks, load_audio
from alm.audio_opening import AudioLimits, opened_source, refuse
from alm.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from alm.hearing import HeardRecording

HELD_BYTES = 128 * 2**20
"""A recording with more decoded samples than this is not held: 12 minutes at 44.1 kHz, half an hour at 16 kHz."""
LONG_LIMITS = AudioLimits(
    max_file_bytes=4 * 2**30, max_seconds=10_800.0, max_decoded_bytes=64 * 2**30, max_decode_seconds=600.0
)
"""Three hours. Decoded bytes and time are those of one reading; what is held never exceeds `HELD_BYTES`."""


@dataclass(frozen=True, eq=False, repr=False)
class LongRecording:
    """One mono recording that stays in its file (or in its encoded bytes).

    It has what is asked of a [`Waveform`] but `samples`: `seconds`, `peak`, `sha256`, `segment`, `segments`. Every use
    of these reads the file again from the start, so ask for many parts at once, in order.
    """

    content: str | Path | bytes
    rate: int
    """Samples per second."""
    frames: int
    """Samples."""
    peak: float
    """Largest absolute sample."""
    source: str
    """Name of the file or a given name; never a path."""
    channels: int = 1
    name: str | None = None
    limits: AudioLimits = LONG_LIMITS

    @property
    def seconds(self) -> float:
        return self.frames / self.rate

    @cached_property
    def sha256(self) -> str:
        """That of the [`Waveform`] of the same samples."""
        return content_hash(self.rate, self.frames, self.blocks())

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, Waveform | LongRecording) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"LongRecording({self.source!r}, {self.seconds:.3f} s, {self.rate} Hz)"

    def blocks(self) -> Generator[NDArray[np.float32], None, None]:
        """All samples in order, a little at a time.

        Raises:
            AudioError: the file is gone or has changed since it was opened.
        """
        count = 0
        with opened_source(self.content, self.name, self.limits) as (file, size, shown):
            for meter, block in decoded_blocks(file, size, shown, self.limits):
                count += len(block)
                if count > self.frames or meter.rate != self.rate:
                    break
                yield block
        if count != self.frames:
            refuse(self.source, "has changed while it was listened to", "Leave the file as it is and try again")

    def segment(self, start_seconds: float, end_seconds: float) -> Waveform:
        """As `Waveform.segment`."""
        with closing(self.segments([(start_seconds, end_seconds)])) as found:
            return next(found)

    def segments(self, spans: Iterable[tuple[float, float]]) -> Generator[Waveform, None, None]:
        """The parts between these times, in one reading; a part may begin within those before, but not before them.

        Raises:
            AudioError: as `blocks`, or as `Waveform.segment`.
        """
        tail, blocks = _Tail(), self.blocks()
        with closing(blocks):
            for start, end in spans:
                first, last = (round(min(t, self.seconds) * self.rate) for t in (start, end))
                while tail.end < last:
                    tail.add(next(blocks))
                if first < tail.first or last <= first:
                    what = f"no sample lies between {start} s and {end} s, or they lie before what was read"
                    refuse(self.source, what, "Ask for parts inside the recording, in order")
                yield Waveform(tail.cut(first, last), self.rate, self.source, self.channels)


@dataclass
class _Tail:
    """The last samples of a stream, from `first` on."""

    first: int = 0
    end: int = 0
    blocks: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, block: NDArray[np.float32]) -> None:
        self.blocks.append(block)
        self.end += len(block)

    def cut(self, first: int, last: int) -> NDArray[np.float32]:
        """Samples `first` to `last`; what lies before is forgotten."""
        while self.blocks and self.first + len(self.blocks[0]) <= first:
            self.first += len(self.blocks.pop(0))
        joined = np.concatenate(self.blocks)
        return joined[first - self.first : last - self.first]


@dataclass(frozen=True, eq=False)
class HeardStream:
    """A stream as far as it was listened to (`Listening.sound`): what was heard is kept, its samples are gone.

    Conversations take it like any recording. Nobody wrote down what is said in it.
    """

    heard: HeardRecording
    seconds: float
    source: str
    """A name to show."""
    sha256: str
    """Of its samples, and how far it was heard."""
    rate: int
    """Samples per second that it came with."""
    channels: int = 1

    @property
    def peak(self) -> NoReturn:
        """Raises AudioError."""
        self._gone()

    def segment(self, start_seconds: float, end_seconds: float) -> NoReturn:
        """Raises AudioError."""
        self._gone()

    def segments(self, spans: Iterable[tuple[float, float]]) -> NoReturn:
        """Raises AudioError."""
        self._gone()

    def _gone(self) -> NoReturn:
        refuse(self.source, "is a stream; its samples are gone", "Record it to a file to listen to it again")


Sound = Waveform | LongRecording | HeardStream
"""What can be listened to."""


def open_audio(
    source: Any, *, rate: int | None = None, name: str | None = None, limits: AudioLimits = LONG_LIMITS
) -> Sound:
    """As [`load_audio`], but a recording that is long stays in its file (a [`LongRecording`]).

    Args:
        source: as of `load_audio`, or a `LongRecording` or `HeardStream`, which pass unchanged.
        rate: as of `load_audio`.
        name: as of `load_audio`.
        limits: bounds; those of `load_audio` hold for arrays.

    Raises:
        AudioError: anything wrong with the recording; it was read to its end.
    """
    if isinstance(source, LongRecording | HeardStream):
        return source
    if isinstance(source, Waveform | np.ndarray) or rate is not None:
        return load_audio(source, rate=rate, name=name)
    content = _kept(source, name, limits)
    if content is not source:
        name = name or getattr(source, "name", None)
    mono, peak, meter = bytearray(), 0.0, None
    with opened_source(content, name, limits) as (file, size, shown):
        for meter, block in decoded_blocks(file, size, shown, limits):
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            if meter.frames * block.itemsize <= HELD_BYTES:
                mono += block.data
            else:
                mono = bytearray()
    assert isinstance(meter, Meter)  # there is always one block
    if meter.frames * 4 <= HELD_BYTES:
        return meter.waveform(mono)
    return LongRecording(content, meter.rate, meter.frames, peak, meter.shown, meter.channels, name, limits)


def _kept(source: Any, name: str | None, limits: AudioLimits) -> str | Path | bytes:
    """What can be read more than once."""
    if isinstance(source, str | Path | bytes):
        return source
    with opened_source(source, name, limits) as (file, _, _):
        return file.read()


class WindowCutter:
    """Windows of a stream of samples as soon as they are whole: those that `alm.audio.windows` gives for all of it.

    A window is given once a sample after it has come, or at the end: only then is it known not to be the last.
    """

    def __init__(self, rate: int, window_seconds: float, overlap_seconds: float, most_seconds: float) -> None:
        """
        Raises:
            ConfigError: the window is not longer than the overlap, or the rate is not positive.
        """
        if not 0 <= overlap_seconds < window_seconds or rate < 1:
            raise ConfigError(
                f"windows of {window_seconds} s with {overlap_seconds} s overlap at {rate} Hz do not advance; "
                "make the window longer than the overlap and give the samples per second"
            )
        self.rate, self.window, self.hop = rate, window_seconds, window_seconds - overlap_seconds
        self.most_seconds = most_seconds
        self.peak = 0.0
        """Largest absolute sample of the windows given so far."""
        self.given = 0
        self._tail = _Tail()

    @property
    def seconds(self) -> float:
        """How much has come."""
        return self._tail.end / self.rate

    def push(self, samples: NDArray[np.float32]) -> Iterator[tuple[tuple[float, float], Waveform]]:
        """Take the next mono samples `[samples]`; the windows that are whole now.

        Raises:
            AudioError: not one-dimensional, not finite, or the stream is longer than `most_seconds`.
        """
        block = np.array(samples, np.float32)
        if block.ndim != 1 or not np.isfinite(block).all():
            raise AudioError(f"a stream takes mono blocks [samples] of finite numbers, not {block.shape}; mix it down")
        if self._tail.end + len(block) > self.most_seconds * self.rate:
            raise AudioError(f"the stream is longer than the limit of {self.most_seconds:.0f} s; begin a new one")
        self._tail.add(block)
        while self.seconds > (end := self.given * self.hop + self.window) + 1e-9:
            yield self._next(end)

    def finish(self) -> Iterator[tuple[tuple[float, float], Waveform]]:
        """The last window, if there is a rest.

        Raises:
            AudioError: nothing has come.
        """
        if not self._tail.end:
            raise AudioError("the stream holds 0 samples; push some before its end")
        covered = (self.given - 1) * self.hop + self.window if self.given else 0.0
        if covered < self.seconds - 1e-9:
            yield self._next(self.seconds)

    def _next(self, end: float) -> tuple[tuple[float, float], Waveform]:
        start = self.given * self.hop
        cut = self._tail.cut(round(start * self.rate), round(end * self.rate))
        self.given += 1
        window = Waveform(cut, self.rate, "stream")
        self.peak = max(self.peak, window.peak)
        return (start, end), window
