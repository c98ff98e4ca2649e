"""Any recording (file, bytes, stream or array) to a mono `Waveform`; the only place that knows codecs and
limits.

Everything is bounded while decoding: bytes of the file, declared and decoded seconds, decoded values, time.
Whatever is wrong ends as one `AudioError` that names the recording, the value, the limit and the remedy; a
recording is used whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from alm import audio_containers, audio_decoding
from alm.audio_decoding import Block, Deadline, MeteredFile, Opened
from alm.audio_opening import AudioLimits, opened_source, refuse, shown_name
from alm.errors import AudioError, ConfigError

__all__ = [
    "AudioLimits",
    "Waveform",
    "decoded_blocks",
    "is_silent",
    "load_audio",
    "peak_db",
    "rms_db",
    "waveform_to_wav_bytes",
    "windows",
]

#: Levels below this are reported as this: the noise floor of 20-bit audio, far under anything audible.
FLOOR_DB = -120.0
_INTEGER_SCALE = {"int8": 128.0, "int16": 32_768.0, "int32": 2_147_483_648.0}
_RE_ENCODE = "Repair or re-encode it (ffmpeg -i INPUT OUTPUT.wav) and try again"


@dataclass(frozen=True, eq=False, repr=False)
class Waveform:
    """One mono recording at its own rate; equal when rate and samples are equal.

    Raises:
        AudioError: the samples are not 1-D float32, empty or not finite, or the rate is no positive whole
        number.
    """

    samples: NDArray[np.float32]
    """`[samples]`, read-only, full scale 1.0."""
    rate: int
    """Samples per second."""
    source: str = "array"
    """Name of the file or a given name; never a path."""
    channels: int = 1
    """Channels of the source before they were averaged."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", shown_name(self.source))
        if not isinstance(self.rate, int | np.integer) or isinstance(self.rate, bool) or self.rate < 1:
            refuse(self.source, f"the rate is {self.rate!r}", "Give a whole number of samples per second")
        samples = self.samples
        if not isinstance(samples, np.ndarray) or samples.dtype != np.float32 or samples.ndim != 1:
            refuse(self.source, "a Waveform holds a 1-D float32 array", "Use load_audio for anything else")
        if samples.size == 0:
            refuse(self.source, "it holds 0 samples", "Give a recording of at least one sample")
        if not (np.isfinite(samples.min()) and np.isfinite(samples.max())):  # NaN passes through both
            refuse(self.source, "it holds NaN or infinite samples", "Replace them by numbers")
        if samples.flags.writeable or not samples.flags.c_contiguous:
            samples = samples.copy()
            samples.flags.writeable = False
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "rate", int(self.rate))

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @cached_property
    def sha256(self) -> str:
        """See `content_hash`."""
        return content_hash(self.rate, len(self.samples), [self.samples])

    @cached_property
    def peak(self) -> float:
        """Largest absolute sample."""
        return max(float(self.samples.max()), -float(self.samples.min()))

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, Waveform) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        shape = f"{self.seconds:.3f} s, {self.rate} Hz, source with {self.channels} channels"
        return f"Waveform({self.source!r}, {shape})"

    def resampled(self, rate: int) -> NDArray[np.float32]:
        """Samples at `rate` by soxr (HQ): `[round(len * rate / self.rate)]`, at least one."""
        if rate == self.rate:
            return self.samples
        if rate < 1:
            refuse(self.source, f"cannot be resampled to {rate} Hz", "Give a rate above 0")
        length = max(1, round(len(self.samples) * rate / self.rate))
        converted = np.asarray(soxr.resample(self.samples, self.rate, rate, quality="HQ"), dtype=np.float32)
        # soxr rounds the length its own way: one sample more or less.
        return np.pad(converted, (0, max(0, length - len(converted))))[:length]

    def segment(self, start_seconds: float, end_seconds: float) -> Waveform:
        """The part between two times, bounds clipped to the recording.

        Raises:
            AudioError: no sample lies between them.
        """
        if not (start_seconds <= end_seconds):
            refuse(self.source, f"the segment {start_seconds}-{end_seconds} s runs backwards", "Swap the times")
        start = max(0, round(min(start_seconds, self.seconds) * self.rate))
        end = max(0, round(min(end_seconds, self.seconds) * self.rate))
        if end <= start:
            what = f"no sample lies between {start_seconds} s and {end_seconds} s of {self.seconds:.3f} s"
            refuse(self.source, what, "Choose times inside the recording")
        return Waveform(self.samples[start:end], self.rate, self.source, self.channels)

    def segments(self, spans: Iterable[tuple[float, float]]) -> Iterator[Waveform]:
        """Each of these parts; raises as `segment` does."""
        return (self.segment(*span) for span in spans)


