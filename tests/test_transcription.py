"""Transcripts: speech is written down with its times, everything else gives nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alm.audio import Waveform, load_audio
from alm.errors import WeightsError
from alm.transcription import Transcriber, TranscriberConfig

if TYPE_CHECKING:
    from alm.weights import TinyWeights

SPEECH = Path(__file__).parent / "data" / "speech.flac"
TASKS = Path("/proc/self/task")
WORDS = "we will call you back"


def waveform(samples: NDArray[Any], rate: int = 16_000) -> Waveform:
    return Waveform(samples.astype(np.float32), rate)


@pytest.fixture(scope="module")
def spoken() -> Waveform:
    return load_audio(SPEECH)


@pytest.fixture(scope="module")
def transcriber(weights: TinyWeights) -> Iterator[Transcriber]:
    made = Transcriber(weights.transcriber, TranscriberConfig(cpu_threads=1))
    yield made
    made.close()


def nothing_said() -> dict[str, Waveform]:
    """Recordings in which nobody speaks."""
    t, rng = np.arange(16_000 * 6) / 16_000, np.random.default_rng(0)
    clicks = np.zeros(t.size)
    clicks[::4000] = 0.9
    return {
        "silence": waveform(np.zeros(t.size)),
        "noise": waveform(0.1 * rng.standard_normal(t.size)),
        "tone": waveform(0.3 * np.sin(2 * np.pi * 440 * t)),
        "chord": waveform(sum(0.1 * np.sin(2 * np.pi * f * t) for f in (262, 330, 392)) * np.exp(-(t % 1))),
        "clicks": waveform(clicks),
        "one sample": waveform(np.array([0.5])),
    }


# --- the gate: needs no weights, for faster-whisper carries the detector ---


def test_the_gate_opens_for_speech_and_for_nothing_else(spoken: Waveform, tmp_path: Path) -> None:
    transcriber = Transcriber(tmp_path / "no weights here")
    assert transcriber.has_speech(spoken) > 0.8
    for name, recording in nothing_said().items():
        assert transcriber.has_speech(recording) == 0.0, name


def test_without_speech_whisper_is_not_even_loaded(tmp_path: Path) -> None:
    transcriber = Transcriber(tmp_path / "no weights here")
    for recording in nothing_said().values():
        said = transcriber.transcribe(recording)
        assert (said.text, said.segments, said.speech) == ("", (), False)
    assert not transcriber.loaded


def test_speech_without_weights_is_an_error_with_a_remedy(spoken: Waveform, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights here.*alm weights"):
        Transcriber(tmp_path / "no weights here").transcribe(spoken)


def test_a_damaged_model_is_an_error(spoken: Waveform, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Transcriber(tmp_path).transcribe(spoken)


def test_neighbouring_stretches_are_joined_into_clips(tmp_path: Path) -> None:
    clips = Transcriber(tmp_path)._clips([(0.0, 5.0), (6.0, 20.0), (21.0, 28.9), (30.0, 40.0), (200.0, 229.0)])
    assert clips == [(0.0, 28.9), (30.0, 40.0), (200.0, 229.0)]


@pytest.mark.parametrize(
    ("scores", "believed"),
    [
        ({}, True),
        ({"no_speech_prob": 0.9}, True),
        ({"no_speech_prob": 0.9, "avg_logprob": -0.9}, False),
        ({"avg_logprob": -0.9}, True),
        ({"avg_logprob": -1.3}, False),
        ({"compression_ratio": 2.5}, False),
    ],
)
def test_readings_that_whisper_does_not_believe_are_dropped(
    tmp_path: Path, scores: dict[str, float], believed: bool
) -> None:
    sure = {"no_speech_prob": 0.1, "avg_logprob": -0.3, "compression_ratio": 1.2}
    assert Transcriber(tmp_path)._believed(SimpleNamespace(**(sure | scores))) is believed


# --- with weights ---


@pytest.mark.weights
def test_speech_is_written_down_with_its_times(transcriber: Transcriber, spoken: Waveform) -> None:
    said = transcriber.transcribe(spoken)
    assert WORDS in said.text and said.speech and said.language == "en"
    assert all(0 <= start < end <= spoken.seconds for start, end, _ in said.segments)
    assert " ".join(text for _, _, text in said.segments) == said.text


@pytest.mark.weights
def test_times_and_words_survive_rate_and_place(transcriber: Transcriber, spoken: Waveform) -> None:
    """The same sentence at 48 kHz, half a minute into a recording with two pieces."""
    rate = 48_000
    samples = np.concatenate([np.zeros(rate * 32), spoken.resampled(rate), np.zeros(rate * 8)])
    cut = Transcriber(transcriber.folder, TranscriberConfig(cpu_threads=1, piece_seconds=30.0))
    cut._model = transcriber._loaded_model()
    said = cut.transcribe(waveform(samples, rate))
    assert WORDS in said.text
    assert 31.5 < said.segments[0][0] < 33.5 and said.segments[-1][1] < 32 + spoken.seconds + 1


@pytest.mark.weights
def test_noise_under_the_limit_does_not_hide_speech(transcriber: Transcriber, spoken: Waveform) -> None:
    noisy = spoken.samples + 0.003 * np.random.default_rng(0).standard_normal(len(spoken.samples))
    assert WORDS in transcriber.transcribe(waveform(noisy, spoken.rate)).text


@pytest.mark.weights
@pytest.mark.slow
def test_threads_and_memory_are_given_back(weights: TinyWeights, spoken: Waveform) -> None:
    transcriber = Transcriber(weights.transcriber, TranscriberConfig(cpu_threads=2))
    counts = []
    for _ in range(3):
        transcriber.transcribe(spoken)
        assert transcriber.loaded
        transcriber.close()
        assert not transcriber.loaded
        time.sleep(0.05)
        counts.append(len(list(TASKS.iterdir())) if TASKS.is_dir() else 0)
    assert counts[-1] <= counts[0], f"threads grow: {counts}"
