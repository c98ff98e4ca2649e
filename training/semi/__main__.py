"""`python -m training.semi CONFIG`: compare the methods on cached features and write the page.

Every finished run is kept, so that the same command goes on after a stop, and several may share the work.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors import safe_open
from safetensors.numpy import save_file

from alm.errors import AlmError, ConfigError
from training.atomic import whole_file
from training.config import load_config
from training.features import FeatureCache
from training.run import expand
from training.semi.comparing import ALL_LABELS, Data, Plan, by_class, hits, read_data, train_one
from training.semi.methods import METHODS
from training.semi.page import page, plot
from training.sounds import read_clips


def kept(file: Path, method: str, data: Data, plan: Plan, seed: int) -> tuple[np.ndarray, int, float]:
    """Probabilities, labels seen and processor seconds of one run; made where `file` does not hold them.

    Raises:
        ConfigError: the file is of another plan or other data.
    """
    numbers = {k: v for k, v in asdict(plan).items() if k not in ("methods", "seeds")}
    about = f"{numbers}, {len(data.train)} for training, {len(data.tested)} scored, {len(data.labels)} classes"
    if not file.is_file():
        began = time.process_time()
        found, count = train_one(method, data, plan, seed)
        facts = {"about": about, "labels": str(count), "seconds": str(time.process_time() - began)}
        with whole_file(file) as temporary:
            save_file({"probabilities": found}, temporary, facts)
    with safe_open(file, "np") as opened:
        facts = opened.metadata()
        if facts["about"] != about:
            raise ConfigError(f"{file} is of another comparison ({facts['about']}, not {about}); give another --folder")
        return opened.get_tensor("probabilities"), int(facts["labels"]), float(facts["seconds"])


def compare(
    config: Annotated[Path, typer.Argument(help="YAML file of a training run, for its lists and its cache.")],
    share: Annotated[float, typer.Option(help="Labels that are kept.")] = 0.1,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    steps: Annotated[int, typer.Option(min=1)] = 800,
    least: Annotated[int, typer.Option(min=1, help="Training recordings that a class needs to take part.")] = 10,
    method: Annotated[list[str] | None, typer.Option(help="Only these, besides labels alone.")] = None,
    split: Annotated[str, typer.Option(help="Split that is scored.")] = "test",
    folder: Annotated[Path, typer.Option(help="Where finished runs are kept.")] = Path("runs/semi"),
    out: Annotated[Path, typer.Option(help="Page to write; the plot lies beside it.")] = Path(
        "docs/semi-supervised.md"
    ),
) -> None:
    """Train every method with every seed, one after another, on one core."""
    settings = load_config(config)
    torch.set_num_threads(1)
    wanted = tuple(dict.fromkeys(["supervised", *(method or METHODS)]))
    plan = Plan(methods=wanted, seeds=seeds, share=share, steps=steps, least=least)
    sounds = [s for f in expand(settings.data.clips) for s in read_clips(f)]
    data = read_data(sounds, FeatureCache(Path(settings.data.cache)), plan, split)
    print(f"{len(data.train)} training recordings, {len(data.labels)} classes, {len(data.tested)} scored", flush=True)
    answers: dict[str, list[np.ndarray]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    labelled = 0
    for name in (*plan.methods, ALL_LABELS):
        for seed in range(plan.seeds):
            file = folder / f"{name.replace(' ', '-')}-{seed}.safetensors"
            found, count, spent = kept(file, name, data, plan, seed)
            answers[name].append(found)
            seconds[name] += spent / plan.seeds
            labelled = count if name != ALL_LABELS else labelled
        figures = [100 * by_class(hits(p, data.truth), data.truth) for p in answers[name]]
        print(f"{name}: {' '.join(f'{x:.1f}' for x in figures)} % right, {seconds[name]:.0f} s a run", flush=True)
    command = " ".join(["python -m training.semi", *sys.argv[1:]])
    out.write_text(page(answers, data, plan, labelled, seconds, command), encoding="utf-8")
    plot(answers, data, out.with_suffix(".png"))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        typer.run(compare)
    except AlmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
