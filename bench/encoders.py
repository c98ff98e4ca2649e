"""What each encoder costs at its published size: `python -m bench.encoders`, written to `docs/encoder-cost.md`.

Weights are random (speed and memory do not depend on them) and so is the sound, which is made window by window. Every
family, size and length runs in a process of its own: front end and encoder are timed after one window to warm up, and
the peak is that of the process, Python and torch included. A length that would take longer than `--most-minutes` is
stopped there, and the page says how much of it was heard. Stopped at any moment, by `--minutes` too, the same command
goes on: what is measured lies beside the page, and is taken up again by as many threads alone; with a larger
`--most-minutes` what was stopped is measured anew. Every family's first size is measured before the second of any.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.memory import peak_mebibytes
from training.atomic import write_json

LENGTHS_SECONDS = (10.0, 60.0, 1800.0)
WINDOW_SECONDS = 10.0
"""Or the front end's longest clip, where that is shorter."""


def measure(name: str, size: str, seconds: float, threads: int, most_seconds: float) -> dict[str, Any]:
    """One family, size and length, in this process."""
    import torch

    from alm import encoders

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    family = encoders.family(name)
    encoder = encoders.build(name, family.sizes[size]).eval().requires_grad_(False)
    rate, window = encoder.sample_rate, min(WINDOW_SECONDS, encoder.front_end.max_seconds)
    rng = np.random.default_rng(0)

    def hear(length: float) -> int:
        samples = 0.1 * rng.standard_normal(max(1, round(length * rate)), np.float32)
        spectrogram = torch.from_numpy(encoder.front_end(samples))[None]
        with torch.inference_mode():
            out = encoder(spectrogram, torch.ones(spectrogram.shape[:2], dtype=torch.bool), [-1])
        return int(out.mask.sum())

    hear(window)
    began, heard, tokens = time.perf_counter(), 0.0, 0
    while heard < seconds - 1e-6 and time.perf_counter() - began < most_seconds:
        length = min(window, seconds - heard)
        tokens += hear(length)
        heard += length
    return {
        "family": name, "size": size, "wanted": seconds, "heard": heard, "seconds": time.perf_counter() - began,
        "tokens": tokens, "peak_mebibytes": peak_mebibytes(), "dim": encoder.dim,
        "parameters": sum(p.numel() for p in encoder.parameters()),
    }  # fmt: skip