def content_hash(rate: int, count: int, blocks: Iterable[NDArray[np.float32]]) -> str:
    """SHA-256 of `count` samples in blocks; every part is preceded by its length, so that no two contents share a
    byte string."""
    digest = hashlib.sha256()
    for part in (b"alm.Waveform/1", b"<f4", str(rate).encode(), str(count).encode()):
        digest.update(len(part).to_bytes(8, "little") + part)
    for block in blocks:
        digest.update(np.ascontiguousarray(block, dtype="<f4").data)
    return digest.hexdigest()


def load_audio(
    source: str | Path | bytes | bytearray | memoryview | BinaryIO | NDArray[Any] | Waveform,
    *,
    rate: int | None = None,
    name: str | None = None,
    limits: AudioLimits = AudioLimits(),
) -> Waveform:
    """Read a recording from a path, encoded bytes, a binary stream or an array and average its channels.

    Args:
        source: path; encoded bytes; readable binary stream (read from where it stands); array `[samples]`
        or
            `[samples, channels]` (floats with full scale 1, or int8/int16/int32/uint8); or a Waveform.
        rate: samples per second, for arrays and only for them.
        name: name for messages and, by its extension, for formats without a header (.g722, .gsm, .ulaw,
        ...).
        limits: bounds; see `AudioLimits`.

    Raises:
        AudioError: anything wrong with the recording; the message names it, the value, the limit and the
        remedy.
    """
    if isinstance(source, Waveform):
        _check_shape(source.source, limits, source.rate, 1, len(source.samples))
        return source
    if isinstance(source, list) or hasattr(source, "__array__"):
        return _from_array(_array_of(source, shown_name(name or "array")), rate, shown_name(name or "array"), limits)
    if rate is not None:
        shown = shown_name(name or source if isinstance(source, str | Path) else name or "recording")
        refuse(shown, f"rate={rate} was given for encoded audio", "Leave rate out: the file states its own")
    with opened_source(source, name, limits) as (file, size, shown):
        return _decode(file, size, shown, limits)


def windows(seconds: float, window_seconds: float, overlap_seconds: float = 0.0) -> list[tuple[float, float]]:
    """Start and end times that cover `seconds` in order, each at most `window_seconds` long.

    Neighbours share `overlap_seconds`. A rest that the window before already covers gets no window of its
    own, so only a recording shorter than the overlap makes a window shorter than it. Worked example, 10 s
    with 1 s overlap: 19.5 s gives (0, 10), (9, 19), (18, 19.5); 19.0 s gives (0, 10), (9, 19).

    Raises:
        AudioError: `seconds` is not a positive number.
        ConfigError: the window is not longer than the overlap, or the overlap is negative.
    """
    if not 0 < seconds < float("inf"):
        raise AudioError(f"a recording of {seconds} s cannot be cut into windows; give a length above 0")
    if not 0 <= overlap_seconds < window_seconds:
        raise ConfigError(
            f"windows of {window_seconds} s with {overlap_seconds} s overlap do not advance; "
            "make the window longer than the overlap and the overlap 0 or more"
        )
    hop = window_seconds - overlap_seconds
    spans: list[tuple[float, float]] = []
    # A nanosecond of rest is rounding of the sums, not sound.
    while not spans or spans[-1][1] < seconds - 1e-9:
        start = len(spans) * hop
        spans.append((start, min(start + window_seconds, seconds)))
    spans[-1] = (spans[-1][0], seconds)
    return spans


def rms_db(samples: NDArray[np.float32]) -> float:
    """Root-mean-square level of `[samples]` in dB relative to full scale; silence is `FLOOR_DB`."""
    power = float(np.einsum("i,i->", samples, samples, dtype=np.float64)) / max(1, samples.size)
    return max(FLOOR_DB, 10 * float(np.log10(power))) if power > 0 else FLOOR_DB


def peak_db(samples: NDArray[np.float32]) -> float:
    """Largest absolute sample of `[samples]` in dB relative to full scale; silence is `FLOOR_DB`."""
    peak = float(max(samples.max(), -samples.min())) if samples.size else 0.0
    return max(FLOOR_DB, 20 * float(np.log10(peak))) if peak > 0 else FLOOR_DB


def is_silent(samples: NDArray[np.float32], threshold_db: float = -70.0) -> bool:
    """True when even the loudest sample stays under `threshold_db` (full scale is 0 dB)."""
    return peak_db(samples) < threshold_db


