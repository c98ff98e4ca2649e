"""Presets whose weights the user brings: their shapes hold together, and what is missing is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_model
import torch

import alm
from alm import encoders, presets, weights
from alm.configuration import AlmConfig
from alm.errors import PresetError
from alm.modeling import AudioHearing

OWN = [name for name in presets.names() if presets.load_preset(name).weights == "own"]


@pytest.mark.parametrize("name", OWN)
def test_their_shapes_hold_together(name: str) -> None:
    model = dict(presets.load_preset(name).model)
    if missing := sorted({e["family"] for e in model["encoders"].values()} - set(encoders.names())):
        pytest.skip(f"no family {', '.join(missing)} yet")
    made = {}
    for key, settings in model.pop("encoders").items():
        sizes = encoders.family(settings["family"]).sizes
        size = next(iter(sizes.values()))
        made[key] = {**settings, "config": {**size, **settings.get("config", {})}}
    text = {**tiny_model.config().text_config.to_dict(), "num_hidden_layers": 16, "hidden_size": 64}
    config = AlmConfig(text_config=text, encoders=made, **model)
    with torch.device("meta"):
        hearing = AudioHearing(config)
    shortest = min(encoders.front_end(e.family, e.config).max_seconds for e in config.encoder_configs.values())
    assert config.window_seconds <= shortest and config.windows_left(10**6) * config.tokens_per_window <= 4096
    assert len(hearing.aligners) == len(config.branch_configs)


def test_there_are_such_presets() -> None:
    assert {"salmonn-like", "pal-like", "gama-like"} <= set(OWN)


@pytest.mark.parametrize("parts", [None, {"language_model": "x"}, {"language_model": "x", "whisper": "y", "dog": "z"}])
def test_missing_and_unknown_parts_are_named(parts: dict[str, str] | None) -> None:
    with pytest.raises(PresetError, match="language_model, whisper, beats"):
        alm.load("salmonn-like", parts=parts)
    with pytest.raises(PresetError, match="has weights of its own"):
        alm.load("tiny", parts={"language_model": "x"})


@pytest.mark.weights
def test_parts_that_the_user_brings_make_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    found, tiny = weights.ensure("tiny"), presets.load_preset("tiny")
    monkeypatch.setattr(presets, "load_preset", lambda name: replace(tiny, weights="own"))
    parts: dict[str, str | Path] = {"language_model": found.llm, "whisper": str(found.whisper), "aisfx": found.aisfx}
    mine = alm.load("tiny", parts=parts, adapter=False)
    assert mine.ears.transcriber is None
    linear = mine.model.model.hearing.encoders["whisper"].state_dict()
    plain = encoders.load("whisper", found.whisper).state_dict()
    assert all(torch.equal(linear[k], plain[k]) for k in plain)


def test_tiny_first_is_tiny_but_for_its_adapter() -> None:
    first, tiny = presets.load_preset("tiny-first"), presets.load_preset("tiny")
    assert replace(first, name=tiny.name, description=tiny.description) == tiny
    assert first.adapter is not None and first.adapter != tiny.adapter


def test_an_adapter_is_named_by_its_folder_or_by_its_preset(tmp_path: Path) -> None:
    assert presets.adapter_folder(str(tmp_path)) == tmp_path
    assert presets.adapter_folder("tiny-first") == presets.load_preset("tiny-first").adapter
    for nothing in (OWN[0], "tiny-firstly", str(tmp_path / "gone")):
        with pytest.raises(PresetError, match=f"{nothing} is no folder of an adapter.*tiny, tiny-first"):
            presets.adapter_folder(nothing)


def test_adapters_that_ship_are_small() -> None:
    """The repository carries them, and an installation brings them along."""
    sizes = {}
    for name in presets.names():
        if (adapter := presets.load_preset(name).adapter) is not None:
            sizes[name] = sum(f.stat().st_size for f in adapter.iterdir()) / 2**20
    assert sizes.keys() == {"tiny", "tiny-first"} and max(sizes.values()) <= 40, sizes
