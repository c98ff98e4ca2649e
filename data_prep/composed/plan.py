"""What scenes shall be like: a `ScenePlan`, from a YAML file or one of the plans that come with the project."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from data_prep.corpus import MANIFEST_DIR
from data_prep.errors import CorpusError
from data_prep.records import SPLITS

PLANS_DIR = MANIFEST_DIR / "scenes"
KINDS = ("sequence", "overlap", "repetition", "timeline", "needle")
LAYOUTS = {"mono": 1, "stereo": 2, "foa": 4, "mic": 4}
"""Channels of a scene: crossed cardioids; first-order ambisonics (W, Y, Z, X); four microphones around a point."""
CODECS = ("mp3", "vorbis", "opus", "opus-speech", "telephone", "gsm")
ONE_CHANNEL_CODECS = ("telephone", "gsm")
MOST_EVENTS = 10
LEAST_SECONDS, MOST_SECONDS = 5.0, 3600.0
MOST_EVENT_SECONDS = 30.0
MOST_DECAY_SECONDS = 0.5
"""Longer reverberation needs more reflections than can be reckoned in a second."""
Range = tuple[float, float]


@dataclass(frozen=True)
class ScenePlan:
    """How many scenes, and what they are like; making one checks it. A range is drawn from evenly."""

    scenes: Mapping[str, int] = field(default_factory=lambda: {"train": 1000, "dev": 100, "test": 200})
    """Number of scenes by split."""
    kinds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))
    """How often each kind is made, in relation to the others."""
    seconds: Range = (5.0, 30.0)
    """Length of a scene; drawn evenly in octaves."""
    events: tuple[int, int] = (2, 6)
    """Number of events, the background not counted."""
    event_seconds: Range = (0.2, 5.0)
    gap_seconds: float = 0.25
    """Least silence between events that do not overlap."""
    level_db: Range = (-32.0, -16.0)
    """RMS of the events below full scale; with a room, at one metre."""
    spread_db: float = 4.0
    """By how much an event may be louder or softer than that."""
    background_chance: float = 0.3
    snr_db: Range = (0.0, 20.0)
    """Events, on the average, over the background."""
    noise_chance: float = 0.2
    noise_snr_db: Range = (15.0, 40.0)
    """Events, on the average, over the noise of a recorder."""
    room_chance: float = 0.3
    decay_seconds: Range = (0.15, 0.45)
    """Reverberation time (RT60) that a room is made for."""
    distance_metres: Range = (0.5, 4.0)
    codec_chance: float = 0.2
    codecs: tuple[str, ...] = CODECS
    layout: str = "mono"
    rate_hz: int = 44_100
    only_complete: bool = False
    """Take clips only of samples that say they name all that is heard; else one label is taken to be all."""
    leave_out: tuple[str, ...] = ("synthetic effect",)
    """Labels that say too little to be asked for; those that begin with `other`, `unknown` and the like always are."""
    clips_per_label: int = 200
    """At most so many clips of a label are drawn from, so that memory does not grow with the source."""

    def __post_init__(self) -> None:
        limits: dict[str, Range] = {
            "seconds": (LEAST_SECONDS, MOST_SECONDS), "events": (1, MOST_EVENTS), "level_db": (-60.0, -6.0),
            "event_seconds": (0.05, MOST_EVENT_SECONDS), "snr_db": (-20.0, 60.0), "noise_snr_db": (-20.0, 90.0),
            "decay_seconds": (0.05, MOST_DECAY_SECONDS), "distance_metres": (0.3, 6.0),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            self._check_range(name, low, high)
        for name in ("background_chance", "noise_chance", "room_chance", "codec_chance"):
            self._check_number(name, 0.0, 1.0)
        self._check_number("gap_seconds", 0.0, 10.0)
        self._check_number("spread_db", 0.0, 20.0)
        self._check_number("rate_hz", 8000, 48_000)
        self._check_number("clips_per_label", 1, 100_000)
        self._check_names()

    def _fault(self, name: str, rule: str) -> CorpusError:
        return CorpusError(f"scene plan: '{name}' is {str(getattr(self, name))[:80]}; it must be {rule}")

    def _check_number(self, name: str, low: float, high: float) -> None:
        if not _is_number(getattr(self, name)) or not low <= getattr(self, name) <= high:
            raise self._fault(name, f"a number from {low:g} to {high:g}")

    def _check_range(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        rule = f"two numbers from {low:g} to {high:g}, the smaller first"
        if not isinstance(value, tuple) or len(value) != 2 or not all(map(_is_number, value)):
            raise self._fault(name, rule)
        if not low <= value[0] <= value[1] <= high:
            raise self._fault(name, rule)

    def _check_names(self) -> None:
        if not set(self.scenes) <= set(SPLITS) or not all(isinstance(n, int) and n >= 0 for n in self.scenes.values()):
            raise self._fault("scenes", f"a number of scenes for some of {', '.join(SPLITS)}")
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise self._fault("kinds", f"weights for some of {', '.join(KINDS)}")
        if not all(_is_number(w) and w >= 0 for w in self.kinds.values()) or sum(self.kinds.values()) <= 0:
            raise self._fault("kinds", "weights that are not negative, one of them above 0")
        if not set(self.codecs) <= set(CODECS) or (self.codec_chance and not self.codecs):
            raise self._fault("codecs", f"some of {', '.join(CODECS)}")
        if not isinstance(self.leave_out, tuple) or not all(isinstance(label, str) for label in self.leave_out):
            raise self._fault("leave_out", "a list of labels")
        if self.layout not in LAYOUTS:
            raise self._fault("layout", f"one of {', '.join(LAYOUTS)}")
        if not isinstance(self.rate_hz, int) or not all(isinstance(n, int) for n in self.events):
            raise self._fault("events", "whole numbers, as 'rate_hz' must be")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def plan_from_mapping(values: Any, where: str) -> ScenePlan:
    """The plan of a parsed YAML file.

    Raises:
        CorpusError: a field is unknown or has a value that it may not have; `where` is named.
    """
    fields = {item.name for item in dataclasses.fields(ScenePlan)}
    if not isinstance(values, dict) or not set(values) <= fields:
        unknown = sorted(map(str, set(values) - fields)) if isinstance(values, dict) else type(values).__name__
        raise CorpusError(f"{where}: has {unknown}; a scene plan may have {', '.join(sorted(fields))}")
    try:
        made: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return ScenePlan(**made)
    except (CorpusError, TypeError) as fault:
        raise CorpusError(f"{where}: {fault}") from fault


def plan_names() -> list[str]:
    """Plans that come with the project."""
    return sorted(path.stem for path in PLANS_DIR.glob("*.yaml"))


def load_plan(name: str) -> ScenePlan:
    """A plan by its name, or from a YAML file.

    Raises:
        CorpusError: there is no such plan, or it is not one.
    """
    path = PLANS_DIR / f"{name}.yaml" if name in plan_names() else Path(name)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as fault:
        known = ", ".join(plan_names())
        raise CorpusError(f"{path}: cannot read a scene plan ({fault}); name a YAML file or one of {known}") from fault
    return plan_from_mapping(values or {}, str(path))
