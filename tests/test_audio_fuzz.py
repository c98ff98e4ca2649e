"""Damaged files: the answer is a Waveform or an AudioError, in bounded time and memory."""

from __future__ import annotations

import resource
import time
from functools import cache

import numpy as np
import pytest
from audio_files import encoded

from alm.audio import AudioLimits, load_audio
from alm.errors import AudioError

KINDS = ("wav", "float", "rf64", "aiff", "au", "caf", "flac", "ogg", "opus", "mp3", "m4a", "webm", "wv")
LIMITS = AudioLimits(max_seconds=30.0, max_decoded_bytes=64 * 2**20, max_decode_seconds=2.0)
CASES_PER_KIND = 40


@cache
def seed_file(kind: str) -> bytes:
    return encoded(kind, 0.4)


def damaged(original: bytes, random: np.random.Generator) -> bytes:
    """One to three of: flipped bits, a cut, a lost or doubled part, a header field set to an extreme."""
    content = bytearray(original)
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(0, len(content)))
        length = int(random.integers(1, 400))
        match int(random.integers(0, 5)):
            case 0:
                for where in random.integers(0, len(content), size=random.integers(1, 20)):
                    content[where] ^= 1 << int(random.integers(0, 8))
            case 1:
                del content[max(1, place) :]
            case 2:
                del content[place : place + min(length, len(content) - 1)]
            case 3:
                content[place:place] = content[place : place + length]
            case _:
                offset = int(random.integers(0, min(len(content), 120)))
                field = int(random.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF]))
                content[offset : offset + 4] = field.to_bytes(4, str(random.choice(["little", "big"])))  # type: ignore[arg-type]
    return bytes(content) or b"\0"


def check(content: bytes, name: str) -> bool:
    """Whether it was accepted; fails on any other outcome than the two allowed ones."""
    began = time.monotonic()
    try:
        waveform = load_audio(content, name=name, limits=LIMITS)
    except AudioError as error:
        text = str(error)
        assert text.startswith(f"{name}: ") and "object at" not in text and "Errno" not in text
        return False
    finally:
        assert time.monotonic() - began < LIMITS.max_decode_seconds + 3
    assert waveform.samples.dtype == np.float32 and 0 < waveform.seconds <= LIMITS.max_seconds
    assert np.isfinite(waveform.samples).all() and 1 <= waveform.channels <= LIMITS.max_channels
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_decoded_or_refused(kind: str) -> None:
    random = np.random.default_rng(KINDS.index(kind))
    start_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = [check(damaged(seed_file(kind), random), f"damaged.{kind}") for _ in range(CASES_PER_KIND)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start_kib < 200 * 1024
    assert not all(outcomes) and check(seed_file(kind), f"whole.{kind}")  # control: the original is accepted


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_decoded_or_refused(kind: str) -> None:
    random = np.random.default_rng(1_000 + KINDS.index(kind))
    for _ in range(1_500):
        check(damaged(seed_file(kind), random), f"damaged.{kind}")


def test_bytes_of_no_format_are_refused() -> None:
    random = np.random.default_rng(7)
    for magic in (b"", b"RIFF", b"OggS", b"fLaC", b"ID3\x04", b"FORM", b"caff", b".snd", b"\xff\xfb\x90\xc4"):
        for _ in range(8):
            check(magic + random.bytes(int(random.integers(0, 5_000))), "random")
