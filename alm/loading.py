"""`alm.load`: a preset, its weights and its adapter, ready to talk."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alm.errors import CheckpointError, PresetError
from alm.presets import OWN_WEIGHTS

if TYPE_CHECKING:
    import torch

    from alm.assistant import Assistant
    from alm.presets import Preset

ADAPTER_MODEL_FIELDS = (
    "encoders", "branches", "early_audio", "window_seconds", "overlap_seconds", "max_audio_seconds", "tag_labels",
    "tag_hidden", "tag_words", "tell_likeliest", "lora_on_text_only",
)  # fmt: skip
"""Fields of the model's configuration that an adapter keeps."""
_PRESETS_OWN = ("max_audio_seconds",)
"""Those of them that the preset decides all the same: how much may be heard."""
SHIPPED = ("whisper", "aisfx")
"""Encoders whose weights come with the set `tiny`, by their names in its presets."""


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
        preset: a name of `alm.presets.names()`, or the path of a `preset.json` of your own or of its folder.
        adapter: folder of a trained adapter instead of the one that ships with the preset; False for none, to compare
            with: shaped as with the preset's own, but the parts that listen have random weights.
        evidence: whether event tags and transcript are given to the language model as text; the preset decides if None.
        parts: for presets that come without weights: `language_model` (a transformers folder or hub id), each encoder
            by its name (whatever `alm.encoders.open_encoder` opens) and, if speech is to be written down,
            `transcriber` (a folder with Whisper in CTranslate2's format). With another adapter, those encoders that it
            was trained with and the preset has no weights of.

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
    base = _base(chosen, changes.get("encoders", chosen.model["encoders"]), parts)
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


def _base(preset: Preset, needed: Collection[str], parts: Mapping[str, str | Path] | None) -> _Base:
    """The preset's own weights and those that the user gave, for the encoders that are needed."""
    from alm import weights

    given = dict(parts or {})
    if preset.weights == OWN_WEIGHTS:
        transcriber = given.pop("transcriber", None)
        _check_all_given(preset.name, given, needed)
        return _Base(given.pop("language_model"), given, Path(transcriber) if transcriber else None)
    _check_rest_given(preset.name, given, needed)
    found = weights.ensure(preset.weights)
    shipped = {"whisper": found.whisper, "aisfx": found.aisfx}
    return _Base(found.llm, {**shipped, **given}, found.transcriber)


def _check_all_given(preset: str, given: Collection[str], needed: Collection[str]) -> None:
    """Of a preset without weights."""
    if set(given) != {"language_model", *needed}:
        raise PresetError(
            f"preset {preset!r} comes without weights and takes the parts language_model, {', '.join(needed)} and "
            f"perhaps transcriber; given are {', '.join(sorted(given)) or 'none'}. Pass parts={{name: folder or id}}, "
            "on the command line --part NAME=PATH for each"
        )


def _check_rest_given(preset: str, given: Collection[str], needed: Collection[str]) -> None:
    """Of a preset that has weights, for the encoders of an adapter that has others."""
    if missing := [name for name in needed if name not in (*SHIPPED, *given)]:
        raise PresetError(
            f"preset {preset!r} has no weights of {', '.join(missing)}, with which the adapter was trained (or which "
            f"the preset names); pass parts={{{missing[0]!r}: checkpoint}}, on the command line "
            f"--part {missing[0]}=PATH, for each of them"
        )
    if unknown := sorted(set(given) - set(needed)):
        raise PresetError(
            f"preset {preset!r} has weights of its own and takes no part {', '.join(unknown)}; leave it out. Parts may "
            f"be the encoders that the adapter was trained with: {', '.join(needed)}"
        )


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
        encoders = {n: dict(e) for n, e in stored["encoders"].items()}
        return {**{k: v for k, v in stored.items() if k in fixed}, "encoders": encoders}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: no readable adapter ({type(error).__name__}); give a folder that the training's export wrote"
        ) from error
