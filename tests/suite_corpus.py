"""A corpus of tones and noise for the generated benchmarks: nine groups of two classes, speakers, composed scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from alm.testing import noise, tone
from eval.corpus import Corpus

GROUPS = {
    "animal": ("dog bark", "cow moo"),
    "weather and water": ("rain", "thunder"),
    "vehicle": ("car", "train"),
    "weapon and explosion": ("explosion", "sword clash"),
    "human": ("laughter", "cough"),
    "instrument": ("piano", "snare drum"),
    "home and everyday": ("door close", "keyboard typing"),
    "alert and electronic": ("bell", "telephone ring"),
    "impact": ("boing", "metal clang"),
}
SPEAKERS = (("en", "female"), ("en", "male"), ("nl", "female"), ("nl", "male"), ("fr", ""))
RATE_HZ = 16_000


def store(folder: Path) -> Corpus:
    """Three training and two test recordings of each class, four of each speaker, four sequences, five repetitions."""
    rows = [
        _row(folder, name, turn, 300.0 + 100 * number + 7 * turn, 2.4 if group.startswith("weather") else 0.5)
        for number, (group, name) in enumerate((g, n) for g, names in GROUPS.items() for n in names)
        for turn in range(5)
    ]
    for number, (language, sex) in enumerate(SPEAKERS):
        for turn in range(4):
            row = _row(folder, "speech", 3 + turn, 150.0 + 40 * number + turn, 0.6, f"speech-{language}-{sex}-{turn}")
            words = f"Word {turn}." if turn else "<beep>"
            said = {"language": language, "sex": sex, "speaker": f"voice{number}", "transcript": words}
            rows.append({**row, **said, "kind": "speech", "package": f"spoken-{number}"})
    rows.append(_row(folder, "speech", 0, 100.0, 0.6))
    rows.append(_row(folder, "speech", 1, 110.0, 0.6))
    _write(folder / "clips.jsonl", rows)
    (folder / "scenes").mkdir()
    _write(folder / "scenes" / "test.jsonl", [*_scenes(folder, rows)])
    return Corpus(folder)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def _row(folder: Path, name: str, turn: int, pitch: float, seconds: float, clip: str = "") -> dict[str, Any]:
    split = "train" if turn < 3 else "test"
    clip = clip or f"{name.replace(' ', '-')}-{turn}"
    sound = tone(seconds, pitch, seed=turn).samples + noise(seconds, 0.01, seed=turn).samples
    soundfile.write(folder / f"{clip}.wav", sound, RATE_HZ, subtype="PCM_16")
    return {
        "id": clip, "audio": f"{clip}.wav", "package": f"{split}-{turn}", "classes": [name], "split": split,
        "kind": "sfx", "stored_seconds": seconds, "language": "", "transcript": "", "licence": "CC0-1.0",
        "sha": f"{clip}-sha", "description": f"a made-up {name}",
    }  # fmt: skip


def _scenes(folder: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    first = {r["classes"][0]: r for r in rows if r["split"] == "test"}
    dog, rain = first["dog bark"], first["rain"]
    made = [("sequence", n, [dog, rain] if n % 2 else [rain, dog]) for n in range(4)]
    made += [("repetition", n, [dog] * (n + 1)) for n in range(5)]
    return [_scene(folder, *one) for one in made]


def _scene(folder: Path, kind: str, number: int, clips: list[dict[str, Any]]) -> dict[str, Any]:
    name, sounds, events, now = f"{kind}-{number}", [], [], 0.0
    for clip in clips:
        sound, _ = soundfile.read(folder / clip["audio"], dtype="float32")
        ends = now + len(sound) / RATE_HZ
        phrase = {"dog bark": "a dog barking", "rain": "rain falling"}[clip["classes"][0]]
        event = {"clip": clip["id"], "classes": clip["classes"], "phrase": phrase, "onset": now, "offset": ends}
        events.append({**event, "background": False})
        sounds += [sound, np.zeros(RATE_HZ // 2, np.float32)]
        now = ends + 0.5
    soundfile.write(folder / f"{name}.wav", np.concatenate(sounds), RATE_HZ)
    return {
        "id": name, "audio": f"{name}.wav", "kind": kind, "seconds": now, "events": events,
        "sources": sorted({c["package"] for c in clips}),
    }  # fmt: skip
