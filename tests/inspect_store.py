"""A small set of records with recordings, for what looks at records and compares recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soxr

from alm.audio import Waveform, waveform_to_wav_bytes
from data_prep.records import Message, Record, write_records

RATE = 16_000


def chirps(seed: int, seconds: float = 3.0) -> Waveform:
    """A recording like no other: short glides at odd times and pitches over a little noise."""
    rng = np.random.default_rng(seed)
    total = int(seconds * RATE)
    samples = 0.003 * rng.standard_normal(total)
    for _ in range(round(7 * seconds)):
        long = int(rng.uniform(0.05, 0.25) * RATE)
        start = int(rng.integers(0, max(1, total - long)))
        times = np.arange(long) / RATE
        pitch = rng.uniform(300, 4_000) * 2 ** (times * rng.uniform(-3, 3))
        glide = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.exp(-times * rng.uniform(4, 30))
        samples[start : start + long] += rng.uniform(0.1, 0.4) * glide[: total - start]
    return Waveform((samples / max(1.0, np.abs(samples).max())).astype(np.float32), RATE, f"chirps-{seed}")


def played(waveform: Waveform, factor: float) -> Waveform:
    """Faster and higher by a factor, as a tape that runs faster."""
    samples = soxr.resample(waveform.samples, waveform.rate * factor, waveform.rate)
    return Waveform(np.asarray(samples, dtype=np.float32), waveform.rate)


def mixed(waveform: Waveform, other: Waveform, decibels: float) -> Waveform:
    """With another recording that is so many dB softer."""
    noise = np.resize(other.samples, len(waveform.samples))
    power = float(np.square(waveform.samples).mean() / np.square(noise).mean())
    both = waveform.samples + noise * np.float32(np.sqrt(power) * 10 ** (-decibels / 20))
    return Waveform((both / max(1.0, float(np.abs(both).max()))).astype(np.float32), waveform.rate)


def save(waveform: Waveform, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(waveform_to_wav_bytes(waveform))
    return path


def record(name: str, audio: str, question: str = "What is heard?", answer: str = "A bell.", **more: Any) -> Record:
    fields = {
        "source": "bells", "task": "label", "split": "train", "licence": "CC0-1.0", "duration": 3.0, "meta": {},
    } | more  # fmt: skip
    messages = (Message("user", f"<audio>{question}"), Message("assistant", answer))
    return Record(id=name, messages=messages, audios=(audio,), **fields)


def store(folder: Path, rows: int = 6) -> Path:
    """`train.jsonl` and `test.jsonl` with a recording each, one of them in both under another name."""
    train = []
    for number in range(rows):
        save(chirps(number), folder / f"audio/{number}.wav")
        more: dict[str, Any] = {"meta": {"classes": ["bell" if number % 2 else "horn"], "language": "English"}}
        more |= {"task": "label" if number % 3 else "count"}
        train.append(record(f"train-{number}", f"audio/{number}.wav", f"What rings in {number}?", **more))
    save(played(chirps(1), 1.06), folder / "audio/heard.wav")
    write_records(train, folder / "train.jsonl")
    write_records([record("test-0", "audio/heard.wav", split="test", licence="CC-BY-4.0")], folder / "test.jsonl")
    return folder
