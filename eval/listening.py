"""Hearing many recordings for evaluation: frozen encoder features made in batches, once, and kept by content hash.

What a clip sounds like to the model (audio tokens, tags) is then made from the features for each adapter, so that
several adapters share the expensive part. The result equals `Ears.hear`; a test compares them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from alm.aligner.features import Heard, pooled
from alm.asked import Scores
from alm.assistant import Assistant
from alm.audio import Waveform, load_audio, windows
from alm.evidence import Sounds
from alm.timeline import Timeline

BATCH_SECONDS = 60.0
"""Padded seconds of sound encoded at once."""
ALIGN_WINDOWS = 32
"""Windows aligned at once."""
Advance = Callable[[int], None]


def quiet(count: int) -> None:
    """Progress that nobody sees."""


@dataclass(frozen=True)
class Sound:
    """A recording or a part of it, opened when needed."""

    path: Path
    max_seconds: float | None = None
    """Only this much from the start."""
    more: tuple[Path, ...] = ()
    """Recordings that follow after a short pause, as one recording."""
    gap_seconds: float = 0.15

    def open(self) -> Waveform:
        found = load_audio(self.path)
        if self.more:
            found = join([found, *map(load_audio, self.more)], self.gap_seconds)
        if self.max_seconds is not None and found.seconds > self.max_seconds:
            found = found.segment(0.0, self.max_seconds)
        return found


def join(parts: Sequence[Waveform], gap_seconds: float) -> Waveform:
    """Recordings one after the other at the first one's rate, with silence between."""
    rate = parts[0].rate
    pieces = []
    for part in parts:
        pieces += [part.resampled(rate), np.zeros(round(gap_seconds * rate), np.float32)]
    return load_audio(np.concatenate(pieces[:-1]), rate=rate)


@dataclass(frozen=True)
class HeardClip:
    """A recording as the model hears it."""

    tokens: Tensor
    """[windows, tokens_per_window, dim]"""
    sounds: Sounds
    scores: Scores | None
    """None without a tag head."""
    pooled: Tensor
    """[features]: the pooled frozen features of its first window, as the tag head and the probe see them."""


