"""Trained adapters: a folder with what hears (aligner, tag head, tag prompts, doors of the layers) and the LoRA.

| file | content |
|---|---|
| `alm_adapter.json` | model fields it was trained with, fingerprints of the base weights, training summary |
| `hearing.safetensors` | aligners, tag head, tag prompts, fusion; float16 |
| `adapter_config.json`, `adapter_model.safetensors` | LoRA as peft writes it; float16 |
| `trained_on.txt` | the recordings it was trained on, by the first 16 hex digits of their files' SHA-256 |

Loading is all or nothing: names and shapes must match the model one to one, and the base weights must be those that the
adapter was trained on.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alm.errors import CheckpointError
from alm.loading import ADAPTER_MODEL_FIELDS
from alm.modeling import AlmForConditionalGeneration

ABOUT = "alm_adapter.json"
HEARING = "hearing.safetensors"
LORA = "adapter_model.safetensors"
LORA_CONFIG = "adapter_config.json"
TRAINED_ON = "trained_on.txt"
FORMAT = 1
NAME = "default"
"""Name of the LoRA in the model."""
_HEARING_PREFIXES = (
    "model.hearing.aligners.",
    "model.hearing.tag_head.",
    "model.hearing.tag_prompts.",
    "model.hearing.tuning.",
    "model.fusion.",
)
ADAPTER_MARKS = (".lora_", ".ia3_", ".ln_tuning_layers.")
"""Parts of names that tell peft's weights from the model's own."""
_PEFT_PREFIX = "base_model.model."
_SAMPLE = 64


def hearing_state(model: nn.Module) -> dict[str, Tensor]:
    """Weights of an adapter besides LoRA, by their names in the model; encoders that may learn as a whole are in it."""
    full = tuple(f"model.hearing.encoders.{n}." for n in _full(model))
    return {n: t for n, t in model.state_dict().items() if n.startswith(_HEARING_PREFIXES + full)}


def _full(model: nn.Module) -> list[str]:
    """Encoders whose own weights may learn."""
    return [n for n, e in model.config.encoder_configs.items() if e.tune == "full"]  # type: ignore[union-attr, operator]


def lora_state(model: nn.Module) -> dict[str, Tensor]:
    """LoRA factors by the names that peft gives them on disk; empty without LoRA."""
    return {_to_peft(n): t for n, t in model.state_dict().items() if f".{NAME}." in n and ".lora_" in n}


def _to_peft(name: str) -> str:
    return _PEFT_PREFIX + name.replace(f".{NAME}.", ".")


def fingerprints(model: AlmForConditionalGeneration) -> dict[str, str]:
    """Short hashes of the frozen parts: language model and each encoder.

    Taken over names, shapes and the first values of every tensor in bfloat16, so that they do not depend on the type
    the model was loaded in. Parts with quantised weights have none, nor do encoders that learn as a whole.
    """
    frozen = {n: e for n, e in model.model.hearing.encoders.items() if n not in _full(model)}
    parts: dict[str, nn.Module] = {f"encoder:{n}": e for n, e in frozen.items()}
    parts["language_model"] = model.model.language_model
    found = {name: _fingerprint(part) for name, part in parts.items()}
    return {name: value for name, value in found.items() if value}


def _fingerprint(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.named_parameters()):
        if any(mark in name for mark in ADAPTER_MARKS):
            continue
        if not tensor.is_floating_point():
            return ""
        plain = name.replace(".base_layer.", ".")
        values = tensor.detach().flatten()[:_SAMPLE].to("cpu", torch.bfloat16).view(torch.int16)
        digest.update(f"{plain}{tuple(tensor.shape)}".encode() + values.numpy().tobytes())
    return digest.hexdigest()[:32]


def save_adapter(model: AlmForConditionalGeneration, folder: Path, summary: Mapping[str, Any]) -> int:
    """Write the adapter of a model into a new or empty folder; gives its size in bytes.

    Args:
        summary: what the training was (data, curriculum, figures); goes into `alm_adapter.json` as it is.

    Raises:
        CheckpointError: the folder holds other files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = {ABOUT, HEARING, LORA, LORA_CONFIG, TRAINED_ON, "README.md"}
    if other := sorted(p.name for p in folder.iterdir() if p.name not in known):
        raise CheckpointError(f"{folder} holds other files ({', '.join(other[:3])}); give a new or empty folder")
    save_file(_half(hearing_state(model)), folder / HEARING)
    if lora := lora_state(model):
        save_file(_half(lora), folder / LORA)
        config = model.peft_config[NAME].to_dict()
        (folder / LORA_CONFIG).write_text(_json({k: _plain(v) for k, v in config.items()}), encoding="utf-8")
    values = {f: getattr(model.config, f) for f in ADAPTER_MODEL_FIELDS}
    about = {
        "format": FORMAT, "model": values, "base": fingerprints(model), "lora": bool(lora), "training": dict(summary)
    }  # fmt: skip
    (folder / ABOUT).write_text(_json(about), encoding="utf-8")  # last: it marks the folder as an adapter
    return sum(p.stat().st_size for p in folder.iterdir())


def _half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: t.detach().to("cpu", torch.float16).contiguous() for n, t in state.items()}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    return value if isinstance(value, str | int | float | bool | list | dict | type(None)) else str(value)


