"""What spoils a recording, each at a stated level: noise, reverberation, gain, codecs, speed, bandwidth.

Each is a pure function of samples, rate and a generator of random numbers, and keeps the rate. They make the suite
`robustness`, and are conditions under which any benchmark can be asked.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import soundfile
from numpy.random import Generator

from alm.audio import Waveform
from eval.suites import signal
from eval.suites.drawing import noise_rng
from eval.suites.signal import Samples

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

Apply = Callable[[Samples, int, Generator], Samples]
WET = 0.5
"""Share of the reverberant sound."""
CODEC_SECONDS_LEAST = 1.0
"""Shorter recordings get silence behind them: files of few packets cannot be read again."""


@dataclass(frozen=True)
class Perturbation:
    """One way at one level."""

    family: str
    level: str
    """As it is printed, with its unit."""
    apply: Apply

    @property
    def name(self) -> str:
        """Part of names of files: letters, digits, hyphens."""
        return f"{self.family}-{re.sub(r'[^A-Za-z0-9]', '', self.level)}"

    def sound(self, recording: Waveform, what: str) -> Waveform:
        """A whole recording; what it is called decides the noise."""
        samples = self.apply(recording.samples, recording.rate, noise_rng(self.name, what))
        return Waveform(samples, recording.rate, recording.source)


def noise(samples: Samples, rate: int, rng: Generator, snr_db: float) -> Samples:
    """Pink noise so far under the level of what is heard."""
    loudness = signal.heard_rms(samples, rate) * 10 ** (-snr_db / 20)
    return signal.under_peak(samples + loudness * signal.noise_like(len(samples), rate, -3.0, rng))[0]


def reverberation(samples: Samples, rate: int, rng: Generator, seconds: float) -> Samples:
    """A synthetic room: noise that decays by 60 dB in this time; the recording ends when the room is quiet."""
    count = max(2, round(seconds * rate))
    room = rng.standard_normal(count) * 10 ** (-3.0 * np.arange(count) / count)
    room /= np.sqrt((room**2).sum())
    whole = len(samples) + count
    size = -(-whole // 4096) * 4096
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(room, size), size)[:whole]
    dry = np.pad(samples, (0, count))
    return signal.under_peak(signal.as_float((1 - WET) * dry + WET * wet))[0]


def gain(samples: Samples, rate: int, rng: Generator, db: float) -> Samples:
    """Softer, or so much over full scale that peaks are cut off."""
    if db > 0:
        samples = samples / max(1e-9, float(np.abs(samples).max(initial=0.0)))
    return signal.as_float(np.clip(samples * 10 ** (db / 20), -1.0, 1.0))


def speed(samples: Samples, rate: int, rng: Generator, factor: float) -> Samples:
    """So many times as fast: shorter and higher above 1."""
    return signal.under_peak(signal.resampled(samples, rate * factor, rate))[0]


def bandwidth(samples: Samples, rate: int, rng: Generator, hz: float) -> Samples:
    """Nothing above a frequency, as in a recording of twice that rate."""
    if 2 * hz >= rate:
        return samples
    return signal.resampled(signal.resampled(samples, rate, 2 * hz), 2 * hz, rate, len(samples))


def mp3(samples: Samples, rate: int, rng: Generator, kbits: int) -> Samples:
    """MPEG layer III at a constant rate of bits."""
    return _through(samples, rate, 44_100, lambda there: _encoded(there, 44_100, "mp3", "libmp3lame", "fltp", kbits))


def opus(samples: Samples, rate: int, rng: Generator, kbits: int) -> Samples:
    """Opus at about this rate of bits."""
    return _through(samples, rate, 48_000, lambda there: _encoded(there, 48_000, "ogg", "libopus", "flt", kbits))


def telephone(samples: Samples, rate: int, rng: Generator, subtype: str) -> Samples:
    """8 kHz, and a codec of telephony."""

    def encoded(there: Samples) -> io.BytesIO:
        buffer = io.BytesIO()
        soundfile.write(buffer, there, 8_000, format="WAV", subtype=subtype)
        return buffer

    return _through(samples, rate, 8_000, encoded)


def _encoded(samples: Samples, rate: int, container: str, codec: str, form: str, kbits: int) -> io.BytesIO:
    """A file of one codec at a rate of bits, which libsndfile cannot be told exactly."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = cast("AudioStream", file.add_stream(codec, rate=rate, layout="mono"))
        stream.bit_rate = 1000 * kbits
        frame = av.AudioFrame.from_ndarray(samples[None, :], format=form, layout="mono")
        frame.sample_rate = rate
        for part in (frame, None):
            file.mux(stream.encode(part))
    return buffer


def _through(samples: Samples, rate: int, codec_rate: int, encoded: Callable[[Samples], io.BytesIO]) -> Samples:
    """Encoded and decoded; the same length and rate as before."""
    there = np.clip(signal.resampled(samples, rate, codec_rate), -1.0, 1.0)
    least = round(CODEC_SECONDS_LEAST * codec_rate)
    buffer = encoded(np.pad(there, (0, max(0, least - len(there)))))
    buffer.seek(0)
    back, _ = soundfile.read(buffer, dtype="float32")
    return signal.under_peak(signal.resampled(back, codec_rate, rate, len(samples)))[0]


PERTURBATIONS: dict[str, Perturbation] = {
    p.name: p
    for p in (
        *(Perturbation("noise", f"{db} dB", partial(noise, snr_db=db)) for db in (20, 10, 0)),
        *(Perturbation("reverberation", f"{t} ms", partial(reverberation, seconds=t / 1000)) for t in (300, 800, 2000)),
        *(Perturbation("softer", f"{db} dB", partial(gain, db=-db)) for db in (15, 30)),
        Perturbation("clipped", "20 dB", partial(gain, db=20)),
        *(Perturbation("mp3", f"{k} kbit", partial(mp3, kbits=k)) for k in (64, 32)),
        *(Perturbation("opus", f"{k} kbit", partial(opus, kbits=k)) for k in (16, 8)),
        Perturbation("telephone", "mu-law", partial(telephone, subtype="ULAW")),
        Perturbation("telephone", "GSM", partial(telephone, subtype="GSM610")),
        *(Perturbation("speed", f"{per} %", partial(speed, factor=per / 100)) for per in (80, 90, 110, 125)),
        *(Perturbation("bandwidth", f"{hz} Hz", partial(bandwidth, hz=hz)) for hz in (4000, 2000, 1000)),
    )
}