class Listener:
    """Hears recordings with an assistant's encoders and aligner; frozen features are cached in a folder."""

    def __init__(self, assistant: Assistant, cache: Path) -> None:
        self.assistant = assistant
        self.hearing = assistant.model.model.hearing
        self.extractor = assistant.processor.feature_extractor
        self.digest = encoders_digest(assistant)
        self.folder = cache / self.digest
        self.encoded = 0

    def hear(self, sounds: Sequence[Sound], advance: Advance = quiet) -> dict[Sound, HeardClip]:
        """Tokens, tags and pooled features of each sound."""
        heard: dict[Sound, HeardClip] = {}
        for group in self._groups(dict.fromkeys(sounds)):
            for sound, features, seconds in self._features(group):
                heard[sound] = self._interpret(features, seconds)
            advance(len(group))
        return heard

    def _groups(self, sounds: Sequence[Sound] | dict[Sound, None], size: int = 32) -> Iterator[list[Sound]]:
        ordered = list(sounds)
        for first in range(0, len(ordered), size):
            yield ordered[first : first + size]

    def _features(self, sounds: list[Sound]) -> Iterator[tuple[Sound, dict[str, Tensor], float]]:
        """Features of a group, from the cache or made now."""
        missing: list[tuple[Sound, Waveform]] = []
        for sound in sounds:
            recording = sound.open()
            if (found := self._read(recording.sha256)) is not None:
                yield sound, found, recording.seconds
            else:
                missing.append((sound, recording))
        for batch in _by_length(missing):
            for (sound, recording), features in zip(batch, self._encode([r for _, r in batch]), strict=True):
                self._write(recording.sha256, features)
                yield sound, features, recording.seconds

    @torch.no_grad()
    def _encode(self, recordings: list[Waveform]) -> list[dict[str, Tensor]]:
        """For each recording `<encoder>` `[windows, layers, time, dim]` float16, `<encoder>_mask` `[windows, time]`."""
        inputs = dict(self.extractor(recordings))
        counts = inputs.pop("audio_windows").tolist()
        heard = self.hearing.encode({k: v.to(self.assistant.model.device) for k, v in inputs.items()})
        self.encoded += len(recordings)
        found, start = [], 0
        for count in counts:
            rows = slice(start, start + count)
            found.append({k: v for n, h in heard.items() for k, v in _trimmed(n, h, rows).items()})
            start += count
        return found

    @torch.no_grad()
    def _interpret(self, features: dict[str, Tensor], seconds: float) -> HeardClip:
        """The trained part: aligner and tag head on features."""
        device = self.assistant.model.device
        names = list(self.hearing.settings)
        inputs = {f"{n}_hidden": features[n].float().to(device) for n in names}
        inputs |= {f"{n}_hidden_mask": features[f"{n}_mask"].to(device) for n in names}
        heard = self.hearing.encode(inputs)
        first = {n: h.window(0) for n, h in heard.items()}
        return HeardClip(self.hearing.align(heard).cpu(), *self._sounds(heard, seconds), pooled(first)[0].cpu())

    def _sounds(self, heard: dict[str, Heard], seconds: float) -> tuple[Sounds, Scores | None]:
        if self.hearing.tag_head is None:
            return Sounds(), None
        config = self.extractor
        timeline = Timeline(self.hearing.tag_head, self.assistant.model.config.tag_labels or [])
        timeline.add_windows(heard, windows(seconds, config.window_seconds, config.overlap_seconds))
        return timeline.sounds(seconds), timeline.scores()

    def transcript(self, sound: Sound) -> str:
        """What the assistant's transcript path says, kept by content hash; empty without speech."""
        transcriber = self.assistant.ears.transcriber
        if transcriber is None:
            return ""
        recording = sound.open()
        place = self.folder / f"said-{transcriber_digest(transcriber)}" / f"{recording.sha256}.json"
        if place.is_file():
            return str(json.loads(place.read_text(encoding="utf-8"))["text"])
        text = str(transcriber.transcribe(recording).text)
        _replace(place, json.dumps({"text": text}).encode())
        return text

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}.safetensors"

    def _read(self, sha256: str) -> dict[str, Tensor] | None:
        place = self._place(sha256)
        if not place.is_file():
            return None
        try:
            return load_file(place)
        except (SafetensorError, OSError):  # damaged: made again
            return None

    def _write(self, sha256: str, features: dict[str, Tensor]) -> None:
        place = self._place(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f"{place.name}.{os.getpid()}")
        save_file({k: v.contiguous() for k, v in features.items()}, temporary)
        temporary.replace(place)


def _by_length(items: list[tuple[Sound, Waveform]]) -> Iterator[list[tuple[Sound, Waveform]]]:
    """Batches of similar length, so that little padding is encoded."""
    batch: list[tuple[Sound, Waveform]] = []
    for item in sorted(items, key=lambda i: i[1].seconds):
        if batch and (len(batch) + 1) * item[1].seconds > BATCH_SECONDS:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _trimmed(name: str, heard: Heard, rows: slice) -> dict[str, Tensor]:
    """One recording's windows without the padding of its batch."""
    mask = heard.mask[rows]
    longest = max(1, int(mask.sum(1).max()))
    hidden = heard.hidden[rows, :, :longest].to(torch.float16).cpu().clone()
    return {name: hidden, f"{name}_mask": mask[:, :longest].cpu().clone()}


def encoders_digest(assistant: Assistant) -> str:
    """Short hash of what frozen features depend on: encoder settings, windows, and the weights themselves."""
    config = assistant.model.config
    facts: dict[str, Any] = {
        "encoders": config.encoders,
        "front_ends": assistant.processor.feature_extractor.encoders,
        "windows": [config.window_seconds, config.overlap_seconds],
        "format": 1,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, tensor in sorted(assistant.model.model.hearing.encoders.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def transcriber_digest(transcriber: Any) -> str:
    """Short hash of what transcripts depend on: settings and the module that reads speech."""
    import alm.transcription

    source = Path(alm.transcription.__file__).read_bytes()
    return hashlib.sha256(source + repr(transcriber.config).encode()).hexdigest()[:12]


def _replace(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f"{place.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(place)
