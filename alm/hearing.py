"""Hearing one recording: audio tokens for the model, evidence for the reader, each made once and kept by content."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from alm.audio import Waveform
from alm.evidence import Evidence, Segment, Tag
from alm.modeling import AlmForConditionalGeneration
from alm.processing import AlmProcessor
from alm.timeline import merge, tag_window

if TYPE_CHECKING:
    from alm.transcription import Transcriber

T = TypeVar("T")

WINDOWS_AT_ONCE = 8
"""Long recordings are encoded in groups of this many windows, so that memory does not grow with length."""


@dataclass(frozen=True)
class HeardRecording:
    """What is kept of a recording."""

    tokens: Tensor
    """[windows, tokens_per_window, dim]"""
    tags: tuple[Tag, ...]


@dataclass
class Ears:
    """Encodes recordings, remembers the last ones by content hash."""

    model: AlmForConditionalGeneration
    processor: AlmProcessor
    transcriber: Transcriber | None = None
    remember: int = 32
    encoded: int = 0
    """Recordings encoded so far; a repeated recording does not count."""
    _known: OrderedDict[str, HeardRecording] = field(default_factory=OrderedDict)
    _said: OrderedDict[str, tuple[str, tuple[Segment, ...]]] = field(default_factory=OrderedDict)

    def hear(self, recording: Waveform) -> HeardRecording:
        """Audio tokens and tags of a recording, from memory if it was heard before."""
        key = recording.sha256
        if key not in self._known:
            self.encoded += 1
            _keep(self._known, key, self._encode(recording), self.remember)
        self._known.move_to_end(key)
        return self._known[key]

    def evidence(self, recording: Waveform) -> Evidence:
        """Tags with times and, if there is speech, its transcript."""
        heard, key = self.hear(recording), recording.sha256
        if key not in self._said:
            _keep(self._said, key, self._transcribe(recording), self.remember)
        text, segments = self._said[key]
        return Evidence(recording.source, recording.seconds, key, heard.tags, text, segments)

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
        tags: list[Tag] = []
        for first in range(0, len(spans), WINDOWS_AT_ONCE):
            group = spans[first : first + WINDOWS_AT_ONCE]
            inputs = extractor.features(recording, group)
            heard = hearing.encode({k: v.to(self.model.device) for k, v in inputs.items()})
            tokens.append(hearing.align(heard))
            if hearing.tag_head is not None:
                for row, (start, _) in enumerate(group):
                    one = {n: h.window(row) for n, h in heard.items()}
                    tags += tag_window(hearing.tag_head, one, self.model.config.tag_labels or [], start)
        ends = [Tag(t.label, t.start, min(t.end, recording.seconds), t.score) for t in tags]
        return HeardRecording(torch.cat(tokens), tuple(merge(ends)))


def _keep(store: OrderedDict[str, T], key: str, value: T, most: int) -> None:
    store[key] = value
    while len(store) > most:
        store.popitem(last=False)
