"""`alm.load`: a preset, its weights and its adapter, ready to talk."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alm.errors import CheckpointError, PresetError

if TYPE_CHECKING:
    import torch

    from alm.assistant import Assistant
    from alm.presets import Preset

OWN_WEIGHTS = "own"
"""What a preset says whose weights the user brings."""

ADAPTER_MODEL_FIELDS = (
    "encoders", "branches", "early_audio", "window_seconds", "overlap_seconds", "max_audio_seconds", "tag_labels",
    "tag_hidden", "tag_words", "tell_likeliest", "lora_on_text_only",
)  # fmt: skip
"""Fields of the model's configuration that an adapter keeps."""
_PRESETS_OWN = ("encoders", "max_audio_seconds")
"""Those of them that it does not fix whole: the weights' own configurations, and how much may be heard."""


def load(
    preset: str = "tiny",
    *,
    adapter: str | Path | Literal[False] | None = None,
    evidence: bool | None = None,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    parts: Mapping[str, str | Path] | None = None,
) -> Assistant:
    """A ready assistant.

    Args:
        preset: a name of `alm.presets.names()`.
        adapter: folder of a trained adapter instead of the one that ships with the preset; False for none, to compare
            with: shaped as with the preset's own, but the parts that listen have random weights.
        evidence: whether event tags and transcript are given to the language model as text; the preset decides if None.
        parts: for presets that come without weights: `language_model` (a transformers folder or hub id), each encoder
            by its name in the preset (whatever `alm.encoders.open_encoder` opens) and, if speech is to be written
            down, `transcriber` (a folder with Whisper in CTranslate2's format).

    Raises:
        PresetError, WeightsError, CheckpointError: what was asked for is unknown, missing or damaged.
    """
    import torch

    from alm.adapters import load_adapter
    from alm.assistant import Assistant
    from alm.building import build_config, build_model, build_processor, load_tokenizer
    from alm.hearing import Ears
    from alm.presets import load_preset
    from alm.transcription import Transcriber

    chosen = load_preset(preset)
    shape = Path(adapter) if adapter else chosen.adapter
    folder = None if adapter is False else shape
    changes = adapter_fields(shape) if shape else {}
    base = _base(chosen, parts)
    tokenizer = load_tokenizer(base.llm)
    config = build_config(chosen, base.llm, tokenizer, base.encoders, changes)
    with quiet_libraries():
        model = build_model(config, base.llm, base.encoders, device, dtype or torch.float32)
        if folder:
            load_adapter(model, folder)
    processor = build_processor(config, tokenizer, chosen.audio_token)
    ears = Ears(model, processor, Transcriber(base.transcriber) if base.transcriber else None)
    return Assistant(model.eval(), processor, ears, chosen, chosen.evidence if evidence is None else evidence, folder)


@dataclass(frozen=True)
class _Base:
    """Where the frozen parts are."""

    llm: str | Path
    encoders: dict[str, str | Path]
    transcriber: Path | None


def _base(preset: Preset, parts: Mapping[str, str | Path] | None) -> _Base:
    """The preset's own weights, or those that the user gave."""
    from alm import weights

    if preset.weights != OWN_WEIGHTS:
        if parts:
            raise PresetError(f"preset {preset.name!r} has weights of its own; leave parts out")
        found = weights.ensure(preset.weights)
        return _Base(found.llm, {"whisper": found.whisper, "aisfx": found.aisfx}, found.transcriber)
    given, names = dict(parts or {}), list(preset.model["encoders"])
    transcriber = given.pop("transcriber", None)
    if given.keys() != {"language_model", *names}:
        raise PresetError(
            f"preset {preset.name!r} comes without weights and takes the parts language_model, {', '.join(names)} and "
            f"perhaps transcriber; given are {', '.join(sorted(given)) or 'none'}. Pass parts={{name: folder or id}}"
        )
    return _Base(given.pop("language_model"), given, Path(transcriber) if transcriber else None)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No progress bar for a load of two seconds, and no word from bitsandbytes about kernels that nobody asked for."""
    from transformers.utils import logging as transformers_logging

    chatty, bars = logging.getLogger("bitsandbytes"), transformers_logging.is_progress_bar_enabled()
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        chatty.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()


def adapter_fields(folder: Path) -> dict[str, Any]:
    """The configuration fields that an adapter was trained with.

    Raises:
        CheckpointError: the folder has no readable `alm_adapter.json`.
    """
    path = folder / "alm_adapter.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["model"]
        fixed = set(ADAPTER_MODEL_FIELDS) - set(_PRESETS_OWN)
        encoders = {n: {k: v for k, v in e.items() if k != "config"} for n, e in stored["encoders"].items()}
        return {"encoders": encoders, **{k: v for k, v in stored.items() if k in fixed}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: no readable adapter ({type(error).__name__}); give a folder that the training's export wrote"
        ) from error
