"""The models that the page offers: named by the operator, each loaded on its first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alm.errors import ConfigError
from alm.loading import adapter_fields
from alm.presets import load_preset
from alm.terminal import printable

if TYPE_CHECKING:
    from alm.assistant import Assistant
    from serve.engines.jobs import Engine


@dataclass(frozen=True)
class Offer:
    """A model that people may choose, as far as it is known before it is loaded."""

    name: str
    """As people see it, and as turns and files keep it: of the adapter's folder only the last name."""
    preset: str
    adapter: Path | None
    scheme: str
    """How audio enters the language model."""
    context_tokens: int

    @classmethod
    def of(cls, preset: str, adapter: Path | None = None) -> Offer:
        """A preset with its own adapter, or another.

        Raises:
            PresetError, CheckpointError: there is no such preset, or no adapter in the folder.
        """
        chosen = load_preset(preset)
        folder = adapter or chosen.adapter
        branches = (adapter_fields(folder) if folder else {}).get("branches") or chosen.model.get("branches", [])
        schemes = {str(b.get("fusion", {}).get("scheme", "delayed")) for b in branches}
        shown = printable(chosen.name, keep="")
        name = f"{shown}:{printable(adapter.resolve().name, keep='')}" if adapter else shown
        return cls(name, preset, folder, ", ".join(sorted(schemes)) or "unknown", chosen.context_tokens)

    @classmethod
    def parse(cls, text: str) -> Offer:
        """Of `PRESET` or `PRESET:ADAPTER_FOLDER`. Raises: as [`of`]."""
        preset, colon, folder = text.partition(":")
        return cls.of(preset, Path(folder).expanduser() if colon else None)

    @property
    def label(self) -> str:
        return f"{self.name} \u00b7 {self.scheme}"


@dataclass(frozen=True)
class Served:
    """A model that is loaded, and what decodes with it."""

    assistant: Assistant
    engine: Engine


class Models:
    """What is offered; threads may ask for any of it.

    Args:
        offers: the first one is loaded at once, each other one when somebody asks for it.
        start: loads one.

    Raises:
        ConfigError: two offers have the same name.
    """

    def __init__(self, offers: Sequence[Offer], start: Callable[[Offer], Served]) -> None:
        self.offers = {offer.name: offer for offer in offers}
        if len(self.offers) < len(offers):
            raise ConfigError(
                f"two of the models offered have the same name ({', '.join(o.name for o in offers)}); "
                "rename the folder of one of the adapters"
            )
        self.first = offers[0]
        self._start = start
        self._served: dict[str, Served] = {}
        self._lock = threading.Lock()
        self.get(self.first.name)

    def is_loaded(self, name: str) -> bool:
        return name in self._served

    def get(self, name: str) -> Served:
        """A model by its name; it is loaded if nobody asked for it before.

        Raises:
            ConfigError: it is not offered.
            AlmError: it cannot be loaded.
        """
        if (found := self._served.get(name)) is not None:
            return found
        if name not in self.offers:
            raise ConfigError(f"no model {printable(name[:100])} is offered here; there are {', '.join(self.offers)}")
        with self._lock:
            if name not in self._served:
                self._served[name] = self._start(self.offers[name])
            return self._served[name]

    def close(self) -> None:
        """End the engines."""
        with self._lock:
            for served in self._served.values():
                served.engine.close()
            self._served.clear()