def load_adapter(model: AlmForConditionalGeneration, folder: str | Path, further_lora: bool = False) -> dict[str, Any]:
    """Put a trained adapter into a model made with its fields (`alm.load` does both); gives `alm_adapter.json`.

    Args:
        further_lora: LoRA layers that the model has and the adapter has not are left as they are.

    Raises:
        CheckpointError: files are missing or damaged; names or shapes do not match one to one; other base weights.
            Nothing was changed then.
    """
    folder = Path(folder)
    about = read_about(folder)
    _check_base(model, about, folder)
    hearing = read_weights(folder / HEARING)
    _check(folder / HEARING, hearing, hearing_state(model))
    if about["lora"]:
        lora = read_weights(folder / LORA)
        _put_lora(model, folder, lora, further_lora)
    with torch.no_grad():
        own = model.state_dict()
        for name, tensor in hearing.items():
            own[name].copy_(tensor)
    return about


def merged(model: AlmForConditionalGeneration) -> AlmForConditionalGeneration:
    """The same model with LoRA and other adapters of peft worked into the weights; all other weights are shared.

    What comes out is a plain checkpoint for `save_pretrained`. It cannot switch LoRA off for turns without audio
    (`lora_on_text_only`) any more.

    Raises:
        CheckpointError: the weights under an adapter are quantised.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    own = {n: t for n, t in model.state_dict().items() if not any(mark in n for mark in ADAPTER_MARKS)}
    state = {n.replace(".base_layer.", "."): t for n, t in own.items()}
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            state.update({f"{name}.{n}": t for n, t in _merged_weights(module, name).items()})
    with torch.device("meta"):
        plain = AlmForConditionalGeneration(model.config)
    plain.load_state_dict(state, assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    plain.eval()
    return plain


def _merged_weights(module: Any, name: str) -> dict[str, Tensor]:
    """Weights of an adapted layer with what its adapter adds; nothing where no adapter is."""
    from peft.tuners.lora import LoraLayer

    weight: Tensor = module.get_base_layer().weight
    if not weight.is_floating_point():
        raise CheckpointError(f"{name} is quantised; load the model without quantisation to merge its LoRA")
    if isinstance(module, LoraLayer) and NAME in module.lora_A and not module.lora_variant:
        return {"weight": (weight.float() + module.get_delta_weight(NAME).float()).to(weight.dtype)}
    alone = copy.deepcopy(module)
    alone.enable_adapters(True)
    alone.merge(safe_merge=True)
    return dict(alone.get_base_layer().state_dict())


def read_trained_on(adapter: Path) -> set[str]:
    """The recordings that an adapter lists as trained on, if it lists any: first hex digits of their SHA-256."""
    listed = adapter / TRAINED_ON
    return set(listed.read_text(encoding="utf-8").split()) if listed.is_file() else set()


def read_about(folder: Path) -> dict[str, Any]:
    """The adapter's description.

    Raises:
        CheckpointError: missing, damaged, or of a newer format.
    """
    path = folder / ABOUT
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form, _, _ = about["format"], about["base"]["language_model"], about["lora"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a readable adapter ({error!r}); export it again") from error
    if form != FORMAT:
        raise CheckpointError(f"{path}: format {form}; this version reads {FORMAT}. Use the version that wrote it")
    return about


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of one of an adapter's files.

    Raises:
        CheckpointError: missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); copy the adapter again, or export it again") from error


def _check_base(model: AlmForConditionalGeneration, about: Mapping[str, Any], folder: Path) -> None:
    for part, own in fingerprints(model).items():
        if (wanted := about["base"].get(part)) != own:
            raise CheckpointError(
                f"{folder} was trained on another {part} (fingerprint {wanted}, the model's is {own}); "
                "load it with the preset it was made for"
            )


def _check(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    problems = [f"missing {n}" for n in _some(wanted.keys() - found.keys())]
    problems += [f"unexpected {n}" for n in _some(found.keys() - wanted.keys())]
    both = sorted(found.keys() & wanted.keys())
    problems += [
        f"{n} is {tuple(found[n].shape)}, not {tuple(wanted[n].shape)}"
        for n in both
        if found[n].shape != wanted[n].shape
    ][:5]
    problems += [f"{n} holds NaN or infinity" for n in both if not bool(torch.isfinite(found[n]).all())][:5]
    if problems:
        raise CheckpointError(f"{path} does not fit the model: {'; '.join(problems)}. Use the preset it was made for")


def _some(names: Iterable[str]) -> list[str]:
    ordered = sorted(names)
    return ordered[:5] + ([f"and {len(ordered) - 5} more"] if len(ordered) > 5 else [])


def _put_lora(model: AlmForConditionalGeneration, folder: Path, lora: dict[str, Tensor], further: bool) -> None:
    """Add LoRA layers as `adapter_config.json` says and fill them; a model that has some keeps its own layers."""
    added = not getattr(model, "_hf_peft_config_loaded", False)
    if added:
        frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
        model.add_adapter(_lora_config(folder / LORA_CONFIG), adapter_name=NAME)
        model.train(model.training)  # new layers come with their dropout on
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in frozen and ".lora_" not in name and parameter.requires_grad)
    try:
        wanted = lora_state(model)
        _check(folder / LORA, lora, {n: t for n, t in wanted.items() if not further or n in lora})
    except CheckpointError:
        if added:
            _take_off_lora(model)
        raise
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in own.items():
            if f".{NAME}." in name and ".lora_" in name and _to_peft(name) in lora:
                tensor.copy_(lora[_to_peft(name)])


def _take_off_lora(model: AlmForConditionalGeneration) -> None:
    """The model as it was before its LoRA layers were added."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    del model.peft_config
    model._hf_peft_config_loaded = False


def _lora_config(path: Path) -> Any:
    from peft import LoraConfig

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("peft_type") != "LORA":
            raise CheckpointError(f"{path}: peft_type is {values.get('peft_type')!r}; only LORA is read")
        return LoraConfig.from_peft_type(**values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: not a readable LoRA configuration ({error!r}); export it again") from error