def waveform_to_wav_bytes(waveform: Waveform) -> bytes:
    """A mono 16-bit PCM WAV file for players; samples beyond full scale are clipped."""
    values = np.clip(np.rint(waveform.samples * np.float32(32_768)), -32_768, 32_767).astype(np.int16)
    buffer = io.BytesIO()
    sf.write(buffer, values, waveform.rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _check_shape(shown: str, limits: AudioLimits, rate: int, channels: int, frames: int) -> None:
    """Refuse by rate, channels, length or decoded size, be they declared or counted."""
    if not limits.min_rate_hz <= rate <= limits.max_rate_hz:
        what = f"its rate is {rate} Hz; the limits are {limits.min_rate_hz} to {limits.max_rate_hz} Hz"
        refuse(shown, what, "Resample it, for example to 48000 Hz, or correct its header")
    if not 1 <= channels <= limits.max_channels:
        what = f"it has {channels} channels; the limits are 1 to {limits.max_channels}"
        refuse(shown, what, "Mix it down; arrays are [samples, channels]")
    if frames > limits.max_seconds * rate:
        what = f"it lasts at least {frames / rate:.1f} s; the limit is {limits.max_seconds:g} s"
        refuse(shown, what, "Cut it into shorter recordings")
    if frames * channels * 4 > limits.max_decoded_bytes:
        what = f"it decodes to at least {frames * channels * 4} bytes; the limit is {limits.max_decoded_bytes}"
        refuse(shown, what, "Use fewer channels, a lower rate or a shorter part")


def _check_values(shown: str, limits: AudioLimits, mono: NDArray[np.float32], at_second: float) -> None:
    peak = float(np.max(np.abs(mono))) if mono.size else 0.0  # NaN passes through max
    if not np.isfinite(peak):
        what = f"it holds NaN or infinite samples in the block that begins at {at_second:.2f} s"
        refuse(shown, what, "Replace them by numbers and save it again")
    if peak > limits.max_peak:
        what = f"a sample of {peak:.6g} lies beyond the limit of {limits.max_peak:g} (full scale is 1)"
        refuse(shown, what, "Divide the samples by their full scale, for 16-bit values 32768")


def _check_extent(shown: str, extent: audio_containers.Extent | None) -> None:
    if extent is None:
        return
    if extent.problem:
        refuse(shown, extent.problem, _RE_ENCODE)
    if extent.missing_bytes:
        what = f"is truncated: {extent.present_bytes} of {extent.declared_bytes} declared bytes are there"
        refuse(shown, what, "Copy or download it again, or re-encode what is left (ffmpeg -i INPUT OUTPUT.wav)")


@dataclass
class Meter:
    """Counts, checks and averages blocks as they come."""

    shown: str
    limits: AudioLimits
    rate: int
    channels: int
    frames: int = 0

    def add(self, block: Block) -> NDArray[np.float32]:
        """`[samples, channels]` to mono `[samples]`."""
        frames, channels = block.shape
        self.channels = max(self.channels, channels)
        _check_shape(self.shown, self.limits, self.rate, self.channels, self.frames + frames)
        with np.errstate(over="ignore", invalid="ignore"):  # NaN and overflow are looked for next
            mono: NDArray[np.float32] = block[:, 0] if channels == 1 else block.mean(axis=1, dtype=np.float32)
        _check_values(self.shown, self.limits, mono, self.frames / self.rate)
        self.frames += frames
        return np.ascontiguousarray(mono)

    def waveform(self, mono: bytearray) -> Waveform:
        """Of all samples that `add` gave."""
        if not self.frames:
            refuse(self.shown, "it holds 0 samples", "Give a recording of at least one sample")
        samples = np.frombuffer(mono, dtype=np.float32)
        samples.flags.writeable = False
        return Waveform(samples, self.rate, self.shown, self.channels)


def _array_of(source: Any, shown: str) -> NDArray[Any]:
    """Of lists of numbers, torch's tensors and whatever else numpy can read."""
    try:
        return np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:
        refuse(shown, f"numpy cannot read this {type(source).__name__} ({error})", "Give a numpy array of samples")


def _from_array(array: NDArray[Any], rate: int | None, shown: str, limits: AudioLimits) -> Waveform:
    if rate is None:
        remedy = "Give rate= (to a processor sampling_rate=) in samples per second"
        refuse(shown, "an array says nothing about its rate", remedy)
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
        refuse(shown, f"the rate is {rate!r}", "Give a whole number of samples per second")
    if array.ndim not in (1, 2):
        refuse(shown, f"the array has the shape {array.shape}", "Give [samples] or [samples, channels]")
    scale = _INTEGER_SCALE.get(array.dtype.name)
    if scale is None and array.dtype != np.uint8 and array.dtype.kind != "f":
        refuse(
            shown,
            f"the array holds {array.dtype.name}",
            "Give floats (full scale 1), int8, int16, int32 or uint8",
        )
    frames, channels = array.shape if array.ndim == 2 else (len(array), 1)
    _check_shape(shown, limits, int(rate), channels, frames)
    with np.errstate(over="ignore"):
        values = array.astype(np.float32) if scale is None else array.astype(np.float32) / np.float32(scale)
    if array.dtype == np.uint8:  # as in WAV files: silence is 128
        values = (values - np.float32(128)) / np.float32(128)
    meter = Meter(shown, limits, int(rate), channels)
    return meter.waveform(bytearray(meter.add(values.reshape(frames, channels)).data))


def _decode(file: BinaryIO, size: int, shown: str, limits: AudioLimits) -> Waveform:
    mono = bytearray()
    for meter, block in decoded_blocks(file, size, shown, limits):  # noqa: B007 - the last one knows the whole
        mono += block.data
    return meter.waveform(mono)


def decoded_blocks(
    file: BinaryIO, size: int, shown: str, limits: AudioLimits
) -> Iterator[tuple[Meter, NDArray[np.float32]]]:
    """Mono blocks `[samples]` of an opened file, each with the meter of all so far; at least one, maybe empty.

    The time that the reader takes between two blocks does not count against `max_decode_seconds`.

    Raises:
        AudioError: while reading, as `load_audio`; what came before was no whole recording then.
    """
    extent = audio_containers.measure(file, size)
    _check_extent(shown, extent)
    starts = (0,) if extent is None else extent.links
    clock, meter = Deadline(limits.max_decode_seconds), None
    for start, end in zip(starts, (*starts[1:], size), strict=True):
        link = _decode_link(MeteredFile(file, start, end - start, clock), shown, limits, meter)
        for meter, block in link:
            with clock.paused():
                yield meter, block


def _decode_link(
    file: MeteredFile, shown: str, limits: AudioLimits, meter: Meter | None
) -> Iterator[tuple[Meter, NDArray[np.float32]]]:
    """Decode one recording, or the next link of a chained Ogg file after those before."""
    try:
        with audio_decoding.open_decoder(file, Path(shown).suffix.lower()) as opened:
            _check_shape(shown, limits, opened.rate, opened.channels, opened.declared_frames or 0)
            meter = meter or Meter(shown, limits, opened.rate, opened.channels)
            if opened.rate != meter.rate:
                what = f"its rate changes from {meter.rate} to {opened.rate} Hz"
                refuse(shown, what, "Split it where the rate changes")
            yield meter, np.zeros(0, np.float32)
            yield from _drain(opened, file, meter)
    except audio_decoding.NotRecognisedError as error:
        _check_time(shown, limits, file)
        raise AudioError(f"{shown}: {error}. Give an audio file (wav, flac, ogg, mp3, m4a, ...).") from None


def _drain(opened: Opened, file: MeteredFile, meter: Meter) -> Iterator[tuple[Meter, NDArray[np.float32]]]:
    before = meter.frames
    blocks = iter(opened.blocks)
    while True:
        try:
            block = next(blocks, None)
        except audio_decoding.DECODER_ERRORS:
            _check_time(meter.shown, meter.limits, file)
            progress = _progress(opened, meter.frames - before)
            what = f"is damaged or truncated: decoding failed after {progress}"
            raise AudioError(f"{meter.shown}: {what}. {_RE_ENCODE}.") from None
        if block is None:
            break
        yield meter, meter.add(block)
        _check_time(meter.shown, meter.limits, file)
    _check_time(meter.shown, meter.limits, file)
    _check_complete(opened, file, meter.shown, meter.frames - before)


def _check_time(shown: str, limits: AudioLimits, file: MeteredFile) -> None:
    if file.out_of_time():
        what = f"decoding took longer than the limit of {limits.max_decode_seconds:g} s"
        refuse(shown, what, "Convert it to WAV or FLAC first, or raise max_decode_seconds")


def _progress(opened: Opened, frames: int) -> str:
    declared = opened.declared_frames
    read = f"{frames / opened.rate:.3f} s"
    return read if declared is None else f"{read} of {declared / opened.rate:.3f} s declared"


def _check_complete(opened: Opened, file: MeteredFile, shown: str, frames: int) -> None:
    declared = opened.declared_frames
    if declared is not None and frames < declared - opened.slack_frames:
        what = f"is truncated: only {_progress(opened, frames)} could be read"
        refuse(shown, what, "Copy or download it again, or re-encode what is left")
    unread = 0 if opened.reads_to_end else audio_decoding.unread_bytes(file)
    if unread:
        what = f"its header declares {frames / opened.rate:.3f} s, but {unread} bytes follow"
        refuse(shown, what, _RE_ENCODE)
