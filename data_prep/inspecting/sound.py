"""Recordings for the page: decoded to WAV in a folder of the page's own, with a picture of the spectrum."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alm.audio import AudioLimits, Waveform, load_audio, waveform_to_wav_bytes
from data_prep.atomic import write_bytes

MOST_PLAYERS = 200
"""Decoded recordings that are kept; the oldest goes first."""
LIMITS = AudioLimits(max_seconds=1800.0)
_COLUMNS = 600


@dataclass(frozen=True)
class Player:
    """A recording as the page plays it."""

    file: Path
    seconds: float
    rate: int
    picture: str
    """PNG as a data address."""


@dataclass
class Players:
    """What was decoded lately; only files made here are ever served."""

    folder: Path
    _made: dict[str, Player] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, sound: Path | bytes, name: str = "") -> Player:
        """A file or its bytes decoded; anything that is no recording raises `AudioError` and is not served."""
        said = sound if isinstance(sound, bytes) else str(sound.resolve()).encode("utf-8", "surrogatepass")
        key = hashlib.sha256(said).hexdigest()[:24]
        with self._lock:
            if key not in self._made:
                waveform = load_audio(sound, name=name if isinstance(sound, bytes) else None, limits=LIMITS)
                target = self.folder / f"{key}.wav"
                write_bytes(target, waveform_to_wav_bytes(waveform))
                self._made[key] = Player(target, waveform.seconds, waveform.rate, _picture(waveform))
                while len(self._made) > MOST_PLAYERS:
                    self._made.pop(next(iter(self._made))).file.unlink(missing_ok=True)
            return self._made[key]


def _picture(waveform: Waveform) -> str:
    """Spectrum over time, low frequencies at the bottom, the loudest 75 dB; at most `_COLUMNS` wide."""
    from matplotlib import colormaps, image

    hop = max(1, len(waveform.samples) // _COLUMNS)
    window = 1024 if waveform.rate > 12_000 else 512
    padded = np.pad(waveform.samples, (0, window))
    starts = np.arange(0, len(waveform.samples), hop)[:_COLUMNS]
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    level = 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)) + 1e-6)
    bins = np.unique(np.geomspace(2, window // 2 - 1, 110).astype(int))
    shown = np.clip((level[:, bins] - level.max() + 75) / 75, 0, 1).T[::-1]
    target = io.BytesIO()
    image.imsave(target, np.ascontiguousarray(colormaps["magma"](shown, bytes=True)[..., :3]), format="png")
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()
