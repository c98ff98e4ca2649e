"""What the evidence text of training rows is made from: tags by heads that never saw the source, Whisper's transcripts.

A tag head is nearly always right about the clips it was trained on. Evidence made by such a head would teach the
language model to trust tags blindly; evidence by heads that left the source out is worse than what the own head says of
unseen recordings, and would teach it to pass over them. So tags of training recordings come from both, weighted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from alm.aligner import Heard, pooled
from alm.asked import Scores
from alm.audio import windows
from alm.configuration import AlmConfig
from alm.errors import AlmError
from alm.evidence import Sounds, Tag
from alm.tagging import TagHead
from alm.timeline import Timeline
from alm.transcription import Transcriber
from training.atomic import whole_file, write_json
from training.config import EvidenceConfig
from training.features import FeatureCache, Features, Item, collate
from training.objective import rng_for, seed_for
from training.placing import moved
from training.sounds import Sampler, Sound, multi_hot
from training.stretches import Opener, Recording

POOL_BATCH = 128
FOLD_BATCH = 128


def fold_of(source: str, folds: int) -> int:
    """The fold of one package, or of the first one of a composed scene."""
    first = source.split("+")[0]
    return int(hashlib.sha256(first.encode()).hexdigest()[:8], 16) % folds


def pooled_features(sounds: Sequence[Sound], cache: FeatureCache) -> Tensor:
    """Pooled features of the first window of each sound: `[sounds, features]`."""
    parts = []
    for first in range(0, len(sounds), POOL_BATCH):
        items = [cache.find(s.path) for s in sounds[first : first + POOL_BATCH]]
        parts.append(pooled(collate([_first(cache.read(i)) for i in items if i is not None], cache.frame_seconds)))
    return torch.cat(parts)


def _first(features: Features) -> Features:
    return Features(
        {n: h[:1] for n, h in features.hidden.items()},
        {n: f[:1] for n, f in features.frames.items()},
        features.seconds,
        1,
    )


def train_heads(
    make: Callable[[], TagHead],
    sounds: Sequence[Sound],
    cache: FeatureCache,
    labels: Sequence[str],
    config: EvidenceConfig,
    seed: int,
    device: str = "cpu",
) -> list[TagHead]:
    """One head for each fold, trained on all other folds' sources."""
    features = pooled_features(sounds, cache).to(device)
    wanted = torch.from_numpy(multi_hot(sounds, labels)).to(device)
    heads = []
    for fold in range(config.folds):
        kept = [i for i, s in enumerate(sounds) if fold not in {fold_of(p, config.folds) for p in s.source.split("+")}]
        sampler = Sampler.of([sounds[i] for i in kept], labels)
        torch.manual_seed(seed_for(seed, "fold", fold))
        head = make().to(device).train()
        optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
        for step in range(config.fold_steps):
            drawn = sampler.draw(FOLD_BATCH, rng_for(seed, "fold", fold, step))
            index = torch.tensor([kept[i] for i in drawn], device=device)
            logits = head.classify(features[index])
            loss = F.binary_cross_entropy_with_logits(logits, wanted[index], reduction="none").sum(1).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        heads.append(head.eval())
    return heads


class Blend(nn.Module):
    """Two tag heads' logits, weighted: `weight` of the first."""

    def __init__(self, first: nn.Module, second: nn.Module, weight: float) -> None:
        super().__init__()
        self.first, self.second, self.weight = first, second, weight

    def forward(self, heard: dict[str, Heard]) -> Tensor:
        """`[windows, tags]` logits."""
        blended: Tensor = torch.lerp(self.second(heard), self.first(heard), self.weight)
        return blended


@torch.no_grad()
def opinion_of(head: nn.Module, item: Item, cache: FeatureCache, config: AlmConfig) -> tuple[Sounds, Scores]:
    """Events of a cached recording and the logits of all classes, as the assistant makes them."""
    heard = moved(collate([cache.read(item)], cache.frame_seconds), next(head.parameters()).device)
    timeline = Timeline(head, config.tag_labels or [])
    timeline.add_windows(heard, windows(item.seconds, config.window_seconds, config.overlap_seconds))
    return timeline.sounds(item.seconds), timeline.scores()


def share_named(found: Mapping[str, Sounds], sounds: Iterable[Sound]) -> float:
    """How many of the classes of these recordings their evidence names; 0 if it knows none of them."""
    named = [
        label in {t.label for t in found[str(s.path)].tags} or label in found[str(s.path)].guesses
        for s in sounds
        if str(s.path) in found
        for label in s.classes
    ]
    return sum(named) / max(1, len(named))


def save_sounds(path: Path, sounds: dict[str, Sounds]) -> None:
    """Events and guesses by recording, as JSON."""
    rows = {p: {"tags": [_rounded(t) for t in own.tags], "guesses": list(own.guesses)} for p, own in sounds.items()}
    write_json(path, rows)


def _rounded(tag: Tag) -> list[Any]:
    return [tag.label, round(tag.start, 3), round(tag.end, 3), round(tag.score, 4)]


def read_sounds(path: Path) -> dict[str, Sounds]:
    """Inverse of [`save_sounds`]."""
    rows: dict[str, dict[str, list[Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return {p: Sounds(tuple(Tag(*t) for t in own["tags"]), tuple(own["guesses"])) for p, own in rows.items()}


def save_scores(path: Path, scores: Mapping[str, Scores]) -> None:
    """Logits of all classes by recording, as one safetensors file whose header names the recordings."""
    tensors = {
        "whole": torch.stack([s.whole.half() for s in scores.values()]),
        "stretches": torch.cat([s.stretches.half() for s in scores.values()]),
        "times": torch.cat([s.times for s in scores.values()]),
        "counts": torch.tensor([len(s.times) for s in scores.values()]),
    }
    with whole_file(path) as temporary:
        save_file(tensors, temporary, {"paths": json.dumps(list(scores))})


def read_scores(path: Path) -> dict[str, Scores]:
    """Inverse of [`save_scores`]."""
    with safe_open(path, "pt") as file:
        paths: list[str] = json.loads(file.metadata()["paths"])
        whole, stretches, times, counts = (file.get_tensor(n) for n in ("whole", "stretches", "times", "counts"))
    parts = zip(paths, whole, stretches.split(counts.tolist()), times.split(counts.tolist()), strict=True)
    return {p: Scores(w, s, t) for p, w, s, t in parts}


def transcribe(
    transcriber: Transcriber, named: Iterable[Recording], file: Path, show: Callable[[int], None] = lambda n: None
) -> int:
    """Append the transcript of every recording that `file` does not hold yet; gives how many were made."""
    known, done, opener = set(read_transcripts(file)), 0, Opener()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        for one in dict.fromkeys(named):
            if str(one) in known:
                continue
            try:
                text = transcriber.transcribe(opener.open(one)).text
            except AlmError:
                continue  # the feature cache reports recordings that cannot be opened
            stream.write(json.dumps({"path": str(one), "text": text}, ensure_ascii=False) + "\n")
            stream.flush()
            done += 1
            show(done)
    return done


def read_transcripts(file: Path) -> dict[str, str]:
    """Transcripts by path; a last line cut off by a kill is passed over."""
    found: dict[str, str] = {}
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            found[row["path"]] = row["text"]
    return found


def read_texts(file: Path) -> dict[str, str]:
    """What is said in the English recordings of a list of clips or utterances, by path."""
    root = file.parent.parent if file.parent.name == "speech" else file.parent
    found: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = row.get("transcript") or row.get("text") or ""
        if text and str(row.get("language", "en")).startswith("en"):
            found[str(root / row["audio"])] = text
    return found
