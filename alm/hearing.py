"""Hearing one recording: audio tokens for the model, evidence for the reader, each made once and kept by content."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from alm.asked import Scores
from alm.audio import Waveform
from alm.evidence import Evidence, Segment, Sounds
from alm.modeling import AlmForConditionalGeneration
from alm.processing import AlmProcessor
from alm.timeline import Timeline

if TYPE_CHECKING:
    from alm.transcription import Transcriber

T = TypeVar("T")

WINDOWS_AT_ONCE = 3
"""Long recordings are encoded in groups of this many windows, so that memory does not grow with length."""


@dataclass(frozen=True)
class HeardRecording:
    """What is kept of a recording."""

    tokens: Tensor
    """[windows, tokens_per_window, dim]"""
    sounds: Sounds
    scores: Scores | None = None
    """None without a tag head."""


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
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, recording: Waveform) -> HeardRecording:
        """Audio tokens and sounds of a recording, from memory if it was heard before."""
        key = recording.sha256
        with self._turn:
            if key not in self._known:
                self.encoded += 1
                _keep(self._known, key, self._encode(recording), self.remember)
            self._known.move_to_end(key)
            return self._known[key]

    def evidence(self, recording: Waveform) -> Evidence:
        """Tags with times and, if there is speech, its transcript, both made at the same time."""
        key = recording.sha256
        with ThreadPoolExecutor(1) as aside:
            reading = aside.submit(self._words, recording)
            heard = self.hear(recording)
        text, segments = reading.result()
        sounds = heard.sounds
        return Evidence(recording.source, recording.seconds, key, sounds.tags, text, segments, sounds.guesses)

    def _words(self, recording: Waveform) -> tuple[str, tuple[Segment, ...]]:
        """The transcript, from memory if it was made before."""
        if (known := self._said.get(recording.sha256)) is not None:
            return known
        said = self._transcribe(recording)
        with self._turn:
            _keep(self._said, recording.sha256, said, self.remember)
        return said

    def _transcribe(self, recording: Waveform) -> tuple[str, tuple[Segment, ...]]:
        if self.transcriber is None:
            return "", ()
        said = self.transcriber.transcribe(recording)
        return said.text, tuple(Segment(s, e, t) for s, e, t in said.segments)

    @torch.no_grad()
    def _encode(self, recording: Waveform) -> HeardRecording:
        """Window by window groups; tags keep the recording's own time."""
        hearing, extractor = self.model.model.hearing, self.processor.feature_extractor
        spans = extractor.spans(recording)
        tokens: list[Tensor] = []
        head, labels = hearing.tag_head, self.model.config.tag_labels or []
        timeline = Timeline(head, labels) if head is not None else None
        for first in range(0, len(spans), WINDOWS_AT_ONCE):
            group = spans[first : first + WINDOWS_AT_ONCE]
            inputs = extractor.features(recording, group)
            heard = hearing.encode({k: v.to(self.model.device) for k, v in inputs.items()})
            tokens.append(hearing.align(heard))
            if timeline is not None:
                timeline.add_windows(heard, group)
        if timeline is None:
            return HeardRecording(torch.cat(tokens), Sounds())
        return HeardRecording(torch.cat(tokens), timeline.sounds(recording.seconds), timeline.scores())


def _keep(store: OrderedDict[str, T], key: str, value: T, most: int) -> None:
    store[key] = value
    while len(store) > most:
        store.popitem(last=False)
