"""`python -m training.pretraining CONFIG`: train the small encoders, probe them, and write the page."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from alm.encoders import save
from alm.encoders.families.patch_transformer import PatchTransformer, PatchTransformerConfig
from alm.errors import AlmError, ConfigError
from training.config import load_config
from training.features import FeatureCache
from training.objective import seed_for
from training.pretraining.page import curves, page, probes, verdict
from training.pretraining.probing import hear, probe, spectrograms_of, with_ears
from training.pretraining.recordings import read_spectrograms
from training.pretraining.running import OBJECTIVES, Plan, objective, train
from training.run import expand
from training.semi import comparing
from training.sounds import read_clips

BASE = "default"
SECONDS = 6.0
"""Of each recording."""
HELD_OUT = 200
"""Recordings of other sources on which the losses are checked."""


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def make(
    config: Annotated[Path, typer.Argument(help="YAML file of a training run, for its lists and its cache.")],
    folder: Annotated[Path, typer.Option(help="New folder for weights and log.")] = Path("runs/own-encoder"),
    steps: Annotated[int, typer.Option(min=1)] = 400,
    seeds: Annotated[int, typer.Option(min=1, help="Of the probe.")] = 3,
    probe_steps: Annotated[int, typer.Option(min=1)] = 400,
    class_recordings: Annotated[int, typer.Option(min=1, help="Training recordings of a class for the probe.")] = 60,
    recordings: Annotated[int, typer.Option(min=1, help="Most to learn from.")] = 3000,
    split: Annotated[str, typer.Option(help="Split that the probe is scored on.")] = "test",
    out: Annotated[Path, typer.Option(help="Page to write; the curves lie beside it.")] = Path("docs/own-encoder.md"),
) -> None:
    """Everything, on one core."""
    settings, began = load_config(config), time.process_time()
    torch.set_num_threads(1)
    log = folder / "log.jsonl"
    if log.exists():
        raise ConfigError(f"{folder} holds a run; give another --folder")
    folder.mkdir(parents=True, exist_ok=True)
    clips = [s for f in expand(settings.data.clips) for s in read_clips(f)]
    plan, small = Plan(steps=steps), PatchTransformerConfig()
    front_end = PatchTransformer(small).front_end
    of_split = {n: [s.path for s in clips if s.split == n and s.path.is_file()] for n in ("train", "dev")}
    spread = of_split["train"][:: max(1, len(of_split["train"]) // recordings)][:recordings]
    data = read_spectrograms(spread, front_end, SECONDS)
    held_out = read_spectrograms(of_split["dev"][:HELD_OUT], front_end, SECONDS)
    small = data.scaled(small)
    _say(f"{len(data.items)} recordings, {data.refused} refused")
    torch.manual_seed(seed_for(plan.seed, "encoder"))
    encoders = {"random": PatchTransformer(small).eval().requires_grad_(False)}
    for name in OBJECTIVES:
        loss = objective(name, small, data, plan, encoders.get("masked-tokens"))
        encoders[name] = train(name, loss, data, held_out, plan, log, _say)
        save(encoders[name], asdict(small), folder / name, {"objective": name, "steps": steps})
    curves(log, out.with_suffix(".png"))

    heads = comparing.Plan(methods=("supervised",), seeds=seeds, steps=probe_steps, most=class_recordings)
    probed = comparing.read_data(clips, FeatureCache(Path(settings.data.cache)), heads, split)
    found = _probes(probed, encoders, heads, FeatureCache(Path(settings.data.cache)))
    facts = {
        "recordings": len(data.items), "refused": data.refused, "longest": SECONDS, "steps": steps,
        "hours": sum(map(len, data.items)) / 360_000, "layers": small.num_layers, "dim": small.dim,
        "parameters": sum(p.numel() for p in encoders["random"].parameters()) / 1e6, "batch": plan.batch_size,
        "codes": plan.codes, "probed": len(probed.train), "classes": len(probed.labels), "tested": len(probed.tested),
        "seeds": seeds, "minutes": (time.process_time() - began) / 60,
    }  # fmt: skip
    added = [n for n in found if n.startswith(f"{BASE} and")]
    command = " ".join(["python -m training.pretraining", *sys.argv[1:]])
    table, sentence = probes(found, probed, BASE), verdict(found, probed, BASE, added)
    out.write_text(page(facts, log, table, sentence, command), encoding="utf-8")


def _probes(
    data: comparing.Data, encoders: dict[str, PatchTransformer], plan: comparing.Plan, cache: FeatureCache
) -> dict[str, np.ndarray]:
    """Which of the scored recordings each set of encoders gets right."""
    from training.semi.pieces import read_pieces

    theirs = data.heard.ears, read_pieces(data.tested, cache).ears
    own = [spectrograms_of(sounds, encoders["random"], SECONDS) for sounds in (data.train, data.tested)]
    found = {BASE: probe(data, plan)}
    for name, encoder in encoders.items():
        train_ear, tested_ear = (hear(encoder, spectrograms) for spectrograms in own)
        found[f"{name} alone"] = probe(with_ears(data, {"own": train_ear}, {"own": tested_ear}), plan)
        both = [{**ears, "own": ear} for ears, ear in zip(theirs, (train_ear, tested_ear), strict=True)]
        found[f"{BASE} and {name}"] = probe(with_ears(data, *both), plan)
        _say(f"probed {name}")
    return found


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        typer.run(make)
    except AlmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
