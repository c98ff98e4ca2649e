"""Composed scenes with known events: variants, sequences, repetitions, mixtures, backgrounds, silence and noise.

A scene is a pure function of (seed, split, kind, index, pool); its clips all come from one split.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.random import Generator

from data_prep import signal, store
from data_prep.corpus import StoredClip
from data_prep.errors import CorpusError
from data_prep.ontology import MUSIC_GROUPS, Ontology
from data_prep.signal import Samples

RATE_HZ = 44_100
MAX_SECONDS = 10.0
LONG_SECONDS = 15.0
"""Longer recordings are music and the like: any part of them will do."""
UNCLEAR = frozenset(("other animal", "other bird", "other instrument", "synthetic effect"))
"""Classes whose name says too little to be asked for."""


@dataclass(frozen=True)
class Event:
    """One sound in a scene and when it is heard."""

    clip: str
    classes: tuple[str, ...]
    phrase: str
    onset: float
    """Seconds from the start of the scene."""
    offset: float
    background: bool = False


@dataclass(frozen=True)
class Scene:
    """What was composed; the samples lie in `audio`."""

    id: str
    split: str
    kind: str
    seed: int
    index: int
    audio: str
    """Path relative to the store."""
    seconds: float
    events: tuple[Event, ...]
    effects: dict[str, float] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()


def scene_to_row(scene: Scene) -> dict[str, Any]:
    """JSON-able row."""
    return dataclasses.asdict(scene)


def scene_from_row(row: dict[str, Any], where: str) -> Scene:
    """`Scene` of a row; raises `CorpusError` naming `where`."""
    try:
        events = tuple(Event(**{**event, "classes": tuple(event["classes"])}) for event in row["events"])
        lists = {name: tuple(row[name]) for name in ("sources", "licences")}
        return Scene(**{**row, **lists, "events": events})
    except (TypeError, KeyError) as fault:
        raise CorpusError(f"{where}: not a row of a scene list ({fault!r}); build again") from fault


def rng_for(*key: object) -> Generator:
    """A generator that depends on `key` alone, on every machine."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


