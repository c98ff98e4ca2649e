"""A small random model, a tokenizer of a few words, a cache of made-up features: training without weights or corpus."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from alm.configuration import AlmConfig
from alm.modeling import AlmForConditionalGeneration
from alm.processing import AlmFeatureExtractor, AlmProcessor
from tests.fusion_helpers import text_config
from training.align import AlignObjective, Targets
from training.config import AugmentConfig, LoraSettings, StageConfig
from training.features import FeatureCache, Item
from training.groups import add_lora, set_trainable
from training.loop import Log, Stage
from training.sounds import ClassInfo, Sound
from training.typed import build

LABELS = ["bell", "dog", "rain"]
WORDS = (
    "<pad> <bos> <|im_end|> <audio> what is it a an the bell dog rain yes no Audio 1 2 3 ( s ) : . ? \n user assistant"
)
WHISPER = {"dim": 16, "num_layers": 2, "num_heads": 2, "ffn_dim": 32, "mel_bins": 80, "max_positions": 200}
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant\n{% endif %}"
)


def config(scheme: str = "delayed", start: int = 1, layers: int = 4, **changes: Any) -> AlmConfig:
    aligner = {"num_queries": 3, "hidden_size": 16, "num_layers": 1, "num_heads": 2, "soft_prompt_tokens": 2}
    branch = {"encoders": ["ear"], "aligner": aligner, "fusion": {"scheme": scheme, "start_layer": start}}
    values = {
        "text_config": {**text_config(), "num_hidden_layers": layers}, "branches": [branch], "audio_token_id": 3,
        "encoders": {"ear": {"family": "whisper", "layers": [1, 2], "pool_frames": 2, "config": WHISPER}},
        "tag_labels": LABELS, "window_seconds": 2.0, "overlap_seconds": 0.5,
    }  # fmt: skip
    return AlmConfig(**{**values, **changes})


def model(seed: int = 0, lora: bool = True, **changes: Any) -> AlmForConditionalGeneration:
    torch.manual_seed(seed)
    made = AlmForConditionalGeneration(config(**changes)).eval().requires_grad_(False)
    if lora:
        add_lora(made, LoraSettings(rank=2, alpha=4, dropout=0.1))
    return made


def processor(settings: AlmConfig) -> AlmProcessor:
    vocabulary = {w: i for i, w in enumerate(WORDS.split(" "))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<|im_end|>", additional_special_tokens=["<audio>"]
    )
    tokenizer.chat_template = TEMPLATE
    return AlmProcessor(AlmFeatureExtractor.of(settings), tokenizer, TEMPLATE, "<audio>")


def write_cache(folder: Path, names: list[str], windows: int = 1) -> FeatureCache:
    """A cache of random features for files that exist (short silence)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cache.json").write_text(json.dumps({"digest": "x", "frame_seconds": {"ear": 0.04}}))
    generator = torch.Generator().manual_seed(7)
    tensors, lines = {}, []
    for index, name in enumerate(names):
        path = folder.parent / name
        soundfile.write(path, np.zeros(800, np.float32), 8000)
        frames = [5 + index % 4] * windows
        tensors[f"{name}.ear"] = torch.randn(windows, 2, max(frames), 16, generator=generator).half()
        stat = path.stat()
        item = Item(str(path), stat.st_size, stat.st_mtime_ns, name, 0.3, windows, {"ear": frames})
        lines.append(json.dumps({k: v for k, v in asdict(item).items() if k != "shard"}))
    save_file(tensors, folder / "shard-00000.safetensors")
    (folder / "shard-00000.jsonl").write_text("\n".join(lines) + "\n")
    return FeatureCache(folder)


def sounds(folder: Path, count: int = 24) -> list[Sound]:
    """`count` training sounds of three classes from four sources, and as many to validate as there are classes."""
    made = [
        Sound(folder / f"{i}.wav", (LABELS[i % 3],), f"a {LABELS[i % 3]}", f"source{i % 4}", "train", True)
        for i in range(count)
    ]
    return made + [Sound(folder / f"dev{i}.wav", (LABELS[i],), LABELS[i], "held", "dev", True) for i in range(3)]


def align_stage(steps: int = 12, **changes: Any) -> StageConfig:
    values = {
        "name": "align", "kind": "align", "train": ["aligner", "tag_head"], "steps": steps, "batch_size": 4,
        "lr": {"aligner": 0.01, "tag_head": 0.01}, "warmup_steps": 2, "eval_every_steps": 5,
        "augment": asdict(AugmentConfig(join=0.3, time_mask=0.5, noise=0.1, mixup=1.0)),
    }  # fmt: skip
    return build(StageConfig, {**values, **changes}, "test")


def align_run(folder: Path, steps: int = 12, save_every_seconds: float = 1e9, seed: int = 1) -> tuple[Stage, Any]:
    """A stage on synthetic data, ready to run, and its model."""
    listed = sounds(folder)
    if not (folder / "cache").is_dir():
        write_cache(folder / "cache", [s.path.name for s in listed])
    made, stage = model(), align_stage(steps)
    generator = torch.Generator().manual_seed(3)
    states = torch.nn.functional.normalize(torch.randn(3, 32, generator=generator), dim=-1)
    captions = {f"a {c}": i for i, c in enumerate(LABELS)}
    targets = {0: Targets(torch.zeros(32), states, states, states)}
    info = {c: ClassInfo(c, c, f"a {c}", ()) for c in LABELS}
    objective = AlignObjective(
        made, stage, listed, FeatureCache(folder / "cache"), LABELS, info, targets, captions, seed
    )
    names = set_trainable(made, stage.train)
    run = folder / "run"
    run.mkdir(exist_ok=True)
    return Stage(made, names, stage, objective, run, Log(run / "log.jsonl"), seed, save_every_seconds), made