def exponent(rows: Sequence[dict[str, Any]]) -> float | None:
    """Slope of log time over log length: 1 if twice the sound takes twice the time."""
    if len({r["heard"] for r in rows}) < 2:
        return None
    slope, _ = np.polyfit(np.log([r["heard"] for r in rows]), np.log([r["seconds"] for r in rows]), 1)
    return float(slope)


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row for each family and size."""
    lengths = sorted({r["wanted"] for r in results})
    heads = [f"{_length(s)}: RTF, tokens/s, peak" for s in lengths]
    lines = ["| " + " | ".join(["encoder", "parameters", "features/s x dim", *heads, "exponent"]) + " |"]
    lines.append("|" + "---|" * (len(heads) + 4))
    for name, size in dict.fromkeys((r["family"], r["size"]) for r in results):
        own = [r for r in results if (r["family"], r["size"]) == (name, size)]
        grows = exponent(own)
        shape = f"{own[-1]['tokens'] / own[-1]['heard']:.2f} x {own[-1]['dim']}"
        cells = [_cell(next((r for r in own if r["wanted"] == s), None)) for s in lengths]
        row = [f"{name} {size}", f"{own[0]['parameters'] / 1e6:.1f} M", shape, *cells]
        lines.append("| " + " | ".join([*row, "" if grows is None else f"{grows:.2f}"]) + " |")
    return "\n".join(lines)


def _length(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds:g} s"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not run"
    share, pace = row["seconds"] / row["heard"], row["tokens"] / row["seconds"]
    figures = f"{share:.3f}, {pace:.0f}, {row['peak_mebibytes']:.0f} MiB"
    return figures if _whole(row) else f"{figures} (stopped after {row['heard']:.0f} s)"


def _whole(row: dict[str, Any]) -> bool:
    return bool(row["heard"] >= row["wanted"] - 1e-6)


def wanted(names: Sequence[str], largest_million: float) -> tuple[list[tuple[str, str]], list[str]]:
    """Families and published sizes to measure, and those that are too large; makes no weights."""
    import torch

    from alm import encoders

    chosen, skipped = [], []
    for name in names or encoders.names():
        for size, config in encoders.family(name).sizes.items():
            with torch.device("meta"):
                millions = sum(p.numel() for p in encoders.build(name, config).parameters()) / 1e6
            if millions <= largest_million:
                chosen.append((name, size))
            else:
                skipped.append(f"{name} {size} ({millions:.0f} M)")
    return chosen, skipped


def first_sizes_first(chosen: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """One size of every family before the second of any."""
    seen = Counter[str]()
    rounds = []
    for name, size in chosen:
        rounds.append((seen[name], name, size))
        seen[name] += 1
    return [(name, size) for _, name, size in sorted(rounds, key=lambda r: r[0])]


@dataclass(frozen=True)
class Settings:
    """How everything is measured."""

    threads: int
    most_minutes: float

    def one(self, name: str, size: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """One family, size and length, in a process of its own."""
        options = [f"--threads={self.threads}", f"--most-minutes={self.most_minutes:g}"]
        command = [sys.executable, "-m", "bench.encoders", *options, f"--one={name} {size} {seconds}"]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True)

    def suits(self, row: dict[str, Any] | None) -> bool:
        """Whether there is such a measurement, and hearing on for as long as is allowed now would add nothing."""
        return row is not None and (_whole(row) or row["seconds"] >= self.most_minutes * 60)


def measured(
    chosen: Sequence[tuple[str, str]], lengths: Sequence[float], settings: Settings, kept: Path, ends: float
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], str]]:
    """All of them, and what was said of those that failed; `kept` has what is measured already.

    Args:
        ends: nothing is begun after this time of `time.monotonic`.
    """
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    known = before.get("results", []) if before.get("threads") == settings.threads else []
    found, failed = {(r["family"], r["size"], r["wanted"]): r for r in known}, {}
    for name, size in first_sizes_first(chosen):
        for seconds in lengths:
            if settings.suits(found.get((name, size, seconds))) or time.monotonic() > ends:
                continue
            done = settings.one(name, size, seconds)
            if done.returncode:
                failed[name, size] = f"{name} {size} at {_length(seconds)} (exit {done.returncode})"
                continue
            row = found[name, size, seconds] = json.loads(done.stdout.splitlines()[-1])
            write_json(kept, {"threads": settings.threads, "results": list(found.values())})
            sys.stderr.write(f"{name} {size} {_length(seconds)}: {row['seconds']:.1f} s\n")
    return [found[n, z, s] for n, z in chosen for s in lengths if (n, z, s) in found], failed


def main(
    family: Annotated[list[str] | None, typer.Option(help="Only these families; all if none is named.")] = None,
    length: Annotated[list[float] | None, typer.Option(help="Seconds of sound; 10, 60 and 1800 if none.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    most_minutes: Annotated[float, typer.Option(help="Of one length.")] = 20.0,
    largest_million: Annotated[float, typer.Option(help="Larger encoders are left out, and named.")] = 2000.0,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/encoder-cost.md"),
    minutes: Annotated[float, typer.Option(help="Stop then and write the page; the same command goes on.")] = math.inf,
    one: Annotated[str, typer.Option(help="FAMILY SIZE SECONDS: only this, as JSON on standard output.")] = "",
) -> None:
    """Measure every encoder."""
    if one:
        name, size, seconds = one.rsplit(" ", 2)
        sys.stdout.write("\n" + json.dumps(measure(name, size, float(seconds), threads, most_minutes * 60)))
        return
    chosen, skipped = wanted(family or [], largest_million)
    settings, ends = Settings(threads, most_minutes), time.monotonic() + minutes * 60
    results, failed = measured(chosen, length or LENGTHS_SECONDS, settings, out.with_suffix(".json"), ends)
    page = table(results) if results else "Nothing was measured."
    notes = [f"Left out, larger than {largest_million:g} M parameters: {', '.join(skipped)}."] if skipped else []
    there = {(r["family"], r["size"]) for r in results} | {*failed}
    if waiting := [f"{name} {size}" for name, size in chosen if (name, size) not in there]:
        notes.append(f"Not measured yet; the same command goes on with them: {', '.join(waiting)}.")
    notes += [f"Failed: {', '.join(failed.values())}."] if failed else []
    said = f"python -m bench.encoders --threads {threads} --most-minutes {most_minutes:g}"
    about = (
        f"# What the encoders cost\n\nPublished sizes with random weights on noise, in windows of at most "
        f"{WINDOW_SECONDS:g} s,\n{threads} threads, float32, one after the other. RTF is seconds of work a second of "
        "sound, tokens are\nfeatures made a second of work, the peak is that of the whole process. The exponent is the "
        "slope of log\ntime over log length.\n"
    )
    out.write_text("\n".join([about, f"```\n{said}\n```", "", page, "", *notes, ""]), encoding="utf-8")
    sys.stdout.write(page + "\n")


if __name__ == "__main__":
    typer.run(main)
