"""What may be trained, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from alm.modeling import AlmForConditionalGeneration
from training.config import GROUPS, LoraSettings, StageConfig

_PREFIXES = (
    ("encoder", "model.hearing.encoders."),
    ("encoder", "model.hearing.tuning."),
    ("aligner", "model.hearing.aligners."),
    ("tag_head", "model.hearing.tag_head."),
    ("tag_prompts", "model.hearing.tag_prompts."),
    ("entry", "model.fusion."),
)


def group_of(name: str) -> str:
    """The group of a parameter of [`AlmForConditionalGeneration`]."""
    if ".lora_" in name:
        return "lora"
    return next((group for group, prefix in _PREFIXES if name.startswith(prefix)), "llm")


def add_lora(model: AlmForConditionalGeneration, settings: LoraSettings) -> None:
    """Put LoRA on the language model's layers (by default those that meet the audio); it starts as the identity."""
    from peft import LoraConfig

    layers = model.config.text_config.num_hidden_layers  # type: ignore[union-attr]
    starts = [b.fusion.start_layer for b in model.config.branch_configs]
    first = min(starts, default=0) if settings.from_start_layer else 0
    numbers = "|".join(str(i) for i in range(first, layers))
    names = "|".join(settings.targets)
    model.add_adapter(
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=rf"model\.language_model\.layers\.({numbers})\..*\.({names})",
        )
    )
    model.train(model.training)  # new layers come with their dropout on
    model.requires_grad_(False)


def trainable(model: nn.Module, groups: Iterable[str]) -> dict[str, nn.Parameter]:
    """Parameters of these groups by name, in a fixed order."""
    chosen = set(groups)
    return {n: p for n, p in model.named_parameters() if group_of(n) in chosen}


def set_trainable(model: AlmForConditionalGeneration, groups: Iterable[str]) -> dict[str, nn.Parameter]:
    """Let only these groups learn; modules without anything to learn are set to evaluation (no dropout)."""
    chosen = trainable(model, groups)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)
    model.eval()
    for module in model.modules():
        if module is not model and _learns_all(module):
            module.train()
        elif any(p.requires_grad for n, p in module.named_parameters() if n.startswith("lora_")):
            module.training = True
            module.get_submodule("lora_dropout").train()  # peft keeps it beside the factors
    return chosen


def _learns_all(module: nn.Module) -> bool:
    """Whether a module has weights and all of them learn, so that its dropouts are on, too."""
    parameters = list(module.parameters())
    return bool(parameters) and all(p.requires_grad for p in parameters)


def narrow_frozen(model: AlmForConditionalGeneration) -> None:
    """Keep the language model's frozen matrices in bfloat16: what autocast would make of them at every step anyway.

    LoRA factors stay in float32 even where they are frozen: a later stage may train them, and small updates are lost in
    bfloat16.
    """
    for name, module in model.model.language_model.named_modules():
        if not isinstance(module, nn.Linear) or group_of(name) == "lora":
            continue
        if not module.weight.requires_grad and module.weight.dtype == torch.float32:
            module.weight.data = module.weight.data.to(torch.bfloat16)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode everywhere, and afterwards each module's own mode again."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def learned_state(model: nn.Module) -> dict[str, Tensor]:
    """Everything that any stage may have trained, but the language model's and the encoders' own weights."""
    return {n: p.detach() for n, p in model.named_parameters() if group_of(n) not in ("llm", "encoder")}


def load_learned(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Inverse of [`learned_state`] (plus whatever other groups were saved); names must exist."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)


def optimizer_groups(parameters: dict[str, nn.Parameter], stage: StageConfig) -> Iterator[dict[str, object]]:
    """One group for each trained name and for weight decay on matrices or not."""
    for group in GROUPS:
        for matrices in (True, False):
            own = [p for n, p in parameters.items() if group_of(n) == group and (p.ndim > 1) == matrices]
            if own:
                decay = stage.weight_decay if matrices and group != "entry" else 0.0
                yield {
                    "params": own,
                    "lr": stage.lr[group],
                    "peak": stage.lr[group],
                    "weight_decay": decay,
                    "name": group,
                }
