"""What decides the answers of a batch, kept beside its output: a batch is continued with the same or not at all."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alm.errors import ConfigError
from alm.presets import load_preset
from serve.batch.journal import replaced

_NOT_COMPARED = frozenset({"adapter"})  # where it lies; what it is says its hash
_ADAPTER_FILES = ("alm_adapter.json", "hearing.safetensors", "adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class BatchSettings:
    """What decides the answers; a resumed batch must have the same."""

    preset: str = "tiny"
    adapter: str | None = None
    evidence: bool | None = None
    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    preset_sha256: str = ""
    adapter_sha256: str = ""
    """Of the adapter's files, wherever they lie; empty without an adapter."""
    engine: str = "transformers"
    """What decodes, `transformers` or `vllm`: one in some hundred answers may differ."""


def model_hashes(preset: str, adapter: Path | None) -> dict[str, str]:
    """The two hashes of `BatchSettings`; without a folder, of the adapter that ships with the preset.

    Raises:
        PresetError: no such preset.
        ConfigError: the adapter's folder cannot be read.
    """
    chosen = load_preset(preset)
    folder = adapter if adapter is not None else chosen.adapter
    digest = hashlib.sha256()
    for name in _ADAPTER_FILES if folder else ():
        path = Path(str(folder)) / name
        try:
            with path.open("rb") as file:
                digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            continue  # an adapter without LoRA; loading says what is really missing
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the folder of an adapter") from None
    own = hashlib.sha256((chosen.folder / "preset.json").read_bytes()).hexdigest()
    return {"preset_sha256": own, "adapter_sha256": digest.hexdigest() if folder else ""}


def manifest_path(target: Path) -> Path:
    return target.with_name(target.name + ".settings.json")


def check_settings(target: Path, settings: BatchSettings, *, fresh: bool) -> None:
    """Write the settings beside a fresh output; refuse to continue one that was begun with others.

    Raises:
        ConfigError: the settings differ.
    """
    path, now = manifest_path(target), asdict(settings)
    if fresh or not path.exists():
        with replaced(path) as temporary:
            temporary.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
        return
    before = {"engine": "transformers"} | _read_settings(path)  # older files do not name it
    differing = [key for key in now if key not in _NOT_COMPARED and before.get(key) != now[key]]
    if differing:
        changes = ", ".join(f"{key} was {_short(before.get(key))} and is {_short(now[key])}" for key in differing)
        raise ConfigError(f"{target}: begun with other settings ({changes}); use the same, or another output file")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:13]}...'"


def _read_settings(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            return value
    raise ConfigError(f"{path}: damaged; remove it if you know that the output was made with these settings")
