"""One scene: drawn, placed in a room or not, mixed, coded, written; and the sample that says what is in it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from data_prep import signal
from data_prep.atomic import TEMPORARY
from data_prep.composed import layouts, mixing, rooms
from data_prep.composed.clips import Loop, Sound
from data_prep.composed.codecs import coded
from data_prep.composed.layouts import Draft, Slot
from data_prep.composed.mixing import Mix, Placed
from data_prep.composed.plan import LAYOUTS, ONE_CHANNEL_CODECS, ScenePlan
from data_prep.composed.pool import Pool
from data_prep.samples import Event, Sample
from data_prep.scenes import rng_for

DIGITS = 4
NOISE_SLOPES = (0.0, -3.0, -6.0)
MOST_CODED_CHANNELS = 2


@dataclass
class Scene:
    """A scene being made."""

    name: str
    kind: str
    plan: ScenePlan
    pool: Pool
    mix: Mix
    rng: Generator
    slots: list[Slot] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)
    effects: dict[str, Any] = field(default_factory=dict)
    licences: set[str] = field(default_factory=set)
    label_sets: set[str] = field(default_factory=set)
    packages: set[str] = field(default_factory=set)
    """What its sounds come from, where their source says it; the source elsewhere."""


def make_scene(pool: Pool, plan: ScenePlan, name: str, path: Path, lost: dict[str, str]) -> Sample:
    """Compose the scene `name`, write it to `path`, and give its sample. A pure function of pool, plan and name.

    Args:
        lost: gets the recordings that could not be read, and why.

    Raises:
        CorpusError: the pool has too few sounds for what the plan wants.
    """
    rng = rng_for("composed", name)
    scene = _drawn(pool, plan, name, rng, lost)
    gain_db = 20 * np.log10(scene.mix.gain())
    for part in scene.parts:
        part["level_db"] = round(part["level_db"] + gain_db, 2)
    codec = _codec(scene)
    mix, blocks = scene.mix, scene.mix.blocks()
    if codec:
        scratch = path.with_name(f"{TEMPORARY}{path.stem}.{codec}")
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = coded(blocks, codec, mix.rate, mix.channels, mix.count, scratch)
    mixing.write_flac(path, blocks, mix.rate, mix.channels)
    return _sample(scene, path)


def _drawn(pool: Pool, plan: ScenePlan, name: str, rng: Generator, lost: dict[str, str]) -> Scene:
    """All that is heard, with its events."""
    kinds = sorted(kind for kind, weight in plan.kinds.items() if weight > 0)
    weights = np.array([plan.kinds[kind] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    seconds = round(float(np.exp(rng.uniform(*np.log(plan.seconds)))), 2)
    draft = Draft(plan, pool, rng, seconds, lost=lost)
    if kind == "needle" or rng.random() < plan.background_chance:
        draft.bed = layouts.background(draft)
    mix = Mix(plan.rate_hz, round(seconds * plan.rate_hz), LAYOUTS[plan.layout])
    scene = Scene(name, kind, plan, pool, mix, rng, layouts.LAYOUTS[kind](draft))
    _place(scene)
    _lay_under(scene, draft.bed)
    return scene


def _place(scene: Scene) -> None:
    """Every event at its level, and at its place in a room where there is one."""
    plan, rng = scene.plan, scene.rng
    level = round(float(rng.uniform(*plan.level_db)), 1)
    room = None
    if rng.random() < plan.room_chance or plan.layout != "mono":
        room = rooms.draw_room(rng, plan.decay_seconds, plan.layout, plan.rate_hz)
        scene.effects["room"] = {"metres": list(room.size), "decay_seconds": room.decay_seconds}
    for slot in scene.slots:
        own = level + float(rng.uniform(-plan.spread_db, plan.spread_db))
        dry = signal.to_level(slot.sound.samples, plan.rate_hz, own)
        start = round(slot.onset * plan.rate_hz)
        where: dict[str, Any] = {}
        if room is None:
            placed = Placed(start, dry[:, None])
        else:
            place = room.draw_place(rng, plan.distance_metres)
            placed = Placed(start - rooms.LEAD, room.heard(dry, place))
            where = dataclasses.asdict(place) if plan.layout != "mono" else {"distance": place.distance}
        _add(scene, slot.sound, placed, (start, len(dry)), where)


def _add(scene: Scene, sound: Sound, placed: Placed, span: tuple[int, int], where: dict[str, Any]) -> None:
    """Put a sound into the scene; `span` is its beginning and its length in samples, without reverberation."""
    rate, cut = scene.plan.rate_hz, sound.cut
    onset, offset = span[0] / rate, min(sum(span), scene.mix.count) / rate
    text = cut.text if sound.whole else ""
    times: dict[str, Any] = {"onset": round(onset, DIGITS), "offset": round(offset, DIGITS)}
    scene.events.append(Event(cut.label, speaker=cut.speaker, text=text, **times, **where))
    scene.parts.append(_part(scene, sound, signal.active_rms(placed.samples[:, 0], rate)) | times)
    scene.mix.placed.append(placed)


def _part(scene: Scene, sound: Sound, rms: float) -> dict[str, Any]:
    """Where a sound comes from, and how loud it is on the first channel."""
    cut, sample = sound.cut, sound.cut.sample
    scene.licences.add(sample.licence)
    scene.label_sets.add(sample.label_set or sample.source)
    scene.packages.update(sample.packages)
    facts = {"label": cut.label, "sample": sample.id, "source": sample.source, "group": sample.group or sample.id}
    return facts | {"from": round(sound.start, DIGITS), "level_db": 20 * float(np.log10(max(rms, 1e-9)))}


def _lay_under(scene: Scene, bed: Sound | None) -> None:
    """A background and the noise of a recorder, each so far below the events as the plan says."""
    plan, rng, mix = scene.plan, scene.rng, scene.mix
    level = float(np.mean([part["level_db"] for part in scene.parts]))
    if bed is not None:
        _add_background(scene, bed, level)
    if rng.random() < plan.noise_chance:
        snr_db = round(float(rng.uniform(*plan.noise_snr_db)), 1)
        scene.effects["noise_snr_db"] = snr_db
        mix.noise_level = 10 ** ((level - snr_db) / 20)
        mix.noise_slope = float(rng.choice(NOISE_SLOPES))
        mix.noise_key = ("noise", scene.name)


def _add_background(scene: Scene, sound: Sound, level_db: float) -> None:
    snr_db = round(float(scene.rng.uniform(*scene.plan.snr_db)), 1)
    scene.effects["snr_db"] = snr_db
    mix, rate = scene.mix, scene.plan.rate_hz
    rms = signal.active_rms(sound.samples, rate)
    mix.bed, mix.bed_gain = Loop(sound.samples, rate), 10 ** ((level_db - snr_db) / 20) / rms
    mix.bed_channels = 1 if scene.plan.layout == "foa" else mix.channels  # from everywhere: W alone
    end = round(mix.count / rate, DIGITS)
    scene.events.append(Event(sound.cut.label, 0.0, end, background=True))
    part = _part(scene, sound, rms * mix.bed_gain)
    scene.parts.append(part | {"onset": 0.0, "offset": end, "background": True})


def _codec(scene: Scene) -> str:
    """A codec that can hold the channels of the scene, or ''."""
    plan, channels = scene.plan, scene.mix.channels
    able = [name for name in plan.codecs if channels == 1 or name not in ONE_CHANNEL_CODECS]
    if not able or channels > MOST_CODED_CHANNELS or scene.rng.random() >= plan.codec_chance:
        return ""
    scene.effects["codec"] = able[int(scene.rng.integers(len(able)))]
    return str(scene.effects["codec"])


def _sample(scene: Scene, path: Path) -> Sample:
    """What is known about a scene: everything."""
    order = sorted(range(len(scene.events)), key=lambda n: (scene.events[n].onset, scene.events[n].offset))
    events = tuple(scene.events[n] for n in order)
    draft = Draft(scene.plan, scene.pool, scene.rng, 0.0)
    single = {slot.label for slot in scene.slots} - {s.label for s in scene.slots if not draft.is_single(s.sound)}
    facts = {"kind": scene.kind, "effects": scene.effects, "parts": [scene.parts[n] for n in order]}
    facts |= {"countable": sorted(single)}
    if scene.kind == "needle":
        facts["needle"] = scene.slots[int(scene.rng.integers(len(scene.slots)))].label
    sets = set(scene.label_sets)
    return Sample(
        id=scene.name,
        audio=str(path),
        source=" + ".join(sorted({part["source"] for part in scene.parts})),
        split=scene.pool.split,
        licence=" AND ".join(sorted(scene.licences)),
        group=scene.name,
        seconds=round(scene.mix.count / scene.plan.rate_hz, DIGITS),
        channels="" if scene.plan.layout == "mono" else scene.plan.layout,
        labels=tuple(dict.fromkeys(event.label for event in events)),
        label_set=sets.pop() if len(sets) == 1 else "composed",
        events=events,
        complete=True,
        extras={
            "composed": facts,
            "made_of": sorted({part["sample"] for part in scene.parts}),
            "packages": sorted(scene.packages),
        },
    )
