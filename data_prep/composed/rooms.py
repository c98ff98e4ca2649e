"""Rooms by pyroomacoustics: what a sound at some place in a shoe box sounds like at a microphone array.

The image-source method, without random parts: the same room gives the same samples. The time that the direct sound
needs to the nearest microphone is taken away, so that an event begins where it was placed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from data_prep.composed.plan import Range
from data_prep.signal import Samples

WIDTH, DEPTH, HEIGHT = (4.0, 9.0), (3.5, 8.0), (2.4, 4.0)
WALL_METRES = 0.3
"""Nothing is nearer to a wall."""
MOST_ORDER = 40
SABINE = 0.1611
"""Seconds by metre: 24 ln 10 by the speed of sound."""
MOST_ABSORPTION = 0.9
MOST_ELEVATION = 40.0
LEAD = 40
"""Samples by which an impulse response begins before its impulse: half of the library's fractional delay filter."""
MIC_RADIUS_METRES = 0.042
MIC_PLACES = ((45.0, 35.0), (-45.0, -35.0), (135.0, -35.0), (-135.0, 35.0))
"""Azimuth and elevation of the four microphones of layout `mic`, as in DCASE; here in open air, without a sphere."""
STEREO_ANGLE = 45.0


@dataclass(frozen=True)
class Place:
    """Where a source is, seen from the microphones that look along the x axis."""

    azimuth: float
    """Degrees, to the left positive."""
    elevation: float
    distance: float
    """Metres."""


@dataclass(frozen=True)
class Room:
    """A shoe box with microphones in it."""

    size: tuple[float, float, float]
    """Metres."""
    decay_seconds: float
    """RT60 that the walls are made for (Sabine); the longest echoes are left out, so that it may come out shorter."""
    ears: tuple[float, float, float]
    layout: str
    rate_hz: int

    def draw_place(self, rng: Generator, distances: Range) -> Place:
        """A place in the room; nearer than wished where the room ends."""
        azimuth = round(float(rng.uniform(-180, 180)), 1)
        elevation = round(float(rng.uniform(-MOST_ELEVATION, MOST_ELEVATION)), 1)
        far = self._reach(azimuth, elevation)
        low, high = distances
        return Place(azimuth, elevation, round(min(far, float(rng.uniform(min(low, far), min(high, far)))), 2))

    def _reach(self, azimuth: float, elevation: float) -> float:
        """Metres from the ears to where the wall is too near, in this direction; rounded down."""
        free = [
            ((side - WALL_METRES if step > 0 else WALL_METRES) - at) / step
            for step, side, at in zip(direction(azimuth, elevation), self.size, self.ears, strict=True)
            if abs(step) > 1e-6
        ]
        return math.floor(min(free) * 100) / 100

    def heard(self, samples: Samples, place: Place) -> Samples:
        """`[samples, channels]` at the microphones; `LEAD` samples before the sound itself begins."""
        responses = self.responses(place)
        return np.stack([fftconvolve(samples, one) for one in responses], axis=1).astype(np.float32)

    def responses(self, place: Place) -> NDArray[np.float64]:
        """Impulse responses `[channels, samples]`."""
        import pyroomacoustics as pra

        absorption, order = pra.inverse_sabine(self.decay_seconds, self.size)
        box = pra.ShoeBox(
            self.size,
            fs=self.rate_hz,
            materials=pra.Material(absorption),
            max_order=min(order, MOST_ORDER),
            air_absorption=True,
        )
        spots, looks = _microphones(self.layout, pra)
        centre = np.array(self.ears)
        box.add_microphone_array(pra.MicrophoneArray(centre[:, None] + spots, self.rate_hz, directivity=looks))
        source = centre + place.distance * np.array(direction(place.azimuth, place.elevation))
        box.add_source(source)
        box.compute_rir()
        nearest = min(float(np.linalg.norm(source - centre - spot)) for spot in spots.T)
        skip = round(nearest / pra.constants.get("c") * self.rate_hz)
        size = min(max(len(one[0]) for one in box.rir), skip + round(1.5 * self.decay_seconds * self.rate_hz))
        return np.stack([np.pad(one[0], (0, max(0, size - len(one[0]))))[skip:size] for one in box.rir])


def direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Unit vector: front, left, up."""
    turn, lift = math.radians(azimuth), math.radians(elevation)
    return math.cos(turn) * math.cos(lift), math.sin(turn) * math.cos(lift), math.sin(lift)


def _microphones(layout: str, pra: Any) -> tuple[NDArray[np.float64], list[Any] | None]:
    """Places `[3, channels]` around the centre in metres, and what each microphone hears best."""

    def look(azimuth: float, colatitude: float) -> Any:
        return pra.directivities.DirectionVector(azimuth=azimuth, colatitude=colatitude, degrees=True)

    kinds = pra.directivities
    if layout == "mic":
        spots = np.array([direction(*place) for place in MIC_PLACES]).T * MIC_RADIUS_METRES
        return spots, None
    if layout == "stereo":
        sides = [kinds.Cardioid(look(STEREO_ANGLE, 90)), kinds.Cardioid(look(-STEREO_ANGLE, 90))]
        return np.zeros((3, 2)), sides
    if layout == "foa":
        eights = [kinds.FigureEight(look(90, 90)), kinds.FigureEight(look(0, 0)), kinds.FigureEight(look(0, 90))]
        return np.zeros((3, 4)), [kinds.Omnidirectional(), *eights]
    return np.zeros((3, 1)), None


def draw_room(rng: Generator, decays: Range, layout: str, rate_hz: int) -> Room:
    """A room of some size, with the microphones about its middle, at the height of a standing or sitting head."""
    size = tuple(round(float(rng.uniform(*span)), 2) for span in (WIDTH, DEPTH, HEIGHT))
    ears = (
        round(size[0] * float(rng.uniform(0.35, 0.65)), 2),
        round(size[1] * float(rng.uniform(0.35, 0.65)), 2),
        round(float(rng.uniform(1.1, 1.8)), 2),
    )
    box = (size[0], size[1], size[2])
    decay = max(round(float(rng.uniform(*decays)), 2), shortest_decay(box))
    return Room(box, decay, ears, layout, rate_hz)


def shortest_decay(size: tuple[float, float, float]) -> float:
    """Seconds of reverberation that a room has at least, by Sabine's formula; rounded up."""
    width, depth, height = size
    walls = 2 * (width * depth + depth * height + height * width)
    return math.ceil(100 * SABINE * width * depth * height / (walls * MOST_ABSORPTION)) / 100
