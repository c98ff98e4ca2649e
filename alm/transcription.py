"""What is said in a recording: a cheap speech gate first, and Whisper only where it opens.

The gate is Silero's voice activity detector, which faster-whisper carries. Whisper (int8, beam search) reads the
stretches that pass, at most 30 s at a time, so memory does not grow with the recording. What it writes is kept only if
its own scores say that it was reading speech: Whisper makes up sentences for music and noise.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alm.audio import windows
from alm.errors import WeightsError
from alm.long_audio import Sound

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

__all__ = ["Transcriber", "TranscriberConfig", "Transcript"]

_RATE = 16_000


@dataclass(frozen=True)
class TranscriberConfig:
    """How speech is found and which readings are believed."""

    cpu_threads: int = 0
    """0: as many as torch has."""
    beam_size: int = 5
    """Readings kept side by side; 1 is greedy, half a point of word errors worse on telephone prompts
    (docs/decisions.md)."""
    piece_seconds: float = 600.0
    """A long recording is resampled and gated in pieces of this length."""
    clip_seconds: float = 29.0
    """Stretches of speech are joined up to this length; Whisper hears 30 s at once."""
    gate_threshold: float = 0.5
    """The detector's probability from which a 32 ms frame is speech."""
    min_speech_seconds: float = 0.2
    min_silence_seconds: float = 0.5
    """Shorter pauses do not end a stretch."""
    pad_seconds: float = 0.3
    """Kept on both sides of a stretch."""
    max_no_speech: float = 0.5
    """Above this probability of no speech, a reading needs `sure_logprob` to be believed."""
    sure_logprob: float = -0.8
    min_logprob: float = -1.2
    """Mean log-probability of a token under which no reading is believed."""
    max_compression: float = 2.4
    """Text that zlib packs tighter than this is a loop."""


@dataclass(frozen=True)
class Transcript:
    """What is said, and when."""

    text: str
    """Empty if nothing is said."""
    segments: tuple[tuple[float, float, str], ...]
    """Start and end in seconds, and the words between."""
    speech: bool
    """Whether any reading was believed."""
    language: str = "en"


class Transcriber:
    """Speech to text with the default's Whisper tiny.en; loads itself on the first speech it meets.

    May be shared by threads: they take turns. `close` frees the model and its threads; the next use loads it again.
    """

    def __init__(self, folder: Path, config: TranscriberConfig | None = None) -> None:
        """`folder`: CTranslate2 Whisper, `alm.weights.ensure("tiny").transcriber`."""
        self.folder = Path(folder)
        self.config = config or TranscriberConfig()
        self._model: WhisperModel | None = None
        self._turn = threading.Lock()

    @property
    def loaded(self) -> bool:
        return self._model is not None

    def close(self) -> None:
        """Free the model's memory and threads."""
        with self._turn:
            if self._model is not None:
                self._model.model.unload_model()
                self._model = None

    def has_speech(self, waveform: Sound) -> float:
        """Share of the recording, 0 to 1, that the gate takes for speech; does not load Whisper."""
        heard = sum(end - start for first, samples in self._pieces(waveform) for start, end in self._spans(samples))
        return min(1.0, heard / waveform.seconds)

    def transcribe(self, waveform: Sound) -> Transcript:
        """Everything that is said.

        Raises:
            WeightsError: the model's folder is missing or damaged.
        """
        segments = tuple(self.segments(waveform))
        return Transcript(" ".join(text for _, _, text in segments), segments, bool(segments))

    def segments(self, waveform: Sound) -> Iterator[tuple[float, float, str]]:
        """Start, end (seconds) and words, one stretch after another, as they are read; stop asking to stop reading."""
        for first, samples in self._pieces(waveform):
            for start, end in self._clips(self._spans(samples)):
                clip = samples[round(start * _RATE) : round(end * _RATE)]
                for begin, finish, text in self._read(clip):
                    yield first + start + begin, min(first + start + finish, waveform.seconds), text

    def _pieces(self, waveform: Sound) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """Start in seconds and 16 kHz samples of each piece."""
        spans = windows(waveform.seconds, self.config.piece_seconds)
        for (first, _), piece in zip(spans, waveform.segments(spans), strict=True):
            yield first, piece.resampled(_RATE)

    def _spans(self, samples: NDArray[np.float32]) -> list[tuple[float, float]]:
        """Stretches of speech in seconds, padded, none longer than a clip."""
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        config = self.config
        options = VadOptions(
            threshold=config.gate_threshold,
            min_speech_duration_ms=round(config.min_speech_seconds * 1000),
            max_speech_duration_s=config.clip_seconds,
            min_silence_duration_ms=round(config.min_silence_seconds * 1000),
            speech_pad_ms=round(config.pad_seconds * 1000),
        )
        return [(span["start"] / _RATE, span["end"] / _RATE) for span in get_speech_timestamps(samples, options)]

    def _clips(self, spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Neighbouring stretches joined, with the pauses between, while they fit into one clip."""
        clips: list[tuple[float, float]] = []
        for start, end in spans:
            if clips and end - clips[-1][0] <= self.config.clip_seconds:
                clips[-1] = (clips[-1][0], end)
            else:
                clips.append((start, end))
        return clips

    def _read(self, clip: NDArray[np.float32]) -> list[tuple[float, float, str]]:
        """Whisper's reading of at most 30 s, without what it does not believe itself."""
        with self._turn:
            segments, _ = self._loaded_model().transcribe(
                clip,
                language="en",
                beam_size=self.config.beam_size,
                temperature=0.0,
                condition_on_previous_text=False,
                # The thresholds of faster-whisper ask for a second try; ours are applied below.
                no_speech_threshold=None,
                log_prob_threshold=None,
                compression_ratio_threshold=None,
            )
            return [(s.start, s.end, s.text.strip()) for s in segments if self._believed(s)]

    def _believed(self, segment: Any) -> bool:
        config = self.config
        if segment.compression_ratio > config.max_compression or segment.avg_logprob < config.min_logprob:
            return False
        return bool(segment.no_speech_prob <= config.max_no_speech or segment.avg_logprob >= config.sure_logprob)

    @property
    def _threads(self) -> int:
        import torch

        return self.config.cpu_threads or torch.get_num_threads()

    def _loaded_model(self) -> WhisperModel:
        if self._model is None:
            from faster_whisper import WhisperModel

            if not (self.folder / "model.bin").is_file():
                raise WeightsError(f"{self.folder}: no transcriber model.bin; run `alm weights`")
            try:
                self._model = WhisperModel(
                    str(self.folder), device="cpu", compute_type="int8", cpu_threads=self._threads
                )
            except (RuntimeError, ValueError, OSError) as error:
                raise WeightsError(
                    f"{self.folder}: the transcriber cannot be loaded ({error}); run `alm weights`"
                ) from error
        return self._model
