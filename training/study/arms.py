"""What is compared: each arm changes one thing of the study's base configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alm.errors import ConfigError
from alm.presets import load_preset
from training.config import EvidenceConfig, RunConfig, StageConfig

BASE = "delayed-8"
SINGLE = "single"
FFN = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Arm:
    """One way to do it; fields that are empty stay as the base has them."""

    name: str
    part: str
    """Of the study: a to g."""
    against: str = BASE
    """The arm that it is compared with."""
    fusion: Mapping[str, Any] = field(default_factory=dict)
    aligner: Mapping[str, Any] = field(default_factory=dict)
    encoders: tuple[str, ...] = ()
    lora_targets: tuple[str, ...] = ()
    mixed: bool = False
    """Everything learns from the first step, in one stage as long as the stages of the language model together."""
    single: bool = False
    """Each question reads its recording anew, instead of several questions one reading."""
    evidence: bool = False


def _entering(name: str, scheme: str, layer: int) -> Arm:
    return Arm(name, "a", fusion={"scheme": scheme, "start_layer": layer})


ARMS = (
    _entering(BASE, "delayed", 8),
    _entering("prefix", "prefix", 0),
    _entering("keys-values-8", "keys_values", 8),
    _entering("hybrid-8", "hybrid", 8),
    _entering("cross-attention-8", "cross_attention", 8),
    _entering("delayed-4", "delayed", 4),
    _entering("delayed-12", "delayed", 12),
    _entering("delayed-16", "delayed", 16),
    _entering("delayed-24", "delayed", 24),
    Arm("whisper", "b", encoders=("whisper",)),
    Arm("aisfx", "b", encoders=("aisfx",)),
    Arm("mixed", "c", mixed=True),
    Arm("linear-16", "d", aligner={"kind": "linear"}),
    Arm("tokens-4", "d", aligner={"num_queries": 4}),
    Arm("tokens-32", "d", aligner={"num_queries": 32}),
    Arm(SINGLE, "e", single=True),
    Arm("question-aware", "e", SINGLE, aligner={"question_aware": True}, single=True),
    Arm("evidence", "f", evidence=True),
    Arm("lora-ffn", "g", lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", *FFN)),
    Arm("keys-values-0", "a", fusion={"scheme": "keys_values", "start_layer": 0}),
)
PARTS = {
    "a": "where and how audio enters",
    "b": "each encoder alone",
    "c": "curriculum or everything mixed",
    "d": "aligner and number of tokens a window",
    "e": "an aligner that knows the question",
    "f": "evidence text",
    "g": "feed-forward blocks frozen or with LoRA",
}
TOLD = EvidenceConfig(tags=0.7, asked=0.7, transcript=0.9, wrong=0.03)


def chosen(names: Sequence[str]) -> list[Arm]:
    """Arms by name, all without names.

    Raises:
        ConfigError: there is none of that name.
    """
    known = {a.name: a for a in ARMS}
    if unknown := [n for n in names if n not in known]:
        raise ConfigError(f"no arm {unknown[0]!r}; arms are {', '.join(known)}")
    return [known[n] for n in names] or list(ARMS)


def configured(base: RunConfig, arm: Arm, seed: int) -> RunConfig:
    """The base configuration with the arm's one change."""
    model = {**load_preset(base.preset).model, **base.model}
    branches = [_branch(dict(b), arm) for b in model["branches"]]
    changed: dict[str, Any] = {**base.model, "branches": branches}
    if arm.encoders:
        changed["encoders"] = {n: e for n, e in model["encoders"].items() if n in arm.encoders}
    stages = tuple(_stage(s, arm) for s in (_joined(base.stages) if arm.mixed else base.stages))
    lora = replace(base.lora, targets=arm.lora_targets) if arm.lora_targets else base.lora
    return replace(base, model=changed, stages=stages, lora=lora, seed=seed)


def _branch(branch: dict[str, Any], arm: Arm) -> dict[str, Any]:
    branch["fusion"] = {**branch["fusion"], **arm.fusion}
    branch["aligner"] = {**branch["aligner"], **arm.aligner}
    branch["encoders"] = list(arm.encoders or branch["encoders"])
    return branch


def _stage(stage: StageConfig, arm: Arm) -> StageConfig:
    if stage.kind != "language":
        return stage
    together = 1 if arm.single else stage.questions_together
    return replace(stage, questions_together=together, evidence=TOLD if arm.evidence else stage.evidence)


def _joined(stages: Sequence[StageConfig]) -> list[StageConfig]:
    """The last stage, as long as all stages of the language model; the tag head alone is trained ahead."""
    language = [s for s in stages if s.kind == "language"]
    ahead = [replace(s, train=("tag_head",)) for s in stages if s.kind == "align"]
    return [*ahead, replace(language[-1], steps=sum(s.steps for s in language))]
