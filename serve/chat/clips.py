"""Recordings of the chat page's conversations, with what the browser plays and shows.

Short ones are decoded once. Long ones stay files, in a copy of the page's own, since uploads expire.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile as sf
import soxr

from alm.audio import AudioLimits, Waveform, windows
from alm.audio_opening import shown_name
from alm.errors import AudioError
from alm.long_audio import LongRecording, Sound, open_audio
from serve.chat.pictures import Spectrogram, outline, spectrogram

if TYPE_CHECKING:
    from alm.evidence import Evidence

_PLAYER_RATES_HZ = (8_000, 48_000)
_LONG_PLAYER_RATE_HZ = 16_000
"""An hour is a file of some 60 MB."""
_BLOCK_SECONDS = 30.0


@dataclass(eq=False)
class HeardClip:
    """A recording of a conversation."""

    waveform: Sound
    upload: Path
    """The file as it was uploaded; it may expire."""
    player: Path
    """What the browser plays: the sound as the model gets it, in a format that every browser knows."""
    picture: Spectrogram
    outline: list[tuple[float, float]]
    evidence: Evidence | None = None
    copy: Path | None = None
    """Where a long recording is read from."""

    @property
    def held_bytes(self) -> int:
        """Room it takes: decoded in memory, or on disk."""
        if isinstance(self.waveform, Waveform):
            return self.waveform.samples.nbytes
        return sum(p.stat().st_size for p in (self.player, self.copy) if p is not None and p.exists())


@dataclass(frozen=True)
class MissingClip:
    """A recording of an imported conversation that nobody has attached yet."""

    name: str
    sha256: str
    """As `Waveform.sha256`; empty where the file did not say it."""


Clip = HeardClip | MissingClip


def open_clip(upload: Path, folder: Path, limits: AudioLimits) -> HeardClip:
    """Decode an upload and write its player into `folder`.

    Raises:
        AudioError: it expired, is no audio, or is beyond a limit.
    """
    if not upload.is_file():
        raise AudioError(f"{shown_name(upload.name)}: the upload has expired; attach the recording again")
    return hold(open_audio(upload, limits=limits), upload, folder)


def hold(recording: Sound, upload: Path, folder: Path) -> HeardClip:
    """A recording with a player of its own, and a copy of its own if it is long.

    Raises:
        AudioError: the file of a long recording is gone or has changed.
    """
    # Names that nobody can guess: whoever knows one may fetch the file.
    player, copy = folder / f"{secrets.token_hex(16)}.flac", None
    try:
        if isinstance(recording, LongRecording):
            copy = folder / f"{secrets.token_hex(16)}{upload.suffix}"
            recording = _moved(recording, copy)
        _write_player(recording, player)
        return HeardClip(recording, upload, player, spectrogram(recording), outline(recording), copy=copy)
    except BaseException:
        _unlink(player, copy)
        raise


def _moved(recording: LongRecording, to: Path) -> LongRecording:
    """The same recording, read from a copy of its file from now on."""
    if isinstance(recording.content, bytes):
        to.write_bytes(recording.content)
    else:
        try:
            shutil.copyfile(recording.content, to)
        except OSError as error:
            raise AudioError(f"{recording.source}: the upload has expired; attach the recording again") from error
    return replace(recording, content=to, name=recording.source)


def _write_player(recording: Sound, player: Path) -> None:
    low, high = _PLAYER_RATES_HZ
    rate = _LONG_PLAYER_RATE_HZ if isinstance(recording, LongRecording) else min(max(recording.rate, low), high)
    spans = windows(recording.seconds, _BLOCK_SECONDS)
    stream = soxr.ResampleStream(recording.rate, rate, 1, dtype="float32", quality="HQ")
    with sf.SoundFile(player, "w", rate, 1, format="FLAC", subtype="PCM_16") as file:
        for index, part in enumerate(recording.segments(spans)):
            file.write(stream.resample_chunk(part.samples, last=index + 1 == len(spans)).clip(-1.0, 1.0))


def delete(clips: Iterable[Clip]) -> None:
    """Delete the files of these recordings."""
    for clip in clips:
        if isinstance(clip, HeardClip):
            _unlink(clip.player, clip.copy)


def _unlink(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            path.unlink(missing_ok=True)
