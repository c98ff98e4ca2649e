"""The audio store: one FLAC file per clip, mono, 16 bit, at the native rate up to 48 kHz."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from alm.errors import AlmError
from data_prep.atomic import write_bytes, write_text
from data_prep.corpus import Clip, StoredClip, audio_path
from data_prep.decode import decode

MAX_RATE_HZ = 48_000
FULL_SCALE = 32767
MP3_TOLERANCE_SECONDS = 0.06


@dataclass(frozen=True)
class Failure:
    """A clip that did not get into the store, and why."""

    clip_id: str
    reason: str


def to_pcm(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """16-bit samples `[samples]`, rounded, clipped at full scale."""
    scaled = np.round(samples * FULL_SCALE)
    return np.clip(scaled, -FULL_SCALE - 1, FULL_SCALE).astype(np.int16)


def fingerprint(samples: NDArray[np.float32]) -> str:
    """The manifest's name for decoded samples: SHA-1 over 16-bit values.

    Values beyond full scale (lossy codecs make them) wrap around here, though never in the stored file:
    that is how the manifest was made, and two recordings still never share a fingerprint by it.
    """
    wrapped = np.round(samples * FULL_SCALE).astype(np.int64).astype("<i2")
    return hashlib.sha1(wrapped.tobytes()).hexdigest()[:16]


def write_flac(path: Path, pcm: NDArray[np.int16], rate: int) -> None:
    """Write `path` atomically; 16-bit FLAC is lossless for `pcm` `[samples]`."""
    encoded = io.BytesIO()
    soundfile.write(encoded, pcm, rate, format="FLAC", subtype="PCM_16")
    write_bytes(path, encoded.getvalue())


def read_flac(path: Path, start: int = 0, count: int = -1) -> tuple[NDArray[np.float32], int]:
    """Samples `[samples]` in -1..1 and rate of a file of the store; all, or `count` from `start`."""
    pcm, rate = soundfile.read(path, frames=count, start=start, dtype="int16")
    return pcm.astype(np.float32) / FULL_SCALE, int(rate)


def _is_as_listed(clip: Clip, samples: NDArray[np.float32], rate: int) -> bool:
    """Whether these are the samples that the manifest names; MP3 decoders differ a little, there the length must do."""
    if not clip.sha or fingerprint(samples) == clip.sha:
        return True
    return clip.path.lower().endswith(".mp3") and abs(len(samples) / rate - clip.seconds) < MP3_TOLERANCE_SECONDS


def put(store: Path, clip: Clip, samples: NDArray[np.float32], rate: int) -> StoredClip:
    """Store the decoded recording of `clip`: `samples` `[samples]` mono at `rate`.

    The fingerprint is taken before resampling. A file that is already there is kept.
    """
    pcm = to_pcm(samples)
    matches = _is_as_listed(clip, samples, rate)
    if rate > MAX_RATE_HZ:
        pcm, rate = to_pcm(soxr.resample(samples, rate, MAX_RATE_HZ, quality="HQ")), MAX_RATE_HZ
    relative = audio_path(clip.id, clip.sha)
    if not (store / relative).is_file():
        write_flac(store / relative, pcm, rate)
    return StoredClip(clip, relative, round(len(pcm) / rate, 4), rate, matches)


def put_bytes(store: Path, clip: Clip, data: bytes, name: str) -> StoredClip | Failure:
    """Decode the original file of `clip` and store it; a recording that cannot be decoded is a `Failure`."""
    try:
        samples, rate = decode(data, name)
        return put(store, clip, samples, rate)
    except AlmError as fault:
        return Failure(clip.id, str(fault))


def _progress_file(store: Path, package: str) -> Path:
    return store / "packages" / f"{package}.json"


def save_package(store: Path, package: str, clips: Iterable[StoredClip]) -> None:
    """Note that `package` is completely in the store; written last, so that its presence means done."""
    facts = {item.clip.id: [item.audio, item.seconds, item.rate, item.sha_match] for item in clips}
    write_text(_progress_file(store, package), json.dumps(facts, sort_keys=True))


def load_package(store: Path, package: str, clips: list[Clip]) -> list[StoredClip] | None:
    """What an earlier run stored for `clips`, or None when any of them is not there."""
    path = _progress_file(store, package)
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text())
        found = [StoredClip(clip, *facts[clip.id]) for clip in clips]
    except (ValueError, KeyError, TypeError):
        return None
    return found if all((store / item.audio).is_file() for item in found) else None
