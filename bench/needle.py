"""One event in an hour: `python -m bench.needle --corpus CORPUS`, written to `docs/needle.md`.

A recording is made for each of several places: noise like a quiet room's (pink, far below the event), and one sound of
the corpus' test split at a random moment within that place's share of the recording. `tiny` is asked which of four
sounds is heard, the other three being other recordings' needles, so that chance is a quarter. Each recording is read
from its file, as `alm ask` reads it. The peak of memory is that of the whole process: Python, torch, the weights, and
what the recordings before left behind.
Stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer
from numpy.typing import NDArray

from bench.memory import peak_mebibytes

RATE_HZ = 44_100
BLOCK_SECONDS = 30
ROOM_DB, NEEDLE_DB = -60.0, -25.0
OPTIONS = 4
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 10.0


@dataclass(frozen=True)
class Needle:
    """What is hidden, where, and what is asked."""

    label: str
    audio: Path
    onset_seconds: float
    options: tuple[str, ...]


def needles(corpus: Path, count: int, seconds: float, seed: int = 0) -> list[Needle]:
    """One for each of `count` equal shares of the recording, all of different classes.

    Raises:
        ValueError: the corpus' test split has too few classes.
    """
    rng = np.random.default_rng(seed)
    rows = [json.loads(line) for line in (corpus / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
    usable = [
        r for r in rows
        if r["split"] == "test" and r["kind"] == "sfx" and len(r["classes"]) == 1
        and not r["classes"][0].startswith("other ")  # no answer to "which of these"
        and SHORTEST_SECONDS <= r["seconds"] <= LONGEST_SECONDS
    ]  # fmt: skip
    by_class = {r["classes"][0]: r for r in (usable[int(k)] for k in rng.permutation(len(usable)))}
    if len(by_class) < max(count, OPTIONS):
        raise ValueError(f"{corpus} has {len(by_class)} classes of single sounds; {max(count, OPTIONS)} are needed")
    names = [str(n) for n in rng.permutation(sorted(by_class))[: max(count, OPTIONS)]]
    made = []
    for place, name in enumerate(names[:count]):
        others = rng.permutation([n for n in names if n != name])[: OPTIONS - 1]
        options = tuple(str(n) for n in rng.permutation([name, *others]))
        onset = (place + rng.random()) / count * (seconds - LONGEST_SECONDS)
        made.append(Needle(name, corpus / by_class[name]["audio"], float(onset), options))
    return made


def write(needle: Needle, seconds: float, path: Path, seed: int) -> None:
    """The recording, block by block."""
    from alm.audio import load_audio

    recording = load_audio(needle.audio)
    hidden = _to_level(recording.resampled(RATE_HZ), NEEDLE_DB)
    first, rng = round(needle.onset_seconds * RATE_HZ), np.random.default_rng(seed)
    count, block = round(seconds * RATE_HZ), BLOCK_SECONDS * RATE_HZ
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_16") as file:
        for start in range(0, count, block):
            piece = _to_level(_pink(min(block, count - start), rng), ROOM_DB)
            low, high = max(start, first), min(start + len(piece), first + len(hidden))
            if low < high:
                piece[low - start : high - start] += hidden[low - first : high - first]
            file.write(np.clip(piece, -1.0, 1.0))


def _pink(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    spectrum = np.fft.rfft(rng.standard_normal(count))
    made = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1.0), count)
    return made.astype(np.float32)


def _to_level(samples: NDArray[np.float32], level_db: float) -> NDArray[np.float32]:
    """At this root mean square, or as loud as full scale allows."""
    gain = 10 ** (level_db / 20) / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-9)
    return samples * np.float32(min(gain, 0.95 / max(float(np.abs(samples).max()), 1e-9)))


def ask(assistant: Any, needle: Needle, path: Path) -> dict[str, Any]:
    """Listen to one recording and ask; what was said, and what it took."""
    from alm.long_audio import open_audio

    phrases = assistant.model.config.tag_phrases
    options = [phrases.get(o, o) for o in needle.options]
    began = time.perf_counter()
    recording = open_audio(path)
    heard = assistant.ears.hear(recording)
    listened = time.perf_counter()
    question = f"Which of these sounds do you hear? Options: {'; '.join(options)}."
    answer = assistant.conversation().ask(question, audio=recording, max_new_tokens=48)
    said = answer.text.lower()
    named = [o for o in options if o.lower() in said]
    spans = [(a.seconds, a.words) for a in answer.asked if a.words == phrases.get(needle.label, needle.label)]
    return {
        "label": needle.label, "onset": needle.onset_seconds, "answer": answer.text, "windows": len(heard.spans),
        "right": named == [phrases.get(needle.label, needle.label)], "listening": listened - began,
        "answering": time.perf_counter() - listened, "seconds": recording.seconds,
        "found_at": spans[0][0] if spans else None, "peak_mebibytes": peak_mebibytes(),
    }  # fmt: skip


def asked(todo: Sequence[Needle], seconds: float, first: int, threads: int) -> Iterator[dict[str, Any]]:
    """One recording after the other, each made when it is wanted; `first` is the number of the first."""
    import torch

    from alm.cli import load_assistant

    if not todo:
        return
    assistant = load_assistant("tiny", quiet=True)
    torch.set_num_threads(threads)
    assistant.ears.transcriber = None  # nobody speaks, and the gate's time is not the encoders'
    assistant.ears.remember = 1
    apart = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for place, needle in enumerate(todo, first):
            path = Path(folder) / "hour.flac"
            writer = apart.Process(target=write, args=(needle, seconds, path, place))
            writer.start()  # its memory is not the assistant's
            writer.join()
            yield ask(assistant, needle, path)


def _kept(file: Path) -> list[dict[str, Any]]:
    """What was answered; a line that a kill cut off is left out, and cut off the file."""
    if not file.is_file():
        return []
    whole = file.read_text(encoding="utf-8").rpartition("\n")[0]
    file.write_text(whole + "\n" * bool(whole), encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    right, count = sum(r["right"] for r in rows), len(rows)
    near = sum(r["found_at"] is not None and abs(r["found_at"] - r["onset"]) <= LONGEST_SECONDS for r in rows)
    share = max(r["listening"] / r["seconds"] for r in rows)
    luck = _at_least(right, count, 1 / OPTIONS)
    lines = [
        f"- right answers: {right} of {count}; chance {count / OPTIONS:g} (p of so many or more: {luck:.2g})",
        f"- the evidence places the event within {LONGEST_SECONDS:g} s of its onset: {near} of {count}",
        f"- real-time factor of listening, the slowest: {share:.4f}",
        f"- seconds to answer after listening, the slowest: {max(r['answering'] for r in rows):.1f}",
        f"- peak memory of the process: {max(r['peak_mebibytes'] for r in rows):.0f} MiB",
        "",
        "| event | onset | found at | answer | right |",
        "|---|---|---|---|---|",
    ]
    for r in rows:
        found = "" if r["found_at"] is None else f"{r['found_at']:.1f} s"
        said = " ".join(r["answer"].split()).replace("|", "/")[:80]
        lines.append(f"| {r['label']} | {r['onset']:.1f} s | {found} | {said} | {'yes' if r['right'] else 'no'} |")
    return "\n".join(lines)


def _at_least(right: int, count: int, chance: float) -> float:
    """Binomial: probability of so many right answers or more."""
    from math import comb

    return sum(comb(count, k) * chance**k * (1 - chance) ** (count - k) for k in range(right, count + 1))


def main(
    corpus: Annotated[Path, typer.Option(help="Folder that `python -m data_prep fetch` filled.")],
    positions: Annotated[int, typer.Option(min=1)] = 20,
    minutes: Annotated[float, typer.Option(min=0.5, help="Length of each recording.")] = 60.0,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/needle.md"),
    kept: Annotated[Path, typer.Option(help="Folder of what was answered, to go on from.")] = Path("runs/needle"),
) -> None:
    """Hide, listen and ask."""
    file = kept / f"{positions}-{minutes:g}-{threads}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    first = len(_kept(file))
    todo = needles(corpus, positions, minutes * 60)[first:]
    for place, row in enumerate(asked(todo, minutes * 60, first, threads), first):
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        sys.stderr.write(f"{place + 1}/{positions} {row['label']}: {row['answer']!r}\n")
    page = summary(_kept(file))
    said = f"python -m bench.needle --corpus CORPUS --positions {positions} --minutes {minutes:g} --threads {threads}"
    about = f"# One event in {minutes:g} minutes\n\n{__doc__.split(chr(10) * 2, 1)[1].strip()}\n"
    out.write_text(f"{about}\n```\n{said}\n```\n\n{page}\n", encoding="utf-8")
    sys.stdout.write(page + "\n")


if __name__ == "__main__":
    typer.run(main)
