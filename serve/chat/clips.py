"""Recordings of the chat page's conversations: decoded once, with what the browser plays and shows."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile as sf

from alm.audio import AudioLimits, Waveform, load_audio
from alm.audio_opening import shown_name
from alm.errors import AudioError
from serve.chat.pictures import Spectrogram, outline, spectrogram

if TYPE_CHECKING:
    from alm.evidence import Evidence

_PLAYER_RATES_HZ = (8_000, 48_000)


@dataclass(eq=False)
class HeardClip:
    """A recording of a conversation."""

    waveform: Waveform
    upload: Path
    """The file as it was uploaded; it may expire."""
    player: Path
    """What the browser plays: the sound as the model gets it, in a format that every browser knows."""
    picture: Spectrogram
    outline: list[tuple[float, float]]
    evidence: Evidence | None = None


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
    return hold(load_audio(upload, limits=limits), upload, folder)


def hold(waveform: Waveform, upload: Path, folder: Path) -> HeardClip:
    """A recording with a player of its own."""
    # A name that nobody can guess: whoever knows it may fetch the file.
    player = folder / f"{secrets.token_hex(16)}.flac"
    low, high = _PLAYER_RATES_HZ
    rate = min(max(waveform.rate, low), high)
    sf.write(player, waveform.resampled(rate).clip(-1.0, 1.0), rate, format="FLAC", subtype="PCM_16")
    return HeardClip(waveform, upload, player, spectrogram(waveform), outline(waveform))


def delete(clips: Iterable[Clip]) -> None:
    """Delete the players."""
    for clip in clips:
        if isinstance(clip, HeardClip):
            clip.player.unlink(missing_ok=True)
