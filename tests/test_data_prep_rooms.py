"""Rooms: times stay, distance and reverberation are as told, and several channels know where a sound comes from."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.composed.rooms import LEAD, Place, Room, draw_room
from data_prep.scenes import rng_for

RATE = 16_000


def box(layout: str = "mono", decay: float = 0.15, rate: int = RATE) -> Room:
    return Room((6.0, 5.0, 3.0), decay, (3.0, 2.5, 1.5), layout, rate)


def test_a_room_moves_nothing_and_far_sounds_are_softer() -> None:
    click = np.zeros(RATE, dtype=np.float32)
    click[0] = 1.0
    near, far = (
        box(decay=0.3).heard(click, Place(30.0, 0.0, distance))[:, 0] for distance in (0.5, 2.0)
    )
    for heard in (near, far):
        assert np.abs(heard).argmax() == pytest.approx(LEAD, abs=1)
    assert 20 * np.log10(np.abs(near).max() / np.abs(far).max()) == pytest.approx(12, abs=1.5)

def test_a_room_rings_about_as_long_as_it_says() -> None:
    def decay(seconds: float) -> float:
        """RT60 from the slope between -5 and -25 dB of the energy still to come."""
        response = box(decay=seconds).responses(Place(30.0, 0.0, 1.5))[0]
        left = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response**2) + 1e-12)
        return float(3 * (np.argmax(left < -25) - np.argmax(left < -5)) / RATE)

    assert decay(0.45) == pytest.approx(0.45, rel=0.25)
    assert decay(0.2) < 0.7 * decay(0.45)

def test_no_room_is_deader_than_its_walls_allow() -> None:
    for number in range(40):
        room = draw_room(rng_for(number), (0.05, 0.05), "mono", RATE)
        assert 0.05 < room.decay_seconds < 0.35
        assert room.draw_place(rng_for(number), (0.3, 6.0)).distance >= 0.3
        if number % 10 == 0:
            assert np.abs(room.responses(Place(0.0, 0.0, 0.5))[0][:100]).max() > 0.2

def test_ambisonics_point_to_the_source() -> None:
    room = box("foa")
    for place in (Place(90.0, 0.0, 1.0), Place(-40.0, 20.0, 0.8), Place(170.0, -30.0, 1.0)):
        w, y, z, x = room.responses(place)[:, :100]
        azimuth = np.degrees(np.arctan2((w * y).sum(), (w * x).sum()))
        elevation = np.degrees(np.arctan2((w * z).sum(), np.hypot((w * y).sum(), (w * x).sum())))
        assert (azimuth, elevation) == (pytest.approx(place.azimuth, abs=3), pytest.approx(place.elevation, abs=3))

def test_stereo_and_arrays_know_left_from_right() -> None:
    for side in (1, -1):
        left, right = box("stereo").responses(Place(60.0 * side, 0.0, 1.0))
        assert ((left[:100] ** 2).sum() > 2 * (right[:100] ** 2).sum()) == (side > 0)
        mics = box("mic", rate=48_000).responses(Place(45.0 * side, 35.0 * side, 1.0))
        assert np.abs(mics[:, :200]).argmax(axis=1).argmin() == (0 if side > 0 else 1)
