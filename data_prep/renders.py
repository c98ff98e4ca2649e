"""Notes of General MIDI instruments, rendered from sound fonts: real samples, played by machine.

The path of such a clip names the font and the note: `FONT.sf2#prog=40,note=60` or `FONT.sf2#drum=35`.
Needs the optional package `tinysoundfont` (`pip install --no-deps tinysoundfont`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alm.errors import AlmError
from data_prep import store
from data_prep.corpus import Clip, StoredClip
from data_prep.errors import CorpusError

RATE_HZ = 44_100
LEAD_SECONDS, HELD_SECONDS, TAIL_SECONDS = 0.05, 1.5, 0.85
VELOCITY = 100
DRUM_CHANNEL, DRUM_BANK = 9, 128
PATTERN = re.compile(r"#(?:prog=(\d+),note=(\d+)|drum=(\d+))$")


def available() -> bool:
    """Whether notes can be rendered here."""
    try:
        import tinysoundfont  # noqa: F401
    except ImportError:
        return False
    return True


def parse(path: str) -> tuple[int, int, int]:
    """(channel, program, key) of a clip path; raises `CorpusError` for another form."""
    found = PATTERN.search(path)
    if found is None:
        raise CorpusError(f"{path}: does not end in '#prog=P,note=N' or '#drum=N'")
    program, note, drum = found.groups()
    channel, values = (DRUM_CHANNEL, (0, int(drum))) if drum else (0, (int(program), int(note)))
    if max(values) > 127:
        raise CorpusError(f"{path}: a program or note is above 127")
    return channel, *values


def render_note(font: bytes, path: str) -> NDArray[np.float32]:
    """Mono samples `[samples]` at `RATE_HZ` of the note that `path` names."""
    synth, handle = _open(font)
    return _play(synth, handle, path)


def _open(font: bytes) -> tuple[Any, int]:
    import tinysoundfont

    synth = tinysoundfont.Synth(gain=-3, samplerate=RATE_HZ)
    return synth, synth.sfload(font)


def _play(synth: Any, handle: int, path: str) -> NDArray[np.float32]:
    channel, program, key = parse(path)
    synth.sounds_off()
    synth.program_select(channel, handle, DRUM_BANK if channel == DRUM_CHANNEL else 0, program)
    pieces = [_generate(synth, LEAD_SECONDS)]
    synth.noteon(channel, key, VELOCITY)
    pieces.append(_generate(synth, HELD_SECONDS))
    synth.noteoff(channel, key)
    pieces.append(_generate(synth, TAIL_SECONDS))
    return np.concatenate(pieces)


def _generate(synth: Any, seconds: float) -> NDArray[np.float32]:
    frames = np.frombuffer(synth.generate(round(seconds * RATE_HZ)), dtype=np.float32)
    return np.asarray(frames.reshape(-1, 2).mean(axis=1), dtype=np.float32)


def store_notes(
    files: Iterable[tuple[str, bytes]], clips: list[Clip], target: Path
) -> Iterator[StoredClip | store.Failure]:
    """Render and store the clips of each sound font in `files`; a silent note is a failure."""
    if not available():
        raise CorpusError("rendering General MIDI notes needs `pip install --no-deps tinysoundfont`; left out")
    for font_path, data in files:
        synth, handle = _open(data)
        for clip in clips:
            if clip.path.split("#", 1)[0] == font_path:
                yield _store_note(synth, handle, clip, target)


def _store_note(synth: Any, handle: int, clip: Clip, target: Path) -> StoredClip | store.Failure:
    try:
        samples = _play(synth, handle, clip.path)
    except AlmError as fault:
        return store.Failure(clip.id, str(fault))
    if float(np.abs(samples).max(initial=0.0)) < 1e-3:
        return store.Failure(clip.id, "the sound font renders silence for it")
    return store.put(target, clip, samples, RATE_HZ)
