"""What may be trained, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from alm.adapters import ADAPTER_MARKS
from alm.errors import ConfigError
from alm.modeling import AlmForConditionalGeneration
from training.config import GROUPS, EncoderAdapters, LoraSettings, StageConfig

ENCODER_ADAPTER = "encoder"
"""Name of the encoders' adapters; the language model's has another, so that one can be told from the other."""

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
    if any(mark in name for mark in ADAPTER_MARKS):
        return "encoder_adapter" if name.startswith(_PREFIXES[0][1]) else "lora"
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
            use_dora=settings.dora,
            target_modules=rf"model\.language_model\.layers\.({numbers})\..*\.({names})",
        )
    )
    model.train(model.training)  # new layers come with their dropout on
    model.requires_grad_(False)


def add_encoder_adapters(model: AlmForConditionalGeneration, settings: EncoderAdapters) -> None:
    """Put small weights into encoders; they start as the identity.

    Raises:
        ConfigError: the model has no such encoder, or the encoder no such layers.
    """
    if settings.method == "none":
        return
    from peft import inject_adapter_in_model

    encoders = model.model.hearing.encoders
    for name in settings.encoders:
        if name not in encoders:
            raise ConfigError(f"encoder_adapters: no encoder {name!r}; the model has {', '.join(encoders)}")
        wanted = _adapted_layers(encoders[name], settings)
        if not wanted:
            named = "normalising layers" if settings.method == "norms" else f"layers {', '.join(settings.targets)}"
            raise ConfigError(f"encoder_adapters: encoder {name} has no {named}; name others in `targets`")
        inject_adapter_in_model(_adapter_config(settings, wanted), encoders[name], adapter_name=ENCODER_ADAPTER)
    model.train(model.training)
    model.requires_grad_(False)


def _adapted_layers(encoder: nn.Module, settings: EncoderAdapters) -> list[str]:
    if settings.method == "norms":
        return [n for n, m in encoder.named_modules() if isinstance(m, nn.LayerNorm)]
    return [n for n, _ in encoder.named_modules() if n.rpartition(".")[2] in settings.targets]


def _adapter_config(settings: EncoderAdapters, wanted: list[str]) -> Any:
    from peft import IA3Config, LNTuningConfig, LoraConfig

    if settings.method == "norms":
        return LNTuningConfig(target_modules=wanted)
    if settings.method == "ia3":
        return IA3Config(target_modules=wanted, feedforward_modules=[])
    return LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, target_modules=wanted, use_dora=settings.method == "dora"
    )


def switch_lora(model: AlmForConditionalGeneration, on: bool) -> None:
    """The language model's LoRA on or off; adapters of encoders stay as they are."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.model.language_model.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(on)


def trainable(model: nn.Module, groups: Iterable[str]) -> dict[str, nn.Parameter]:
    """Parameters of these groups by name, in a fixed order.

    Where an encoder's `tune` says how it learns, `encoder` is what that leaves to learn, and nothing of the others.
    """
    chosen, tuned = set(groups), _tuned(model)
    return {
        n: p
        for n, p in model.named_parameters()
        if (group := group_of(n)) in chosen and (group != "encoder" or tuned is None or n in tuned)
    }


def _tuned(model: nn.Module) -> set[str] | None:
    """Names of what `tune` lets learn of the encoders; None where all of them are `frozen`, and a stage decides."""
    hearing: Any = model.get_submodule("model.hearing")
    if all(e.tune == "frozen" for e in hearing.settings.values()):
        return None
    return {f"model.hearing.{n}" for n in hearing.learning()}


def set_trainable(model: AlmForConditionalGeneration, groups: Iterable[str]) -> dict[str, nn.Parameter]:
    """Let only these groups learn; modules without anything to learn are set to evaluation (no dropout)."""
    chosen = trainable(model, groups)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)
    model.eval()
    for module in model.modules():
        if module is not model and _learns_all(module):
            module.train()
        elif any(p.requires_grad for n, p in module.named_parameters() if n.startswith(("lora_", "ia3_"))):
            module.training = True
            if hasattr(module, "lora_dropout"):
                module.get_submodule("lora_dropout").train()  # peft keeps it beside the factors
    return chosen


def _learns_all(module: nn.Module) -> bool:
    """Whether a module has weights and all of them learn, so that its dropouts are on, too."""
    parameters = list(module.parameters())
    return bool(parameters) and all(p.requires_grad for p in parameters)


def narrow_frozen(model: AlmForConditionalGeneration) -> None:
    """Keep the language model's frozen matrices in bfloat16: what autocast would make of them at every step anyway.

    LoRA factors stay in float32 even where they are frozen: a later stage may train them, and small updates are lost in
    bfloat16. So does a head that is the embedding as well, for what is looked up in it is no product.
    """
    tied = model.lm_head.weight is model.get_input_embeddings().weight
    head = [] if tied else [("lm_head", model.lm_head)]
    for name, module in [*model.model.language_model.named_modules(), *head]:
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
