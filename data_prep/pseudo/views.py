"""Weak and strong views of a recording, for training that wants the same answer to both (the FixMatch family).

A view is a pure function of the recording, the plan and a key. Its length may differ from the recording's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from alm.audio import Waveform
from data_prep import signal
from data_prep.composed import rooms
from data_prep.composed.mixing import write_flac
from data_prep.errors import CorpusError
from data_prep.samples import Sample
from data_prep.scenes import rng_for
from data_prep.signal import Samples

KINDS = ("weak", "strong")
NOISE_SLOPES = (0.0, -3.0, -6.0)
BANDS_HZ = (4000.0, 5500.0, 8000.0)


@dataclass(frozen=True)
class ViewPlan:
    """How far views go; making one checks it. A change is drawn evenly from its range.

    Of a weak view every change happens with chance one half; of a strong view every one does.
    """

    weak_occlusion: float = 0.15
    """Most of the recording that is silenced, in one piece."""
    strong_occlusion: float = 0.4
    weak_speed: tuple[float, float] = (0.95, 1.05)
    """Faster is higher, too."""
    strong_speed: tuple[float, float] = (0.8, 1.25)
    weak_gain_db: tuple[float, float] = (-6.0, 0.0)
    strong_gain_db: tuple[float, float] = (-15.0, 0.0)
    tilt_db_per_octave: float = 3.0
    noise_snr_db: tuple[float, float] = (5.0, 25.0)
    decay_seconds: tuple[float, float] = (0.15, 0.4)
    distance_metres: tuple[float, float] = (0.5, 3.0)

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "weak_speed": (0.25, 4.0), "strong_speed": (0.25, 4.0), "weak_gain_db": (-60.0, 20.0),
            "strong_gain_db": (-60.0, 20.0), "noise_snr_db": (-20.0, 90.0), "decay_seconds": (0.05, 0.5),
            "distance_metres": (0.3, 6.0),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value[0] <= value[1] <= high:
                raise CorpusError(f"view plan: '{name}' is {value}; it must rise, from {low:g} to {high:g}")
        for name in ("weak_occlusion", "strong_occlusion"):
            if not 0 <= getattr(self, name) <= 0.9:
                raise CorpusError(f"view plan: '{name}' is {getattr(self, name)}; it must be from 0 to 0.9")


def view(recording: Waveform, plan: ViewPlan, kind: str, key: tuple[object, ...]) -> Waveform:
    """One view; another `key` gives another one. Nothing of it is beyond full scale."""
    if kind not in KINDS:
        raise CorpusError(f"view '{kind}' is unknown; there are {', '.join(KINDS)}")
    rng = rng_for("view", kind, *key)
    samples, rate = np.asarray(recording.samples, dtype=np.float32), recording.rate
    for change in CHANGES[kind]:
        if kind == "strong" or rng.random() < 0.5:
            samples = change(samples, rate, plan, rng)
    return Waveform(signal.limit_peak(samples), rate, f"{recording.source} ({kind} view)")


Change = Callable[[Samples, int, ViewPlan, Generator], Samples]


def _occlude(samples: Samples, most: float, rng: Generator) -> Samples:
    size = int(len(samples) * float(rng.uniform(0.0, most)))
    start = int(rng.integers(len(samples) - size + 1))
    shown = samples.copy()
    shown[start : start + size] = 0.0
    return shown


def _weak_occlusion(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    return _occlude(samples, plan.weak_occlusion, rng)


def _strong_occlusion(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    return _occlude(samples, plan.strong_occlusion, rng)


def _weak_speed(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    return signal.change_speed(samples, rate, float(rng.uniform(*plan.weak_speed)))


def _strong_speed(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    return signal.change_speed(samples, rate, float(rng.uniform(*plan.strong_speed)))


def _weak_gain(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    return signal.as_float(samples * 10 ** (float(rng.uniform(*plan.weak_gain_db)) / 20))


def _strong_gain(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    return signal.as_float(samples * 10 ** (float(rng.uniform(*plan.strong_gain_db)) / 20))


def _tilt(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    return signal.tilt(samples, rate, float(rng.uniform(-plan.tilt_db_per_octave, plan.tilt_db_per_octave)))


def _band(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    return signal.band_limit(samples, rate, float(rng.choice(BANDS_HZ)))


def _room(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    room = rooms.draw_room(rng, plan.decay_seconds, "mono", rate)
    heard = room.heard(samples, room.draw_place(rng, plan.distance_metres))[:, 0]
    return heard[rooms.LEAD : rooms.LEAD + len(samples)]


def _noise(samples: Samples, rate: int, plan: ViewPlan, rng: Generator) -> Samples:
    level = signal.active_rms(samples, rate) * 10 ** (-float(rng.uniform(*plan.noise_snr_db)) / 20)
    noise = signal.coloured_noise(len(samples), rate, float(rng.choice(NOISE_SLOPES)), rng)
    return signal.as_float(samples + level * noise)


CHANGES: dict[str, tuple[Change, ...]] = {
    "weak": (_weak_speed, _weak_occlusion, _weak_gain),
    "strong": (_strong_speed, _strong_occlusion, _tilt, _room, _band, _noise, _strong_gain),
}


def write_views(sample: Sample, recording: Waveform, plan: ViewPlan, seed: int, out: Path) -> tuple[Sample, Sample]:
    """A weak and a strong view of a sample as FLAC files in `out`; their samples say what they are views of.

    Times do not survive a change of speed: views have labels, not events.
    """
    made = []
    for kind in KINDS:
        name = f"{sample.id}-{kind}-{seed}"
        shown = view(recording, plan, kind, (seed, sample.source, sample.id))
        path = out / kind / f"{_safe(sample)}-{seed}.flac"
        write_flac(path, iter([signal.as_float(shown.samples)[:, None]]), shown.rate, 1)
        extras = {**sample.extras, "view": {"of": sample.id, "kind": kind, "seed": seed}}
        made.append(
            dataclasses.replace(
                sample, id=name, audio=str(path.resolve()), seconds=round(shown.seconds, 4), start=None, events=(),
                chapters=(), extras=extras,
            )
        )  # fmt: skip
    return made[0], made[1]


def _safe(sample: Sample) -> str:
    """A name of a file that no other sample has."""
    digest = rng_for(sample.source, sample.id).bytes(8).hex()
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in sample.id)[:60] + f"-{digest}"
