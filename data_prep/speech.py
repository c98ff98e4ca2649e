"""English synthetic speech: eSpeak NG voices for train and dev, Flite voices for test, never the other way round.

Both engines are optional programs (Debian packages `espeak-ng` and `flite`); without them this part is left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep import store
from data_prep.atomic import write_text
from data_prep.decode import decode
from data_prep.errors import CorpusError
from data_prep.scenes import rng_for
from data_prep.speech_texts import Fact, Spoken, spoken_sentence

TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Voice:
    """One voice of an engine."""

    engine: str
    name: str
    sex: str
    accent: str


ESPEAK_VOICES = tuple(
    Voice("espeak-ng", f"{accent}+{variant}", "female" if variant.startswith("f") else "male", accent)
    for accent in ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp")
    for variant in ("m1", "m2", "m3", "m4", "m7", "f1", "f2", "f3", "f4", "f5")
)
FLITE_VOICES = (
    Voice("flite", "slt", "female", "en-us"),
    Voice("flite", "rms", "male", "en-us"),
    Voice("flite", "awb", "male", "en-gb-scotland"),
    Voice("flite", "kal16", "male", "en-us"),
)
VOICES = {"train": ESPEAK_VOICES, "dev": ESPEAK_VOICES, "test": FLITE_VOICES}
LICENCES = {
    "espeak-ng": "synthetic (eSpeak NG, GPL-3+ engine)",
    "flite": "synthetic (Flite, BSD-like engine and voices)",
}


@dataclass(frozen=True)
class Utterance:
    """A synthetic sentence in the store."""

    id: str
    split: str
    audio: str
    """Path relative to the store."""
    seconds: float
    engine: str
    voice: str
    sex: str
    text: str
    topic: str
    facts: tuple[Fact, ...]
    licence: str


def engine_of(split: str) -> str:
    """The program that speaks for a split."""
    return VOICES[split][0].engine


def available(split: str) -> bool:
    """Whether the engine of `split` is installed."""
    return shutil.which(engine_of(split)) is not None


def _command(voice: Voice, text: str, words_per_minute: int, pitch: int, target: Path) -> list[str]:
    if voice.engine == "espeak-ng":
        speed = ["-s", str(words_per_minute), "-p", str(pitch)]
        return ["espeak-ng", "-v", voice.name, *speed, "-w", str(target), "--", text]
    stretch = 165 / words_per_minute
    return ["flite", "-voice", voice.name, "--setf", f"duration_stretch={stretch:.3f}", "-t", text, "-o", str(target)]


def synthesize(voice: Voice, text: str, words_per_minute: int, pitch: int) -> bytes:
    """A WAV file with `text` spoken by `voice`; raises `CorpusError` when the engine is absent or fails."""
    if shutil.which(voice.engine) is None:
        raise CorpusError(f"{voice.engine} is not installed: `apt-get install {voice.engine}`, or leave speech out")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        command = _command(voice, text, words_per_minute, pitch, target)
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        if done.returncode != 0 or not target.is_file():
            raise CorpusError(f"{voice.engine} failed on {text[:60]!r}: {done.stderr.strip()[-200:]}")
        return target.read_bytes()


def speak(folder: Path, split: str, index: int, seed: int) -> Utterance:
    """Synthesize sentence `index` of a split into the store; an existing recording is kept."""
    rng = rng_for("speech", seed, split, index)
    spoken: Spoken = spoken_sentence(rng, split)
    voices = VOICES[split]
    sex = ("female", "male")[int(rng.integers(2))]
    fitting = [voice for voice in voices if voice.sex == sex]
    voice = fitting[int(rng.integers(len(fitting)))]
    words_per_minute, pitch = int(rng.integers(135, 196)), int(rng.integers(35, 66))
    said = hashlib.sha256(f"{voice.name} {words_per_minute} {pitch} {spoken.text}".encode()).hexdigest()[:8]
    name = f"tts-{split}-{seed}-{index:06d}-{said}"  # other templates make other sentences: never the old recording
    path = folder / f"speech/{split}/{name}.flac"
    if not path.is_file():
        samples, rate = decode(synthesize(voice, spoken.text, words_per_minute, pitch), f"{name}.wav")
        store.write_flac(path, store.to_pcm(samples), rate)
    samples, rate = store.read_flac(path)
    return Utterance(
        id=name,
        split=split,
        audio=str(path.relative_to(folder)),
        seconds=round(len(samples) / rate, 3),
        engine=voice.engine,
        voice=voice.name,
        sex=voice.sex,
        text=spoken.text,
        topic=spoken.topic,
        facts=spoken.facts,
        licence=LICENCES[voice.engine],
    )


def speak_all(
    folder: Path, split: str, count: int, seed: int, advance: Callable[[int], None] = lambda done: None
) -> list[Utterance]:
    """`count` utterances of a split, listed in `speech/SPLIT.jsonl`."""
    utterances = []
    for index in range(count):
        utterances.append(speak(folder, split, index, seed))
        advance(1)
    rows = (json.dumps(dataclasses.asdict(item), ensure_ascii=False) + "\n" for item in utterances)
    write_text(speech_list(folder, split), "".join(rows))
    return utterances


def speech_list(folder: Path, split: str) -> Path:
    """Where the utterances of a split are listed."""
    return folder / "speech" / f"{split}.jsonl"


def read_utterances(path: Path) -> Iterator[Utterance]:
    """Utterances of a list; an absent list is an empty one, for speech is optional."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as stream:
        for line, text in enumerate(stream, start=1):
            try:
                row: dict[str, Any] = json.loads(text)
                yield Utterance(**{**row, "facts": tuple(Fact(**fact) for fact in row["facts"])})
            except (ValueError, TypeError, KeyError) as fault:
                raise CorpusError(f"{path}:{line}: not a row of an utterance list ({fault!r}); speak again") from fault
