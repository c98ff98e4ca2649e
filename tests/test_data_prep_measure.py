"""Measured values are those of signals that are known; what was measured once is not measured again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from alm.errors import AlmError
from alm.testing import noise, silence, tone
from data_prep.makers.measure import MeasureReport, acoustics, measure, median_pitch, words_per_minute
from data_prep.makers.measures import band
from data_prep.samples import Sample
from tests.maker_toys import changed, sample


def voice(hertz: float, seconds: float = 2.0, rate: int = 16_000) -> np.ndarray:
    """A buzz with the harmonics of a voice."""
    times = np.arange(round(seconds * rate)) / rate
    return sum(np.sin(2 * np.pi * hertz * k * times) / k for k in range(1, 12)).astype(np.float32) * 0.2


def stored(folder: Path, name: str, samples: np.ndarray, **more: object) -> Sample:
    soundfile.write(folder / f"{name}.wav", samples, 16_000)
    return changed(sample(name, seconds=None, **more), audio=str(folder / f"{name}.wav"))


@pytest.mark.parametrize("hertz", [90.0, 150.0, 230.0])
def test_pitch_is_that_of_the_voice(hertz: float) -> None:
    assert median_pitch(voice(hertz), 16_000) == pytest.approx(hertz, rel=0.01)
    assert median_pitch(noise(1.0).samples, 16_000) is None
    assert median_pitch(voice(hertz, 0.05), 16_000) is None


def test_sounds_are_put_in_words() -> None:
    assert acoustics(tone(2.0, 440.0).samples, 16_000) == ["dull", "tonal", "steady"]
    assert acoustics(noise(4.0).samples, 16_000) == ["long", "bright", "noisy", "steady"]
    assert acoustics(tone(0.2, 5000.0).samples, 16_000)[:2] == ["short", "bright"]
    assert acoustics(silence(1.0).samples, 16_000) == []


def test_values_near_a_bound_have_no_word() -> None:
    said = [band(value, (145.0, 200.0), ("low", "medium", "high")) for value in (100, 144, 170, 201, 230)]
    assert said == ["low", "", "medium", "", "high"]


def test_speed_is_of_words_written_with_spaces() -> None:
    spoken = sample("a", transcript="one two three four five six", language="en")
    assert words_per_minute(spoken, 3.0) == pytest.approx(120.0)
    assert words_per_minute(changed(spoken, language="zh"), 3.0) is None
    for text in ("two words", "in 1998 it was late"):
        assert words_per_minute(changed(spoken, transcript=text), 3.0) is None


def test_samples_come_with_measures_and_a_second_run_measures_nothing(tmp_path: Path) -> None:
    spoken = stored(tmp_path, "voice", voice(120.0), transcript="one two three four", language="en")
    sound = stored(tmp_path, "sound", tone(2.0, 440.0, level=0.1).samples)
    cache, report = tmp_path / "cache", MeasureReport()
    first = list(measure([spoken, sound], cache, report))
    assert report.measured == 2 and first[0].seconds == pytest.approx(2.0)
    assert first[0].extras["measured"]["pitch_hz"] == pytest.approx(120.0, rel=0.01)
    assert first[0].extras["measured"]["words_per_minute"] == pytest.approx(120.0, rel=0.05)
    assert "pitch_hz" not in first[1].extras["measured"] and "tonal" in first[1].extras["acoustics"]
    assert first[1].extras["measured"]["level_db"] == pytest.approx(-23.0, abs=0.5)
    with cache.open("a") as stream:
        stream.write('["half')  # a run that was killed while it wrote
    again = MeasureReport()
    assert list(measure([spoken, sound], cache, again)) == first and (again.measured, again.kept) == (0, 2)
    stored(tmp_path, "sound", tone(1.0, 440.0).samples)
    changed_file = MeasureReport()
    list(measure([spoken, sound], cache, changed_file))
    assert (changed_file.measured, changed_file.kept) == (1, 1)


def test_a_stretch_is_measured_alone(tmp_path: Path) -> None:
    both = np.concatenate([voice(100.0), voice(220.0)])
    part = changed(stored(tmp_path, "both", both, transcript="a", language="en"), start=2.0, seconds=2.0)
    assert next(measure([part])).extras["measured"]["pitch_hz"] == pytest.approx(220.0, rel=0.01)


def test_what_cannot_be_read_comes_as_it_is_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF no sound")
    bad = changed(sample("bad"), audio=str(tmp_path / "bad.wav"))
    missing = changed(sample("missing"), audio=str(tmp_path / "missing.wav"))
    report = MeasureReport()
    assert list(measure([bad, missing], None, report)) == [bad, missing]
    assert sum(report.lost.values()) == 2 and report.lost["missing file"] == 1
    (tmp_path / "other").write_text(json.dumps({"a": 1}) + "\n")
    with pytest.raises(AlmError, match="other"):
        list(measure([bad], tmp_path / "other"))
