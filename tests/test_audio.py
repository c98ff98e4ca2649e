"""`alm.audio`: what is decoded, what is refused, and that nothing is cut silently."""

from __future__ import annotations

import io
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from audio_files import (
    FFMPEG_FORMATS,
    SNDFILE_FORMATS,
    encode,
    encode_ffmpeg,
    encoded,
    scene,
    with_flac_rate,
    with_flac_total,
    with_wav_field,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from alm import testing
from alm.audio import (
    FLOOR_DB,
    AudioLimits,
    Waveform,
    is_silent,
    load_audio,
    peak_db,
    rms_db,
    waveform_to_wav_bytes,
    windows,
)
from alm.errors import AudioError, ConfigError

LOSSLESS = ("wav", "wav24", "float", "rf64", "w64", "aiff", "au", "caf", "flac")


# --- what can be read ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*SNDFILE_FORMATS, *FFMPEG_FORMATS])
def test_every_format_gives_the_recording(kind: str) -> None:
    rate = (SNDFILE_FORMATS.get(kind) or FFMPEG_FORMATS[kind])[2]
    waveform = load_audio(encoded(kind), name=f"scene.{kind}")
    wanted = scene(1.0, rate)
    assert waveform.rate == rate and waveform.channels == 1 and waveform.source == f"scene.{kind}"
    assert abs(waveform.seconds - 1.0) < 0.1  # AAC and Opus count whole packets
    if kind in LOSSLESS:
        np.testing.assert_allclose(waveform.samples, wanted, atol=2**-14)
    else:
        assert abs(rms_db(waveform.samples) - rms_db(wanted)) < 1.0


def test_the_sound_of_a_video_is_read() -> None:
    video = encode_ffmpeg(scene(), 44_100, "mp4", "aac", video=True)
    assert abs(load_audio(video).seconds - 1.0) < 0.1


def test_paths_bytes_streams_and_arrays_give_the_same(tmp_path: Path) -> None:
    samples = scene()
    wav = encode(samples, 44_100, "WAV", "FLOAT")
    path = tmp_path / "a recording.wav"
    path.write_bytes(wav)
    with path.open("rb") as stream:
        results = [load_audio(path), load_audio(str(path)), load_audio(wav), load_audio(stream)]
    results += [load_audio(memoryview(wav)), load_audio(io.BytesIO(wav)), load_audio(samples, rate=44_100)]
    assert {result.sha256 for result in results} == {results[0].sha256}
    assert results[0].source == "a recording.wav" and results[0] == results[-1]
    assert load_audio(results[0]) is results[0]
    assert load_audio(samples, rate=44_101) != results[0]  # control: the rate is part of the content


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "float16", "float64"])
def test_array_types_share_one_scale(dtype: str) -> None:
    values = np.array([-0.5, 0.0, 0.25])
    scale = {"int8": 128, "int16": 2**15, "int32": 2**31}.get(dtype, 1)
    array = (values * 128 + 128 if dtype == "uint8" else values * scale).astype(dtype)
    np.testing.assert_array_equal(load_audio(array, rate=8_000).samples, values.astype(np.float32))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "array"])
def test_channels_are_averaged(kind: str) -> None:
    stereo = np.stack([scene(0.2, seed=1), scene(0.2, seed=2)], axis=1)
    source = stereo if kind == "array" else encode(stereo, 44_100, kind, "PCM_16")
    waveform = load_audio(source, rate=44_100 if kind == "array" else None)
    assert waveform.channels == 2
    np.testing.assert_allclose(waveform.samples, stereo.mean(axis=1), atol=2**-14)


def test_silence_and_a_single_sample_are_recordings() -> None:
    assert is_silent(load_audio(encode(np.zeros(800, np.float32), 8_000, "WAV")).samples)
    assert load_audio(np.ones(1, np.float32), rate=8_000).resampled(16_000).shape == (2,)


def test_a_chained_ogg_is_read_whole() -> None:
    parts = [scene(0.5, seed=1), np.stack([scene(0.3, seed=2)] * 2, axis=1)]
    chained = b"".join(encode(part, 44_100, "OGG", "VORBIS") for part in parts)
    waveform = load_audio(chained)
    assert len(waveform.samples) == sum(len(part) for part in parts) and waveform.channels == 2
    assert sf.info(io.BytesIO(chained)).frames == len(parts[0])  # control: the decoder alone stops there
    with pytest.raises(AudioError, match="rate changes from 44100 to 22050"):
        load_audio(chained + encode(parts[0], 22_050, "OGG", "VORBIS"))


