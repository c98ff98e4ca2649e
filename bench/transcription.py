"""How well the transcriber writes down English speech, and how often it makes something of other sound.

    python -m bench.transcription STORE [--speech 300] [--other 400]

STORE is an audio store made by `python -m data_prep fetch`; its clips.jsonl tells kind, language and words of each.
Every clip is read once with all guards off and judged twice: as read, and with the guards.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jiwer

from alm import weights
from alm.audio import load_audio
from alm.transcription import Transcriber, TranscriberConfig

_SILENT_KINDS = ("sfx", "render", "instrument", "music")
_OPEN = TranscriberConfig(max_no_speech=1.0, min_logprob=-99.0, max_compression=99.0)


class Listening(Transcriber):
    """Keeps every reading with its scores."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _OPEN)
        self.guards = Transcriber(folder)
        self.readings: list[tuple[str, bool]] = []

    def _believed(self, segment: Any) -> bool:
        self.readings.append((segment.text.strip(), self.guards._believed(segment)))
        return True

    def read(self, path: Path) -> tuple[str, str]:
        """The text as read, and what the guards leave of it."""
        self.readings.clear()
        self.transcribe(load_audio(path))
        return " ".join(t for t, _ in self.readings), " ".join(t for t, kept in self.readings if kept)


def words(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower()).split())


def chosen(store: Path, speech: int, other: int) -> list[dict[str, Any]]:
    """Spoken English clips with their words, and clips in which nobody speaks, in an order fixed by a seed."""
    rows = [json.loads(line) for line in (store / "clips.jsonl").read_text("utf-8").splitlines()]
    random.Random(1).shuffle(rows)
    spoken = [r for r in rows if r["kind"] == "speech" and r["language"][:2] == "en" and words(r["transcript"])]
    silent = [r for r in rows if r["kind"] in _SILENT_KINDS and r["seconds"] < 60]
    return spoken[:speech] + silent[:other]


def report(rows: list[dict[str, Any]], name: str, column: int) -> str:
    spoken = [r for r in rows if r["kind"] == "speech"]
    silent = [r for r in rows if r["kind"] != "speech"]
    found = [words(r["read"][column]) for r in spoken]
    rate = jiwer.wer([words(r["transcript"]) for r in spoken], found) if spoken else 0.0
    wrong = Counter(r["kind"] for r in silent if words(r["read"][column]))
    lost = [words(r["transcript"]) for r, text in zip(spoken, found, strict=True) if not text]
    return (
        f"{name}: word error rate {rate:.3f}, left empty {len(lost)} of {len(spoken)} {lost[:10]}, "
        f"text for {sum(wrong.values())} of {len(silent)} without speech {dict(wrong)}"
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--speech", type=int, default=300)
    parser.add_argument("--other", type=int, default=400)
    given = parser.parse_args(arguments)
    transcriber = Listening(weights.ensure("tiny").transcriber)
    rows, started = chosen(given.store, given.speech, given.other), time.perf_counter()
    for row in rows:
        row["read"] = transcriber.read(given.store / row["audio"])
    spent, heard = time.perf_counter() - started, sum(r["seconds"] for r in rows)
    lines = [report(rows, "gate alone", 0), report(rows, "gate and guards", 1), f"{heard:.0f} s heard in {spent:.0f} s"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
