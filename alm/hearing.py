"""Hearing one recording: audio tokens for the model, evidence for the reader, each made once and kept by content."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from alm.aligner.merging import Span, merge_windows
from alm.asked import Scores
from alm.evidence import Evidence, Segment, Sounds
from alm.long_audio import HeardStream, Sound
from alm.modeling import AlmForConditionalGeneration
from alm.processing import AlmProcessor
from alm.timeline import Timeline

if TYPE_CHECKING:
    from alm.transcription import Transcriber

T = TypeVar("T")

WINDOWS_AT_ONCE = 3
"""Long recordings are encoded in groups of this many windows, so that memory does not grow with length."""
MANY_WINDOWS = 200
"""Half an hour. Longer ones are encoded one window after the other, so that they fit beside the model."""


@dataclass(frozen=True)
class HeardRecording:
    """What is kept of a recording."""

    tokens: Tensor
    """[windows, tokens_per_window, dim]; neighbouring windows of a long recording were merged."""
    sounds: Sounds
    scores: Scores | None = None
    """None without a tag head."""
    spans: tuple[Span, ...] = ()
    """Start and end in seconds of what each window of `tokens` stands for."""


@dataclass
class Ears:
    """Encodes recordings, remembers the last ones by content hash. May be shared by threads: they take turns."""

    model: AlmForConditionalGeneration
    processor: AlmProcessor
    transcriber: Transcriber | None = None
    remember: int = 32
    encoded: int = 0
    """Recordings encoded so far; a repeated recording does not count."""
    _known: OrderedDict[str, HeardRecording] = field(default_factory=OrderedDict)
    _said: OrderedDict[str, tuple[str, tuple[Segment, ...]]] = field(default_factory=OrderedDict)
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held while the model listens."""

    def hear(self, recording: Sound) -> HeardRecording:
        """Audio tokens and sounds of a recording, from memory if it was heard before."""
        if isinstance(recording, HeardStream):
            return recording.heard
        key = recording.sha256
        with self.turn:
            if key not in self._known:
                self.encoded += 1
                _keep(self._known, key, self._encode(recording), self.remember)
            self._known.move_to_end(key)
            return self._known[key]

    def evidence(self, recording: Sound) -> Evidence:
        """Tags with times and, if there is speech, its transcript, both made at the same time."""
        key = recording.sha256
        with ThreadPoolExecutor(1) as aside:
            reading = aside.submit(self._words, recording)
            heard = self.hear(recording)
        text, segments = reading.result()
        sounds = heard.sounds
        return Evidence(recording.source, recording.seconds, key, sounds.tags, text, segments, sounds.guesses)

    def _words(self, recording: Sound) -> tuple[str, tuple[Segment, ...]]:
        """The transcript, from memory if it was made before."""
        if (known := self._said.get(recording.sha256)) is not None:
            return known
        said = self._transcribe(recording)
        with self.turn:
            _keep(self._said, recording.sha256, said, self.remember)
        return said

    def _transcribe(self, recording: Sound) -> tuple[str, tuple[Segment, ...]]:
        if self.transcriber is None or isinstance(recording, HeardStream):
            return "", ()
        said = self.transcriber.transcribe(recording)
        return said.text, tuple(Segment(s, e, t) for s, e, t in said.segments)

    @torch.no_grad()
    def _encode(self, recording: Sound) -> HeardRecording:
        """Window by window groups, whose spectrograms are made while the group before is encoded."""
        extractor = self.processor.feature_extractor
        memory, spans = WindowMemory(self.model), extractor.spans(recording)
        groups = extractor.groups(recording, spans, WINDOWS_AT_ONCE if len(spans) <= MANY_WINDOWS else 1)
        for group, inputs in _ahead(groups):
            memory.add(inputs, group)
        return memory.recording(recording.seconds)


class WindowMemory:
    """What is kept of the windows of one recording as they are heard, in order; tags keep the recording's own time."""

    def __init__(self, model: AlmForConditionalGeneration) -> None:
        self.model, self.hearing = model, model.model.hearing
        self.tokens: list[Tensor] = []
        self.spans: list[Span] = []
        head, labels = self.hearing.tag_head, model.config.tag_labels or []
        self.timeline = Timeline(head, labels) if head is not None else None

    @torch.no_grad()
    def add(self, inputs: dict[str, Tensor], spans: Iterable[Span]) -> None:
        """Hear the next windows: their spectrograms and masks, and their seconds."""
        group = list(spans)
        heard = self.hearing.encode({k: v.to(self.model.device) for k, v in inputs.items()})
        self.tokens.append(self.hearing.align(heard))
        self.spans += group
        if self.timeline is not None:
            self.timeline.add_windows(heard, group)

    def recording(self, seconds: float) -> HeardRecording:
        """All windows so far as a recording of that length."""
        left = self.model.config.windows_left(len(self.spans))
        tokens, spans = merge_windows(torch.cat(self.tokens), self.spans, left)
        if self.timeline is None:
            return HeardRecording(tokens, Sounds(), None, spans)
        return HeardRecording(tokens, self.timeline.sounds(seconds), self.timeline.scores(), spans)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in a thread of its own while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item


def _keep(store: OrderedDict[str, T], key: str, value: T, most: int) -> None:
    store[key] = value
    while len(store) > most:
        store.popitem(last=False)
