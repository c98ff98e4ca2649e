"""What gives a probability for every label of a recording: the tag head of a preset, or a file of somebody's scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from alm.audio import Waveform, load_audio
from data_prep.errors import CorpusError
from data_prep.samples import Sample

if TYPE_CHECKING:
    from alm.assistant import Assistant

Probabilities = NDArray[np.float32]


class Scorer(Protocol):
    """Gives `[labels]` from 0 to 1; several labels may be heard at once."""

    @property
    def name(self) -> str:
        """For people, and the label set of what it guesses."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever it would score otherwise."""

    @property
    def labels(self) -> Sequence[str]:
        """What it knows."""

    def score(self, sample: Sample, recording: Waveform | None = None) -> Probabilities:
        """The probabilities of a sample; of `recording` in its place, where a view of it is asked about.

        Raises:
            AlmError: the recording cannot be read, or the scorer knows nothing about it.
        """


def open_sample(sample: Sample) -> Waveform:
    """The stretch of the file that the sample is; raises `AudioError`."""
    recording = load_audio(sample.audio)
    if sample.start is None:
        return recording
    end = recording.seconds if sample.seconds is None else min(recording.seconds, sample.start + sample.seconds)
    return recording.segment(sample.start, end)


class TagHead:
    """The tag head of a preset: the highest logit over the windows of a recording."""

    def __init__(self, assistant: Assistant) -> None:
        labels = assistant.model.config.tag_labels
        if not labels:
            raise CorpusError(f"preset '{assistant.preset}' has no tag head; take one that has, such as 'tiny'")
        self.assistant, self._labels = assistant, tuple(labels)

    @classmethod
    def of(cls, preset: str) -> TagHead:
        """The tag head of a preset; its weights are fetched where they are not there yet."""
        import alm

        return cls(alm.load(preset))

    @property
    def name(self) -> str:
        return f"tag head of {self.assistant.preset}"

    @cached_property
    def fingerprint(self) -> str:
        """Of preset and weights."""
        digest = hashlib.sha256(self.assistant.preset.encode())
        head = self.assistant.model.model.hearing.tag_head
        assert head is not None
        for name, weight in sorted(head.state_dict().items()):
            digest.update(name.encode() + weight.float().cpu().numpy().tobytes())
        return digest.hexdigest()

    @property
    def labels(self) -> Sequence[str]:
        return self._labels

    def score(self, sample: Sample, recording: Waveform | None = None) -> Probabilities:
        heard = self.assistant.ears.hear(recording if recording is not None else open_sample(sample))
        assert heard.scores is not None
        return np.asarray(heard.scores.whole.sigmoid().float().numpy(), dtype=np.float32)


class ScoreFile:
    """Scores that something else gave: JSON lines with `source`, `id` and `scores` (label to probability)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[tuple[str, str], Mapping[str, float]] = {}
        for number, text in enumerate(_lines(path), start=1):
            if text.strip():
                key, scores = _parsed(text, f"{path}:{number}")
                self._rows[key] = scores
        self._labels = tuple(sorted({label for scores in self._rows.values() for label in scores}))

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def fingerprint(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def labels(self) -> Sequence[str]:
        return self._labels

    def score(self, sample: Sample, recording: Waveform | None = None) -> Probabilities:
        scores = self._rows.get((sample.source, sample.id))
        if scores is None:
            raise CorpusError(f"{self.path}: has no row of source '{sample.source}' with id '{sample.id}'")
        return np.array([scores.get(label, 0.0) for label in self._labels], dtype=np.float32)


def _lines(path: Path) -> Sequence[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise CorpusError(f"{path}: cannot read a file of scores ({fault})") from fault


def _parsed(text: str, where: str) -> tuple[tuple[str, str], Mapping[str, float]]:
    try:
        row = json.loads(text)
        key, scores = (row["source"], row["id"]), row["scores"]
        good = all(isinstance(part, str) for part in (*key, *scores)) and isinstance(scores, dict)
        good = good and all(_is_probability(value) for value in scores.values())
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise CorpusError(f"{where}: must be a JSON object with source, id and scores ({fault!r})"[:500]) from fault
    if not good:
        raise CorpusError(f"{where}: 'scores' must give each label a probability from 0 to 1; source and id are texts")
    return key, scores


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
