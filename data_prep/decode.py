"""Bytes of a recording in a package -> mono samples at the native rate."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from alm.audio import load_audio
from alm.errors import AudioError

MAX_SAMPLES = 48_000 * 3600


def decode(data: bytes, name: str) -> tuple[NDArray[np.float32], int]:
    """Mono float32 samples `[samples]` and their rate in Hz; channels are averaged.

    A published recording whose header promises more than it holds (common in MP3) is taken as far as it goes.
    Raises `AudioError` for bytes that are no recording, an empty one, and one longer than the limit.
    """
    try:
        recording = load_audio(data, name=name)
    except AudioError as fault:
        return _as_far_as_it_goes(data, name, fault)
    return recording.samples, recording.rate


def _as_far_as_it_goes(data: bytes, name: str, fault: AudioError) -> tuple[NDArray[np.float32], int]:
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as stream:
            frames = stream.read(MAX_SAMPLES, dtype="float32", always_2d=True)
            rate = int(stream.samplerate)
    except soundfile.LibsndfileError:
        raise fault from None
    if not len(frames) or not np.isfinite(frames).all():
        raise fault
    return np.asarray(frames.mean(axis=1), dtype=np.float32), rate
