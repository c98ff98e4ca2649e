"""A million rows of OpenAQA converted and checked, beside plain json + datasets: `python -m bench.conversion`.

The rows are made up, and so are the recordings, which are short: how fast audio is copied is not the question. Each
way runs in a process of its own, so that its peak memory is its own. Prints the table of `docs/data-formats.md`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

from bench.memory import peak_mebibytes

DISK = "/disk/of/the/authors/"
WORDS = "dog rain bell door child engine wind voice piano glass water bird siren step crowd".split()
RECORDINGS = 5000
TASKS = ("cla_label", "cla_label_des", "temporal_order", "open-ended question")


def make(path: Path, rows: int, seed: int = 0) -> None:
    """One JSON list; every question and answer differs in words and length."""
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for index in range(rows):
            question = f"What can be said of the {rng.choice(WORDS)} in this recording, and of {rng.choice(WORDS)}s?"
            answer = "; ".join(f"{word} ({rng.randrange(10)} s)" for word in rng.choices(WORDS, k=rng.randint(2, 24)))
            row = {
                "instruction": question,
                "input": "" if index % 4 else " ".join(rng.choices(WORDS, k=12)),
                "audio_id": f"{DISK}audio/{rng.randrange(RECORDINGS):06d}.flac",
                "dataset": "as_20k",
                "task": TASKS[index % len(TASKS)],
                "output": f"Labels: {answer}",
            }
            stream.write(("[" if not index else ",\n ") + json.dumps(row, ensure_ascii=False))
        stream.write("]\n")


def record(folder: Path) -> None:
    """A tenth of a second for each name that the rows mention."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(RECORDINGS):
        soundfile.write(folder / f"{index:06d}.flac", rng.integers(-99, 99, 1600, np.int16), 16_000)


def ours(source: Path, target: Path) -> int:
    """Read as a stream, checked, and written for training."""
    from data_prep.formats import FORMATS, ReadRows, RowReport

    report = RowReport()
    records = report.taken(FORMATS["openaqa"].read(source, ReadRows(path_map={DISK: str(target.parent)})))
    FORMATS[target.suffix[1:].replace("jsonl", "alm")].write(records, target)
    return report.good


def sharded(source: Path, target: Path) -> int:
    """Read as a stream, checked, and packed with the recordings into shards."""
    from data_prep.formats import FORMATS, ReadRows, RowReport
    from data_prep.shards import write_shards

    report = RowReport()
    records = report.taken(FORMATS["openaqa"].read(source, ReadRows(path_map={DISK: str(target.parent)})))
    return write_shards(records, target, recordings=target.parent).total("records")


def plain(source: Path, target: Path) -> int:
    """What one would write in ten minutes: the list in memory, a Dataset of it, one function over its rows."""
    import datasets

    datasets.disable_progress_bars()
    table = datasets.Dataset.from_list(json.loads(source.read_text(encoding="utf-8")))
    table = table.map(_row(target.parent), with_indices=True, remove_columns=table.column_names)
    table.to_json(target, force_ascii=False)
    return len(table)


def _row(folder: Path) -> Callable[[dict[str, Any], int], dict[str, Any]]:
    def row(one: dict[str, Any], index: int) -> dict[str, Any]:
        for name in ("instruction", "output", "audio_id"):
            if not isinstance(one[name], str) or not one[name].strip():
                raise ValueError(f"row {index}: {name} is empty")
        if not one["audio_id"].startswith(DISK) or ".." in one["audio_id"]:
            raise ValueError(f"row {index}: {one['audio_id']} leads out")
        user = {"role": "user", "content": "<audio>" + one["instruction"]}
        return {
            "id": f"row-{index:07d}",
            "messages": [user, {"role": "assistant", "content": one["output"]}],
            "audios": [one["audio_id"].removeprefix(DISK)],
            "source": one["dataset"],
            "task": one["task"],
            "split": "train",
            "licence": "unknown",
            "duration": 0.0,
            "meta": {"input": one["input"]},
        }

    return row


WAYS = {"ours": ours, "sharded": sharded, "plain": plain}


def measured(way: str, source: Path, target: Path) -> dict[str, float]:
    """Rows, seconds of wall and processor, and peak MiB of a process that does nothing else."""
    command = [sys.executable, "-m", "bench.conversion", "--way", way, "--work", str(source), "--out", str(target)]
    environment = {**os.environ, "HF_DATASETS_CACHE": str(target.parent / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, text=True)
    return dict(json.loads(done.stdout))


def once(way: str, source: Path, target: Path) -> None:
    """One way in this process; tells what it took."""
    start = time.perf_counter()
    rows = WAYS[way](source, target)
    seconds = time.perf_counter() - start
    mebibytes = peak_mebibytes()
    typer.echo(json.dumps({"rows": rows, "seconds": seconds, "cpu": time.process_time(), "mebibytes": mebibytes}))


def main(
    work: Annotated[Path, typer.Option(help="Folder for the files; 3 GB for a million rows.")] = Path("conversion"),
    rows: Annotated[int, typer.Option(min=1)] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="Each way is run so often, in turn; the best counts.")] = 1,
    way: Annotated[str, typer.Option(hidden=True)] = "",
    out: Annotated[Path, typer.Option(hidden=True)] = Path("out.jsonl"),
) -> None:
    """Measure all ways and print a table."""
    if way:
        once(way, work, out)
        return
    work.mkdir(parents=True, exist_ok=True)
    source = work / "openaqa.json"
    make(source, rows)
    record(work / "audio")
    size = source.stat().st_size / 1e6
    ways = {
        "`data_prep.formats`, to our rows": ("ours", "ours.jsonl"),
        "json + datasets": ("plain", "plain.jsonl"),
        "`data_prep.formats`, to shards with their recordings": ("sharded", "shards"),
        "`data_prep.formats`, to Parquet": ("ours", "ours.parquet"),
    }
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for title, (name, target) in ways.items():
            shutil.rmtree(work / target, ignore_errors=True)
            found = measured(name, source, work / target)
            typer.echo(f"{title}: {found}", err=True)
            assert found["rows"] == rows, f"{title}: {found['rows']} of {rows} rows"
            if title not in best or found["seconds"] < best[title]["seconds"]:
                best[title] = found
    base = best["json + datasets"]["seconds"]
    typer.echo(f"{rows:,} rows, {size:.0f} MB\n\n| way | seconds | processor s | rows/s | times | peak MiB |")
    typer.echo("|---|---|---|---|---|---|")
    for title, one in best.items():
        rate, times = rows / one["seconds"], base / one["seconds"]
        took = f"{one['seconds']:.1f} | {one['cpu']:.1f} | {rate:,.0f} | {times:.1f} | {one['mebibytes']:.0f}"
        typer.echo(f"| {title} | {took} |")


if __name__ == "__main__":
    typer.run(main)
