"""Recordings with the very same samples, in whatever file."""

from __future__ import annotations

import hashlib

import numpy as np

from alm.audio import Waveform


def pcm_digest(waveform: Waveform) -> str:
    """SHA-256 over the rate and the mono samples in 16 bits: the same for WAV, FLAC and other lossless copies."""
    digest = hashlib.sha256(f"pcm16 {waveform.rate} ".encode())
    samples = np.clip(np.rint(waveform.samples * 32_768.0), -32_768, 32_767)
    digest.update(samples.astype("<i2").tobytes())
    return digest.hexdigest()
