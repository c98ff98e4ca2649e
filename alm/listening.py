"""Listening while the sound still comes: a stream pushed in chunks of any size is heard window by window.

Chunks change nothing: windows are cut where they would be cut in the whole recording. With the recording's peak known
(`peak`) and as many windows at once as for a file, what is heard is that of the file, to the bit. Without it a window
is brought to the level of the loudest sample so far, so that windows before the loudest moment are heard louder than
in the file; from that moment on there is no difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from alm.aligner.merging import Span
from alm.audio import Waveform
from alm.errors import AudioError
from alm.evidence import Tag
from alm.hearing import Ears, HeardRecording, WindowMemory
from alm.long_audio import HeardStream, WindowCutter


class Listening:
    """One stream. What is kept grows by the audio tokens and tags alone; not for use by two threads at once."""

    def __init__(self, ears: Ears, rate: int, peak: float | None = None, windows_at_once: int = 1) -> None:
        """
        Args:
            ears: whose model and processor listen; a recording that they hear meanwhile waits its turn, or goes first.
            rate: samples per second of the stream.
            peak: largest absolute sample of the whole stream; None if nobody knows it yet.
            windows_at_once: windows that are collected before they are heard together.

        Raises:
            ConfigError: the rate is not positive.
        """
        extractor = ears.processor.feature_extractor
        self.ears, self.extractor, self.peak, self.at_once = ears, extractor, peak, windows_at_once
        self._cutter = WindowCutter(
            rate, extractor.window_seconds, extractor.overlap_seconds, extractor.max_audio_seconds
        )
        self._memory = WindowMemory(ears.model)
        self._waiting: list[tuple[Span, dict[str, Tensor]]] = []
        self._digest = hashlib.sha256(f"{rate} {peak} {windows_at_once}".encode())
        self._finished = False
        self._told: set[tuple[str, float]] = set()

    @property
    def seconds(self) -> float:
        """How much has come."""
        return self._cutter.seconds

    @property
    def spans(self) -> tuple[Span, ...]:
        """Start and end in seconds of the windows that were heard so far."""
        return tuple(self._memory.spans)

    def push(self, samples: NDArray[np.float32]) -> int:
        """Take the next mono samples `[samples]`; how many windows were heard because of them.

        Raises:
            AudioError: the samples cannot be used, or the stream is longer than the model's `max_audio_seconds`.
        """
        windows = self._take(self._cutter.push(samples))
        self._digest.update(np.ascontiguousarray(samples, dtype="<f4").data)
        return windows

    @property
    def _heard_seconds(self) -> float:
        """How far windows go: to the last whole one, in the end to the stream's."""
        return self.seconds if self._finished else self.spans[-1][1]

    def heard(self) -> HeardRecording | None:
        """What was heard up to now; None before the first window is whole."""
        return self._memory.recording(self._heard_seconds) if self.spans else None

    def finish(self) -> HeardRecording:
        """The end of the stream: hear the rest.

        Raises:
            AudioError: nothing was pushed.
        """
        self._take(self._cutter.finish())
        self._hear(len(self._waiting))
        self._finished = True
        return self._memory.recording(self.seconds)

    def events(self) -> list[Tag]:
        """Events that are over, each given once, by their end: what comes later cannot make them longer."""
        timeline = self._memory.timeline
        if timeline is None or not self.spans:
            return []
        # The next window begins before this one ends, and may prolong what reaches into it.
        upto = float("inf") if self._finished else self.spans[-1][1] - self.extractor.overlap_seconds
        tags = timeline.sounds(self._heard_seconds).tags
        ended = [t for t in tags if t.end < upto and (t.label, t.start) not in self._told]
        self._told |= {(t.label, t.start) for t in ended}
        return sorted(ended, key=lambda t: (t.end, t.start, t.label))

    def sound(self, name: str = "stream") -> HeardStream:
        """The stream up to now as a recording that conversations take, without words; all of it after `finish`.

        Raises:
            AudioError: no window is whole yet.
        """
        if (heard := self.heard()) is None:
            raise AudioError(
                f"{name}: {self.seconds:.1f} s have come, and a window has {self.extractor.window_seconds:.0f} s; push "
                "more, or finish"
            )
        mark = self._digest.copy()
        mark.update(f"{len(self.spans)} {self._heard_seconds}".encode())
        return HeardStream(heard, self._heard_seconds, name, mark.hexdigest(), self._cutter.rate)

    def _take(self, windows: Iterable[tuple[Span, Waveform]]) -> int:
        heard = 0
        for span, window in windows:
            level = self._cutter.peak if self.peak is None else self.peak
            self._waiting.append((span, self.extractor.window_features(window, level)))
            if len(self._waiting) >= self.at_once:
                heard += self._hear(self.at_once)
        return heard

    def _hear(self, count: int) -> int:
        """The first waiting windows, as one batch."""
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        if group:
            inputs = {name: _stacked([own[name] for _, own in group]) for name in group[0][1]}
            with self.ears.turn:
                self._memory.add(inputs, [span for span, _ in group])
        return len(group)


def _stacked(parts: list[Tensor]) -> Tensor:
    """Windows `[1, frames, ...]` of unequal frames as one batch, with zeros (False) behind the shorter ones."""
    return pad_sequence([part[0] for part in parts], batch_first=True)