def test_a_streamed_flac_or_wav_without_a_length_is_read_whole() -> None:
    assert len(load_audio(with_flac_total(encoded("flac"), 0)).samples) == 44_100
    assert len(load_audio(with_wav_field(encoded("wav"), 40, 0xFFFF_FFFF)).samples) == 44_100


def test_an_mp3_without_a_count_is_read_whole() -> None:
    tagged = encoded("mp3", 3.0)
    start = 4 + max(tagged.find(b"Xing"), tagged.find(b"Info"))  # the tag hides in the first frame
    bare = tagged[: start - 4] + bytes(4) + tagged[start:]
    assert abs(load_audio(bare).seconds - 3.0) < 0.1


def test_the_extension_names_formats_without_a_header() -> None:
    raw = encode((scene(1.0, 8_000) * 32_767).astype(np.int16), 8_000, "RAW", "ULAW")
    assert load_audio(raw, name="prompt.ulaw").seconds == 1.0
    assert load_audio(encoded("wav"), name="misnamed.ulaw").rate == 44_100


# --- what is refused -------------------------------------------------------------------------------


def refuse(source: object, *words: str, **options: object) -> str:
    """The message of the refusal, after checking that it names the words and no address or path."""
    began = time.monotonic()
    with pytest.raises(AudioError) as caught:
        load_audio(source, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "0x" not in text and "object at" not in text and "/" not in text.split(":")[0], text
    assert time.monotonic() - began < 5 and caught.value.__cause__ is None
    return text


@pytest.mark.parametrize("kind", [*sorted(set(SNDFILE_FORMATS) - {"wav24"}), "m4a", "aac", "webm", "wv"])
@pytest.mark.parametrize("kept", [0.4, 0.93])
def test_a_truncated_file_is_refused(kind: str, kept: float) -> None:
    whole = encoded(kind, 2.0)
    refuse(whole[: int(kept * len(whole))], f"cut.{kind}", name=f"cut.{kind}")


def test_a_truncation_says_how_much_there_is() -> None:
    wav, flac, mp3 = (encoded(kind, 2.0) for kind in ("wav", "flac", "mp3"))
    refuse(wav[: 44 + 88_200], "88200 of 176400 declared bytes")
    refuse(flac[: len(flac) // 2], "of 2.000 s declared", "damaged or truncated")
    refuse(mp3[: len(mp3) // 2], "of 2.000 s declared could be read")


def test_a_truncated_mp4_with_its_index_in_front_is_refused(tmp_path: Path) -> None:
    whole = encode_ffmpeg(scene(2.0), 44_100, "mp4", "aac", index_first=tmp_path / "a.mp4")
    assert whole.index(b"moov") < whole.index(b"mdat") and abs(load_audio(whole).seconds - 2.0) < 0.1
    for kept in (0.5, 0.95):
        refuse(whole[: int(kept * len(whole))], "truncated")


def test_a_lying_header_is_refused() -> None:
    wav, flac = encoded("wav", 2.0), encoded("flac", 2.0)
    refuse(with_wav_field(wav, 40, 1 << 20), "of 1048576 declared bytes")
    refuse(with_wav_field(wav, 40, 0), "declares 0 bytes of audio although 176400")
    refuse(with_wav_field(wav, 40, 100), "bytes that are no known part of it follow")
    refuse(with_flac_total(flac, 90_000), "2.000 s of 2.041 s declared")
    refuse(with_flac_total(flac, 1_000), "declares 0.023 s", "bytes follow")
    refuse(with_flac_total(flac, (1 << 36) - 1), "the limit is 3600 s")
    refuse(wav + wav, "several recordings")
    refuse(encoded("mp3") * 2, "bytes follow")


def test_rates_and_channels_have_bounds() -> None:
    wav = encoded("wav", 0.1)
    refuse(with_wav_field(wav, 24, 1), "1 Hz", "1000 to 384000")
    refuse(with_wav_field(wav, 24, 768_000), "768000 Hz")
    refuse(with_flac_rate(encode(np.zeros((1000, 8), np.float32), 48_000, "FLAC"), 655_350), "655350 Hz")
    refuse(encode(np.zeros((100, 64), np.float32), 8_000, "WAV"), "64 channels", "1 to 32")
    refuse(np.zeros((2, 1_000), np.float32), "1000 channels", "[samples, channels]", rate=8_000)


@pytest.mark.parametrize("rate", [1, 0, -8_000, 768_000, 8_000.5, True, None, float("nan")])
def test_array_rates_have_bounds(rate: object) -> None:
    refuse(np.zeros(100, np.float32), "array", rate=rate)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    samples = np.zeros((40_000, 2), np.float32)
    samples[30_000, 1] = bad
    refuse(samples, "NaN or infinite", rate=8_000)
    refuse(encode(samples, 8_000, "WAV", "FLOAT"), "NaN or infinite", "3.07 s")
    refuse(np.array([1e300]), "NaN or infinite", rate=8_000)


def test_unscaled_and_odd_arrays_are_refused() -> None:
    refuse(np.array([3_000.0, -20_000.0]), "20000", "32768", rate=8_000)
    refuse(np.zeros(0, np.float32), "0 samples", rate=8_000)
    refuse(np.zeros((2, 2, 2), np.float32), "(2, 2, 2)", rate=8_000)
    for dtype in ("bool", "complex64", "int64", "object", "U3"):
        refuse(np.zeros(9, dtype), "the array holds", rate=8_000)


def test_what_is_not_audio_is_refused() -> None:
    refuse(b"", "0 bytes")
    refuse(encode(np.zeros(0, np.float32), 8_000, "WAV"), "0 samples")
    png = b"\x89PNG\r\n\x1a\n" + bytes(500)
    for junk in (b"a" * 3_000, bytes(9_000), png, np.random.default_rng(0).bytes(50_000), b"RIFF", b"OggS"):
        refuse(junk, "junk", name="junk")
    refuse(encode_ffmpeg_without_sound(), "no audio track")
    refuse(3, "type int")
    refuse(io.StringIO("text"), "binary mode")
    refuse(encoded("wav"), "rate=8000", rate=8_000)


def encode_ffmpeg_without_sound() -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        picture = output.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        output.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        output.mux(picture.encode(None))
    return buffer.getvalue()


def test_playlists_cannot_name_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded("wav"))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n"
    refuse(playlist.encode(), "list.m3u8", name="list.m3u8")
    refuse(f"ffconcat version 1.0\nfile '{secret}'\n".encode(), "list", name="list.ffconcat")


def test_paths_that_are_no_readable_file_are_refused_without_waiting(tmp_path: Path) -> None:
    refuse(tmp_path, "directory")
    refuse(tmp_path / "none.wav", "none.wav", "no such file")
    refuse("https://example.org/a.wav", "a.wav", "not fetched")
    refuse("a\0b.wav", "a?b.wav")
    refuse(tmp_path / ("x" * 300), "ENAMETOOLONG")
    pipe, link = tmp_path / "pipe.wav", tmp_path / "loop.wav"
    os.mkfifo(pipe)
    link.symlink_to(link)
    refuse(pipe, "pipe.wav", "pipe, socket or device")
    refuse(link, "loop.wav", "ELOOP")
    refuse("/dev/zero", "zero", "device")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        refuse(tmp_path / "s", "socket")


def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "locked.wav"
    path.write_bytes(encoded("wav", 0.1))
    path.chmod(0)
    if os.geteuid() != 0:
        refuse(path, "locked.wav", "no permission")
        return
    assert load_audio(path).seconds > 0  # control: root reads everything, so the file itself is good
    os.seteuid(65_534)
    try:
        refuse(path, "locked.wav", "no permission")
    finally:
        os.seteuid(0)


# --- bounds of memory and time ---------------------------------------------------------------------


@pytest.fixture
def peak_bytes() -> Callable[[], int]:
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return lambda: (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * 1024


def silent_bomb(container: str, subtype: str | None, rate: int, seconds: int) -> bytes:
    """Hours of silence in few bytes."""
    buffer, block = io.BytesIO(), np.zeros(rate, np.float32)
    with sf.SoundFile(buffer, "w", rate, 1, format=container, subtype=subtype) as file:
        for _ in range(seconds):
            file.write(block)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["flac", "flac without length", "ogg", "opus", "mp3"])
def test_a_decompression_bomb_ends_at_the_limit(kind: str, peak_bytes: Callable[[], int]) -> None:
    container, subtype, _ = SNDFILE_FORMATS[kind.split()[0]]
    bomb = silent_bomb(container, subtype, 8_000 if kind != "mp3" else 16_000, 240)
    if kind == "flac without length":
        bomb = with_flac_total(bomb, 0)
    limits = AudioLimits(max_seconds=60.0)
    refuse(bomb, "the limit is 60 s", limits=limits)
    refuse(bomb, "the limit is 400000", limits=AudioLimits(max_decoded_bytes=400_000))
    refuse(bomb, f"{len(bomb) - 1} bytes", limits=AudioLimits(max_file_bytes=len(bomb) - 1))
    assert peak_bytes() < 64 * 2**20
    assert load_audio(bomb).seconds > 239  # control: without the limits it decodes


def test_a_decoder_that_takes_too_long_is_stopped() -> None:
    for kind in ("wav", "mp3", "m4a", "wv"):
        refuse(
            encoded(kind),
            "took longer than the limit of 1e-09 s",
            limits=AudioLimits(max_decode_seconds=1e-9),
        )


def test_an_endless_stream_is_read_to_the_limit_only() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            self.given += len(buffer)
            return len(buffer)

    endless = Endless()
    refuse(endless, "more than 5000000 bytes", limits=AudioLimits(max_file_bytes=5_000_000))
    assert endless.given == 5_000_001


def test_a_pipe_read_as_a_stream_is_a_recording() -> None:
    read_end, write_end = os.pipe()
    wav = encoded("wav")

    def write() -> None:
        with os.fdopen(write_end, "wb") as out:
            out.write(wav)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(read_end, "rb") as stream:
        assert load_audio(stream, name="piped.wav").seconds == 1.0
    thread.join()


def test_limits_are_checked_themselves() -> None:
    with pytest.raises(ConfigError, match="max_seconds"):
        AudioLimits(max_seconds=0)
    with pytest.raises(ConfigError, match="min_rate_hz"):
        AudioLimits(min_rate_hz=9_000, max_rate_hz=8_000)


def test_names_in_messages_are_short_and_printable() -> None:
    text = refuse(b"junk" * 9, "...", ".wav", name="/secret/" + "n" * 300 + "\n\x1b[31m.wav")
    assert "secret" not in text and "\n" not in text and "\x1b" not in text and len(text) < 300


# --- Waveform --------------------------------------------------------------------------------------


def test_a_waveform_cannot_be_changed() -> None:
    samples = np.zeros(100, np.float32)
    waveform = Waveform(samples, 8_000)
    samples[0] = 1.0
    assert waveform.samples[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        waveform.samples[0] = 1.0
    assert waveform == Waveform(np.zeros(100, np.float32), 8_000, "other name")
    assert len({waveform, Waveform(np.zeros(100, np.float32), 8_000)}) == 1
    assert waveform != Waveform(np.zeros(101, np.float32), 8_000) and waveform != "text"


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros(0, np.float32), 8_000),
        (np.zeros(4), 8_000),
        (np.zeros(4, np.float32), 0),
        (np.full(4, np.nan, np.float32), 8_000),
        (np.zeros((2, 2), np.float32), 8_000),
    ],
)
def test_a_waveform_refuses_what_is_none(samples: np.ndarray, rate: int) -> None:  # type: ignore[type-arg]
    with pytest.raises(AudioError):
        Waveform(samples, rate)


@given(st.integers(1, 5_000), st.sampled_from([4_000, 8_000, 11_025, 44_100]), st.sampled_from([16_000, 44_100]))
@settings(max_examples=60, deadline=None)
def test_resampling_gives_the_promised_length(length: int, rate: int, wanted: int) -> None:
    samples = Waveform(np.ones(length, np.float32), rate).resampled(wanted)
    assert samples.shape == (max(1, round(length * wanted / rate)),) and samples.dtype == np.float32


def test_resampling_keeps_a_tone_and_removes_what_would_alias() -> None:
    for frequency, kept in ((1_000.0, True), (7_000.0, False)):
        source = testing.tone(1.0, frequency, rate=44_100)
        level = rms_db(source.resampled(8_000)[1_000:-1_000])
        assert abs(level - rms_db(source.samples)) < 0.1 if kept else level < -80
    assert source.resampled(44_100) is source.samples


def test_segments_have_exact_bounds() -> None:
    waveform = Waveform(np.arange(1_000, dtype=np.float32) / 1_000, 1_000, "ramp")
    part = waveform.segment(0.25, 0.75)
    np.testing.assert_array_equal(part.samples, waveform.samples[250:750])
    assert part.source == "ramp" and waveform.segment(-1, 99) == waveform
    for start, end in ((0.5, 0.5), (2.0, 3.0), (0.7, 0.2), (float("nan"), 1.0)):
        with pytest.raises(AudioError, match="ramp"):
            waveform.segment(start, end)


def test_wav_bytes_play_the_same_sound() -> None:
    source = testing.two_tone_scene()
    again = load_audio(waveform_to_wav_bytes(source))
    np.testing.assert_allclose(again.samples, source.samples, atol=2**-15)
    loud = load_audio(waveform_to_wav_bytes(Waveform(np.array([2.0, -2.0], np.float32), 8_000)))
    np.testing.assert_allclose(loud.samples, [1.0, -1.0], atol=1e-4)  # clipped, not wrapped around


# --- windows and levels ----------------------------------------------------------------------------


@given(st.floats(1e-3, 4_000), st.floats(0.5, 40), st.floats(0, 0.9))
@settings(max_examples=300, deadline=None)
def test_windows_cover_everything_in_order(seconds: float, window: float, share: float) -> None:
    overlap = share * window
    spans = windows(seconds, window, overlap)
    assert spans[0][0] == 0.0 and spans[-1][1] == seconds
    assert [start for start, _ in spans] == [index * (window - overlap) for index in range(len(spans))]
    for (start, end), (later, _) in pairwise(spans):
        assert end == start + window and start < later < end + 1e-9
    for start, end in spans:
        assert 0 < end - start <= window + 2e-9
        assert len(spans) == 1 or end - start > overlap  # a rest already covered is no window of its own


def test_windows_of_the_worked_example() -> None:
    assert windows(19.5, 10, 1) == [(0, 10), (9, 19), (18, 19.5)]
    assert windows(19.0, 10, 1) == [(0, 10), (9, 19)]
    assert windows(0.5, 10, 1) == [(0, 0.5)]
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(AudioError):
            windows(seconds, 10, 1)
    for window, overlap in ((1, 1), (1, 2), (0, 0), (1, -1)):
        with pytest.raises(ConfigError):
            windows(5, window, overlap)


def test_levels() -> None:
    assert abs(rms_db(testing.tone(level=1.0).samples) - -3.01) < 0.01
    assert abs(peak_db(testing.click_train(level=0.5).samples) - -6.02) < 0.01
    quiet = testing.silence().samples
    assert rms_db(quiet) == peak_db(quiet) == FLOOR_DB == rms_db(quiet[:0]) == peak_db(quiet[:0])
    assert is_silent(quiet) and not is_silent(testing.click_train().samples)


@pytest.fixture
def signals() -> Iterator[Callable[[int], list[Waveform]]]:
    makers = (testing.tone, testing.click_train, testing.noise, testing.sweep, testing.two_tone_scene)
    yield lambda seed: [make(0.5, seed=seed) for make in makers]  # type: ignore[operator]


def test_test_signals_depend_on_the_seed_only(signals: Callable[[int], list[Waveform]]) -> None:
    assert signals(1) == signals(1)
    assert all(first != second for first, second in zip(signals(1), signals(2), strict=True))
    assert all(len(signal.samples) == 8_000 and not is_silent(signal.samples) for signal in signals(3))


def test_tensors_and_lists_are_arrays_of_samples() -> None:
    samples = np.sin(np.arange(800) / 10).astype(np.float32)
    plain = load_audio(samples, rate=8000)
    for other in (torch.from_numpy(samples), samples.tolist()):
        np.testing.assert_array_equal(load_audio(other, rate=8000).samples, plain.samples)
    refused = ((["a", "b"], "array"), ([[1.0], [1.0, 2.0]], "Give a numpy array"), (samples, "sampling_rate="))
    for wrong, said in refused:
        with pytest.raises(AudioError, match=said):
            load_audio(wrong, rate=None if wrong is samples else 8000)
