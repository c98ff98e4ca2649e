"""What scenes shall be like: a `ScenePlan`, from a YAML file or one of the plans that come with the project."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

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
    """Reverberation time (RT60) that a room is made for; longer where its size asks for it."""
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

    def _check(self, name: str, good: bool, rule: str) -> None:
        if not good:
            raise CorpusError(f"scene plan: '{name}' is {str(getattr(self, name))[:80]!r}; it must be {rule}")

    def _check_number(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        self._check(name, _is_number(value) and low <= value <= high, f"a number from {low:g} to {high:g}")

    def _check_range(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        good = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
        rule = f"two numbers from {low:g} to {high:g}, the smaller first"
        self._check(name, good and low <= value[0] <= value[1] <= high, rule)

    def _check_names(self) -> None:
        self._check(
            "scenes",
            _is_mapping(self.scenes, SPLITS) and all(isinstance(n, int) and n >= 0 for n in self.scenes.values()),
            f"a number of scenes for some of {', '.join(SPLITS)}",
        )
        self._check(
            "kinds",
            _is_mapping(self.kinds, KINDS)
            and all(_is_number(w) and w >= 0 for w in self.kinds.values())
            and sum(self.kinds.values()) > 0,
            f"weights for some of {', '.join(KINDS)}, not negative, one of them above 0",
        )
        some = bool(self.codecs) or not self.codec_chance
        self._check("codecs", _are_texts(self.codecs, CODECS) and some, f"some of {', '.join(CODECS)}")
        self._check("leave_out", _are_texts(self.leave_out), "a list of labels")
        self._check("layout", _are_texts((self.layout,), tuple(LAYOUTS)), f"one of {', '.join(LAYOUTS)}")
        self._check("only_complete", isinstance(self.only_complete, bool), "true or false")
        self._check("events", all(isinstance(n, int) for n in self.events), "two whole numbers")
        for name in ("rate_hz", "clips_per_label"):
            self._check(name, isinstance(getattr(self, name), int), "a whole number")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_mapping(value: object, names: tuple[str, ...]) -> bool:
    return isinstance(value, Mapping) and bool(value) and set(value) <= set(names)


def _are_texts(value: object, among: tuple[str, ...] = ()) -> bool:
    """Whether it is a tuple of texts, of `among` if there are any."""
    texts = isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    return texts and (not among or set(value) <= set(among))  # type: ignore[call-overload]


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