@dataclass(frozen=True)
class Pool:
    """The clips of one split by class, and how to read them."""

    folder: Path
    split: str
    ontology: Ontology
    by_class: dict[str, tuple[StoredClip, ...]]
    weights: dict[str, float]

    @cached_property
    def fingerprint(self) -> str:
        """Changes when other clips or classes would be drawn."""
        text = repr([(name, [item.clip.id for item in items]) for name, items in sorted(self.by_class.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def names(self, keep: Callable[[str], bool] = lambda name: True) -> list[str]:
        """Names of the classes that have clips, sorted, filtered by `keep`."""
        return [name for name in sorted(self.by_class) if keep(name)]

    def draw_class(self, rng: Generator, among: Sequence[str]) -> str:
        """One class; classes with more clips somewhat more often."""
        weights = np.array([self.weights[name] for name in among])
        return among[int(rng.choice(len(among), p=weights / weights.sum()))]

    def draw_clip(self, rng: Generator, name: str) -> StoredClip:
        """One clip of a class."""
        clips = self.by_class[name]
        return clips[int(rng.integers(len(clips)))]


def make_pool(folder: Path, clips: Iterable[StoredClip], split: str, ontology: Ontology) -> Pool:
    """The pool of `split`: each clip under its first class."""
    groups: dict[str, list[StoredClip]] = defaultdict(list)
    for item in sorted(clips, key=lambda item: item.clip.id):
        usable = [name for name in item.clip.classes if name in ontology.by_name and name not in UNCLEAR]
        if item.clip.split == split and usable:
            groups[usable[0]].append(item)
    weights = {name: min(len(items), 16) ** 0.5 for name, items in groups.items()}
    weights |= {name: 6.0 for name in ("speech", "music") if name in groups}
    weights |= {name: weights[name] * 0.5 for name in groups if ontology.by_name[name].group == "instrument"}
    return Pool(folder, split, ontology, {name: tuple(items) for name, items in groups.items()}, weights)


@lru_cache(maxsize=512)
def _clip_samples(path: Path) -> Samples:
    """The audible part of a stored clip at `RATE_HZ`."""
    samples, rate = store.read_flac(path)
    start, end = signal.active_span(samples, rate)
    return _at_scene_rate(samples[start:end] if end > start else samples, rate)


def _at_scene_rate(samples: Samples, rate: int) -> Samples:
    return samples if rate == RATE_HZ else signal.as_float(soxr.resample(samples, rate, RATE_HZ, quality="MQ"))


def _excerpt(pool: Pool, item: StoredClip, rng: Generator, max_seconds: float) -> Samples:
    """At most `max_seconds` of a clip: the start of an event, any part of something long."""
    path = pool.folder / item.audio
    if item.seconds > LONG_SECONDS:
        count = round(max_seconds * item.rate)
        start = int(rng.integers(round(item.seconds * item.rate) - count))
        return signal.fade_ends(_at_scene_rate(*store.read_flac(path, start, count)), RATE_HZ, 0.05)
    samples = _clip_samples(path)
    count = round(max_seconds * RATE_HZ)
    return samples.copy() if len(samples) <= count else signal.fade_ends(samples[:count], RATE_HZ, 0.05)


Effects = dict[str, float]


def vary(samples: Samples, rng: Generator, effects: Effects, strength: float = 1.0) -> Samples:
    """A random variant of one recording: speed and pitch within 12 %, spectral tilt; `effects` notes what was done."""
    if rng.random() < 0.6 * strength:
        effects["speed"] = round(float(rng.uniform(0.88, 1.12)), 3)
        samples = signal.change_speed(samples, RATE_HZ, effects["speed"])
    if rng.random() < 0.5 * strength:
        effects["tilt_db_per_octave"] = round(float(rng.uniform(-2.0, 2.0)), 2)
        samples = signal.tilt(samples, RATE_HZ, effects["tilt_db_per_octave"])
    return samples


def _room(samples: Samples, rng: Generator, effects: Effects) -> Samples:
    """What the place and the recorder add to a whole scene: reverberation, bandwidth, noise, level."""
    if rng.random() < 0.3:
        effects["reverberation_seconds"] = round(float(rng.uniform(0.15, 0.8)), 2)
        wet = float(rng.uniform(0.1, 0.35))
        samples = signal.reverberate(samples, RATE_HZ, effects["reverberation_seconds"], wet, rng)
    if rng.random() < 0.3:
        effects["bandwidth_hz"] = float(rng.choice([4000, 5500, 8000, 11000]))
        samples = signal.band_limit(samples, RATE_HZ, effects["bandwidth_hz"])
    if rng.random() < 0.4:
        effects["noise_snr_db"] = round(float(rng.uniform(12, 35)), 1)
        noise = signal.coloured_noise(len(samples), RATE_HZ, float(rng.choice([0.0, -3.0, -6.0])), rng)
        level = signal.active_rms(samples, RATE_HZ) * 10 ** (-effects["noise_snr_db"] / 20)
        samples = signal.as_float(samples + level * noise)
    effects["level_db"] = round(float(rng.uniform(-32, -14)), 1)
    return signal.limit_peak(signal.to_level(samples, RATE_HZ, effects["level_db"]))


@dataclass
class _Canvas:
    """A scene being composed: placed sounds and their events."""

    pool: Pool
    rng: Generator
    placed: list[tuple[int, Samples]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    used: list[StoredClip] = field(default_factory=list)

    def add(self, item: StoredClip, samples: Samples, start: float, *, background: bool = False) -> float:
        """Place a sound at `start` seconds; gives its end."""
        end = start + len(samples) / RATE_HZ
        self.placed.append((round(start * RATE_HZ), samples))
        phrase = phrase_of(item, self.pool.ontology)
        event = Event(item.clip.id, item.clip.classes, phrase, round(start, 3), round(end, 3), background)
        self.events.append(event)
        self.used.append(item)
        return end

    def mix(self, tail_seconds: float) -> Samples:
        """All sounds in one array, with `tail_seconds` of silence after the last."""
        length = max(start + len(samples) for start, samples in self.placed) + round(tail_seconds * RATE_HZ)
        total = np.zeros(min(length, round(MAX_SECONDS * RATE_HZ)), dtype=np.float32)
        for start, samples in self.placed:
            piece = samples[: max(0, len(total) - start)]
            total[start : start + len(piece)] += piece
        return total


def phrase_of(item: StoredClip, ontology: Ontology) -> str:
    """A noun phrase for what the clip holds: its first class's."""
    for name in item.clip.classes:
        if name in ontology.by_name and name not in UNCLEAR:
            return ontology.by_name[name].phrase
    return item.clip.description or "a sound"


def _event(canvas: _Canvas, name: str, max_seconds: float, level_db: float) -> tuple[StoredClip, Samples]:
    """A varied excerpt of a random clip of class `name` at a level."""
    item = canvas.pool.draw_clip(canvas.rng, name)
    samples = _excerpt(canvas.pool, item, canvas.rng, max_seconds)
    samples = vary(samples, canvas.rng, {}, 0.8)
    cap = round(max_seconds * 1.15 * RATE_HZ)
    return item, signal.to_level(signal.fade_ends(samples[:cap], RATE_HZ, 0.004), RATE_HZ, level_db)


def _distinct(canvas: _Canvas, count: int, keep: Callable[[str], bool] = lambda name: True) -> list[str]:
    """`count` classes no two of which can be confused."""
    chosen: list[str] = []
    names = canvas.pool.names(keep)
    while len(chosen) < count:
        left = canvas.pool.ontology.opposites(chosen, names)
        if not left:
            raise CorpusError(
                f"split '{canvas.pool.split}' has too few classes for a scene of {count} different sounds"
            )
        chosen.append(canvas.pool.draw_class(canvas.rng, left))
    return chosen


def _variant(canvas: _Canvas) -> float:
    name = canvas.pool.draw_class(canvas.rng, canvas.pool.names())
    item, samples = _event(canvas, name, float(canvas.rng.uniform(3, 8)), -20)
    canvas.add(item, samples, float(canvas.rng.choice([0.0, canvas.rng.uniform(0, 1.5)])))
    return float(canvas.rng.uniform(0, 0.8))


def _sequence(canvas: _Canvas) -> float:
    count = int(canvas.rng.choice([2, 3, 4], p=[0.5, 0.35, 0.15]))
    longest = {2: 3.6, 3: 2.4, 4: 1.7}[count]
    start = float(canvas.rng.uniform(0.05, 0.5))
    for name in _distinct(canvas, count):
        item, samples = _event(canvas, name, longest, -20 + float(canvas.rng.uniform(-3, 3)))
        start = canvas.add(item, samples, start) + float(canvas.rng.uniform(0.15, 0.6))
    return float(canvas.rng.uniform(0.05, 0.4))


def _countable(pool: Pool) -> Callable[[str], bool]:
    """Classes of short separate events with a clip that can be repeated five times in a scene."""
    return lambda name: pool.ontology.by_name[name].repeats and any(i.seconds <= 1.6 for i in pool.by_class[name])


def _repetition(canvas: _Canvas) -> float:
    name = canvas.pool.draw_class(canvas.rng, canvas.pool.names(_countable(canvas.pool)))
    short = [item for item in canvas.pool.by_class[name] if item.seconds <= 1.6]
    item = short[int(canvas.rng.integers(len(short)))]
    samples = _excerpt(canvas.pool, item, canvas.rng, 1.4)
    samples = signal.to_level(vary(samples, canvas.rng, {}), RATE_HZ, -20)[: round(1.5 * RATE_HZ)]
    start = float(canvas.rng.uniform(0.05, 0.5))
    for _ in range(int(canvas.rng.integers(1, 6))):
        gain = 10 ** (float(canvas.rng.uniform(-2, 2)) / 20)
        gap = float(canvas.rng.uniform(0.3, 0.6 if len(samples) > RATE_HZ else 0.9))
        start = canvas.add(item, signal.as_float(samples * gain), start) + gap
    return float(canvas.rng.uniform(0.05, 0.4))


def _mixture(canvas: _Canvas) -> float:
    names = _distinct(canvas, int(canvas.rng.choice([2, 3], p=[0.75, 0.25])))
    for number, name in enumerate(names):
        item, samples = _event(canvas, name, 5.0, -20 + (float(canvas.rng.choice([-6, -3, 0, 3])) if number else 0.0))
        latest = canvas.events[0].offset * 0.6 if number else 0.5
        canvas.add(item, samples, float(canvas.rng.uniform(0, latest)))
    return float(canvas.rng.uniform(0.05, 0.5))


def _over_background(canvas: _Canvas) -> float:
    steady = [name for name in canvas.pool.names() if _is_steady(canvas.pool, name)]
    below = canvas.pool.draw_class(canvas.rng, steady)
    above = canvas.pool.draw_class(canvas.rng, canvas.pool.ontology.opposites([below], canvas.pool.names()))
    seconds = float(canvas.rng.uniform(4, 8))
    snr_db = float(canvas.rng.choice([0, 5, 10, 15]))
    bed, samples = _event(canvas, below, seconds, -20 - snr_db)
    canvas.add(bed, signal.fill(samples, RATE_HZ, round(seconds * RATE_HZ)), 0.0, background=True)
    item, event = _event(canvas, above, min(3.5, seconds - 1.0), -20)
    latest = max(0.3, seconds - len(event) / RATE_HZ - 0.2)
    canvas.add(item, event, float(canvas.rng.uniform(0.2, latest)))
    return 0.0


def _is_steady(pool: Pool, name: str) -> bool:
    """Whether a class can lie under others: something continuous, with a clip of at least 2 s."""
    kind = pool.ontology.by_name[name]
    if kind.repeats or (kind.group in (*MUSIC_GROUPS, "weapon and explosion") and name != "music"):
        return False
    return name != "speech" and any(item.seconds >= 2.0 for item in pool.by_class[name])


COMPOSERS: dict[str, Callable[[_Canvas], float]] = {
    "variant": _variant,
    "sequence": _sequence,
    "repetition": _repetition,
    "mixture": _mixture,
    "background": _over_background,
}
KINDS = (*COMPOSERS, "silence", "noise")
SHARES = {"variant": 0.40, "sequence": 0.22, "repetition": 0.12, "mixture": 0.12, "background": 0.10}
SHARES |= {"silence": 0.02, "noise": 0.02}


def scene_counts(total: int) -> dict[str, int]:
    """How many scenes of each kind make `total`: one of each at least, if they fit; variants take the rest."""
    least = int(total >= 2 * len(SHARES))
    counts = {kind: max(least, int(total * share)) for kind, share in SHARES.items()}
    counts["variant"] += total - sum(counts.values())
    return counts


def make_scene(pool: Pool, kind: str, index: int, seed: int) -> tuple[Scene, Samples]:
    """Compose one scene; the samples `[samples]` are at `RATE_HZ`."""
    if kind not in KINDS:
        raise CorpusError(f"scene kind '{kind}' is unknown; known are {', '.join(KINDS)}")
    rng = rng_for("scene", seed, pool.split, kind, index)
    name = f"{pool.split}-{kind}-{seed}-{pool.fingerprint[:6]}-{index:06d}"
    effects: Effects = {}
    if kind in COMPOSERS:
        canvas = _Canvas(pool, rng)
        tail = COMPOSERS[kind](canvas)
        samples = _room(canvas.mix(tail), rng, effects)
        events, used = _inside(canvas.events, len(samples) / RATE_HZ), canvas.used
    else:
        samples, events, used = _without_events(kind, rng, effects), (), []
    sources = tuple(sorted({item.clip.package for item in used}))
    licences = tuple(sorted({item.clip.licence for item in used}))
    path = f"scenes/{pool.split}/{kind}/{index // 1000:03d}/{name}.flac"
    seconds = round(len(samples) / RATE_HZ, 3)
    return Scene(name, pool.split, kind, seed, index, path, seconds, events, effects, sources, licences), samples


def _inside(events: list[Event], seconds: float) -> tuple[Event, ...]:
    """Events in order of onset, cut at the end of the scene."""
    kept = [dataclasses.replace(event, offset=min(event.offset, round(seconds, 3))) for event in events]
    return tuple(sorted((e for e in kept if e.onset < e.offset), key=lambda event: (event.onset, event.offset)))


def _without_events(kind: str, rng: Generator, effects: Effects) -> Samples:
    """Digital or near silence, or plain noise."""
    count = round(float(rng.uniform(1, 8)) * RATE_HZ)
    if kind == "silence":
        effects["level_db"] = float(rng.choice([-200.0, -90.0, -80.0]))
        level = 10 ** (effects["level_db"] / 20) if effects["level_db"] > -150 else 0.0
    else:
        effects["level_db"] = round(float(rng.uniform(-40, -18)), 1)
        level = 10 ** (effects["level_db"] / 20)
    slope = float(rng.choice([0.0, -3.0, -6.0]))
    return signal.limit_peak(signal.as_float(level * signal.coloured_noise(count, RATE_HZ, slope, rng)))
