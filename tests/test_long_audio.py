"""Long recordings and streams: the same windows as in memory, heard the same, with memory that does not grow."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import tiny_model
import torch
from typer.testing import CliRunner

from alm import cli, long_audio
from alm.aligner.merging import merge_groups, merge_windows, merged_mean
from alm.assistant import Assistant
from alm.audio import Waveform, load_audio, windows
from alm.configuration import AlmConfig
from alm.errors import AudioError, ConfigError
from alm.evidence import Tag
from alm.hearing import WINDOWS_AT_ONCE, Ears, HeardRecording
from alm.listening import Listening
from alm.long_audio import LongRecording, WindowCutter, open_audio
from alm.raw_audio import raw_blocks
from alm.testing import noise

RATE = 16_000


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LongRecording, Waveform]:
    """Eighteen seconds, quiet and loud, that stay in their file; and the same in memory."""
    monkeypatch.setattr(long_audio, "HELD_BYTES", 100_000)
    path = tmp_path / "long.flac"
    samples = np.concatenate([noise(9.0).samples * 0.2, noise(9.3, seed=1).samples * 3])
    sf.write(path, samples, RATE, subtype="PCM_16")
    opened = open_audio(path)
    assert isinstance(opened, LongRecording)
    return opened, load_audio(path)


def test_a_long_recording_tells_what_the_one_in_memory_tells(long: tuple[LongRecording, Waveform]) -> None:
    there, held = long
    assert (there.seconds, there.peak, there.rate, there.source) == (held.seconds, held.peak, held.rate, held.source)
    assert there == held and hash(there) == hash(held)
    spans = windows(held.seconds, 2.0, 0.5)
    parts = [(a.samples, b.samples) for a, b in zip(there.segments(spans), held.segments(spans), strict=True)]
    assert all(np.array_equal(a, b) for a, b in parts)
    assert np.array_equal(there.segment(17.0, 99.0).samples, held.segment(17.0, 99.0).samples)
    with pytest.raises(AudioError, match="in order"):
        list(there.segments([(9.0, 11.0), (2.0, 3.0)]))


def test_short_ones_are_held_and_bytes_and_streams_may_stay_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    sf.write(file, noise(3.0).samples, RATE, format="WAV")
    held = open_audio(file.getvalue())
    assert isinstance(held, Waveform) and held == load_audio(file.getvalue())
    monkeypatch.setattr(long_audio, "HELD_BYTES", 1000)
    file.seek(0)
    for source in (file.getvalue(), file):
        stays = open_audio(source, name="given.wav")
        assert isinstance(stays, LongRecording) and stays == held and stays.source == "given.wav"
        assert open_audio(stays) is stays


def test_a_file_that_changes_meanwhile_is_refused(long: tuple[LongRecording, Waveform]) -> None:
    there, held = long
    assert isinstance(there.content, Path)
    for changed in (held.samples[:-RATE], np.tile(held.samples, 2)):
        sf.write(there.content, changed, RATE, subtype="PCM_16")
        with pytest.raises(AudioError, match="changed"):
            list(there.blocks())
    with pytest.raises(AudioError, match="limit is 5 s"):
        open_audio(there.content, limits=replace(long_audio.LONG_LIMITS, max_seconds=5.0))


def small(**changes: Any) -> AlmConfig:
    """Two tags and one encoder, which is enough to listen with."""
    values = tiny_model.config(["dog", "cat"]).to_dict()
    values["encoders"] = {"whisper": values["encoders"]["whisper"]}
    values["branches"] = [{**values["branches"][0], "encoders": ["whisper"]}]
    return AlmConfig(**{**values, **changes})


def assistant(**changes: Any) -> Assistant:
    settings = small(**changes)
    model, processor = tiny_model.model(settings), tiny_model.processor(settings)
    return Assistant(model, processor, Ears(model, processor), tiny_model.preset(), True)


def same(a: HeardRecording, b: HeardRecording) -> bool:
    assert a.scores is not None and b.scores is not None
    scores = [(a.scores.whole, b.scores.whole), (a.scores.stretches, b.scores.stretches)]
    alike = a.sounds == b.sounds and a.spans == b.spans and torch.equal(a.scores.times, b.scores.times)
    return alike and torch.equal(a.tokens, b.tokens) and all(torch.equal(x, y) for x, y in scores)


def test_what_is_heard_of_it_is_the_same_to_the_bit(long: tuple[LongRecording, Waveform]) -> None:
    there, held = long
    one, other = assistant(), assistant()
    assert same(one.ears.hear(there), other.ears.hear(held))
    options = {"max_new_tokens": 4}
    assert one.conversation().ask("What?", audio=there, **options).text == (
        other.conversation().ask("What?", audio=held, **options).text
    )


@pytest.mark.parametrize("chunk", [777, 16_000, 10**9])
def test_a_stream_with_its_peak_known_is_heard_as_the_file(
    long: tuple[LongRecording, Waveform], chunk: int
) -> None:
    held, ears = long[1], assistant().ears
    stream = Listening(ears, RATE, peak=held.peak, windows_at_once=WINDOWS_AT_ONCE)
    for first in range(0, len(held.samples), chunk):
        stream.push(held.samples[first : first + chunk])
    assert same(stream.finish(), ears.hear(held))


def test_a_stream_whose_peak_is_not_known_differs_before_its_loudest_moment_alone(
    long: tuple[LongRecording, Waveform],
) -> None:
    held, ears = long[1], assistant().ears
    whole = ears.hear(held)
    found = []
    for chunk in (4000, 10**9):
        stream = Listening(ears, RATE)
        assert stream.heard() is None
        for first in range(0, len(held.samples), chunk):
            stream.push(held.samples[first : first + chunk])
        assert stream.heard() is not None
        found.append(stream.finish())
    assert same(*found), "the chunks change nothing"
    loudest = int(np.abs(held.samples).argmax()) / RATE
    away = (found[0].tokens - whole.tokens).abs().amax((1, 2))
    for span, difference in zip(whole.spans, away.tolist(), strict=True):
        # Alone and in groups of three windows differ by rounding.
        assert difference < 1e-5 if span[1] > loudest else difference > 1e-3, (span, loudest)


@pytest.mark.parametrize("seconds", [0.3, 2.0, 3.5, 3.50005, 7.3, 8.0])
@pytest.mark.parametrize("rate", [8000, 11_025])
def test_streamed_windows_are_those_of_the_whole(seconds: float, rate: int) -> None:
    whole = noise(seconds, rate=rate)
    cutter = WindowCutter(rate, 2.0 / 3, 0.5 / 3, 60.0)
    cut = [w for first in range(0, len(whole.samples), 999) for w in cutter.push(whole.samples[first : first + 999])]
    cut += cutter.finish()
    spans = windows(whole.seconds, 2.0 / 3, 0.5 / 3)
    assert np.allclose([s for s, _ in cut], spans, rtol=0, atol=1e-9)
    assert all(np.array_equal(w.samples, whole.segment(*s).samples) for (_, w), s in zip(cut, spans, strict=True))


def test_a_stream_is_asked_about_as_the_file_is(long: tuple[LongRecording, Waveform]) -> None:
    held, options = long[1], {"max_new_tokens": 4}
    one, other = assistant(), assistant()
    stream = Listening(one.ears, RATE, peak=held.peak, windows_at_once=WINDOWS_AT_ONCE)
    with pytest.raises(AudioError, match=r"stream: 0\.0 s have come"):
        stream.sound()
    half = len(held.samples) // 2
    stream.push(held.samples[:half])
    early = stream.sound()
    assert 0 < early.seconds == stream.spans[-1][1] < half / RATE, "as far as whole windows go"
    stream.push(held.samples[half:])
    stream.finish()
    sound = stream.sound("call")
    assert (sound.seconds, sound.source, sound.sha256 != early.sha256) == (held.seconds, "call", True)
    chat, of_file = one.conversation(), other.conversation()
    answer, known = chat.ask("What?", audio=sound, **options), of_file.ask("What?", audio=held, **options)
    assert (answer.text, answer.evidence[0].tags) == (known.text, known.evidence[0].tags)
    assert answer.usage.audio_tokens == known.usage.audio_tokens and answer.usage.encoded_recordings == 0
    assert chat.ask("And then?", **options).text == of_file.ask("And then?", **options).text, "it is remembered"
    with pytest.raises(AudioError, match="call: .*samples are gone"):
        one.processor.feature_extractor([sound])


@pytest.mark.parametrize("chunk", [777, 10**9])
def test_events_of_a_stream_come_once_and_are_those_of_the_whole(
    long: tuple[LongRecording, Waveform], chunk: int
) -> None:
    held, ears, told = long[1], assistant().ears, []
    last: Any = ears.model.model.hearing.tag_head.net[-1]
    middle = ears.hear(held).scores.stretches.float().median(0).values
    with torch.no_grad():  # each class is heard about half of the time
        last.weight.mul_(1000)
        last.bias.mul_(1000).sub_(middle * 1000)
    whole = assistant().ears
    whole.model = ears.model
    stream = Listening(ears, RATE, peak=held.peak, windows_at_once=WINDOWS_AT_ONCE)
    for first in range(0, len(held.samples), chunk):
        stream.push(held.samples[first : first + chunk])
        new = stream.events()
        assert all(e.end < stream.spans[-1][1] for e in new)
        told += new
    before = len(told)
    stream.finish()
    told += stream.events()
    assert stream.events() == [] and len(told) > before > 1, "control: some end within the stream, some with it"
    assert sorted(told, key=_when) == sorted(whole.hear(held).sounds.tags, key=_when)


def _when(event: Tag) -> tuple[float, str]:
    return event.start, event.label


@pytest.mark.parametrize("encoding", ["s16", "f32"])
def test_raw_samples_are_read_to_their_end(encoding: str) -> None:
    samples = noise(0.9).samples * 0.5
    raw = (samples * 32_768).astype("<i2") if encoding == "s16" else samples.astype("<f4")
    blocks = list(raw_blocks(io.BytesIO(raw.tobytes() + b"\1"), RATE, encoding, "pipe"))
    assert len(blocks) == 4 and np.allclose(np.concatenate(blocks), samples, rtol=0, atol=1 / 32_768)
    assert list(raw_blocks(io.BytesIO(b"\1"), RATE, encoding, "pipe")) == []
    for start, name in ((b"RIFF\0\0\0\0", "WAV"), (b"fLaC", "FLAC"), (b"OggS", "Ogg"), (b"ID3\4", "MP3")):
        with pytest.raises(AudioError, match=f"pipe: is a {name} file, not raw samples"):
            list(raw_blocks(io.BytesIO(start), RATE, encoding, "pipe"))
    assert list(raw_blocks(io.BytesIO(raw.tobytes() + b"RIFF"), RATE, encoding, "pipe")), "control: not at the start"


def test_the_command_listens_to_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "load_assistant", lambda *_, **__: assistant())
    raw = (np.clip(noise(7.5).samples * 0.5, -1, 1) * 32_767).astype("<i2").tobytes()

    def call(*words: str, given: bytes = raw) -> Any:
        return CliRunner().invoke(cli.app, ["listen", *words], input=given, prog_name="alm")

    plain, asked = call(), call("What do you hear?", "--json")
    events = [json.loads(line) for line in asked.stdout.splitlines()]
    answer = events.pop()
    assert plain.exit_code == asked.exit_code == 0 and len(events) == len(plain.stdout.splitlines()) > 0
    assert {"label", "start", "end", "score"} == events[0].keys() and events[0]["label"] in plain.stdout
    assert answer["question"] == "What do you hear?" and answer["evidence"][0]["seconds"] == 7.5
    half = call("--encoding", "f32", "--json", given=noise(7.5).samples.astype("<f4").tobytes())
    assert half.exit_code == 0 and half.stdout.splitlines()
    for words, given, why in ((["--encoding", "mp3"], raw, "s16, f32"), ([], b"", "0 samples"), ([], b"RIFF", "WAV")):
        wrong = call(*words, given=given)
        assert wrong.exit_code == 2 and why in " ".join(wrong.stderr.split()), wrong.stderr


def test_streams_refuse_what_they_cannot_hear() -> None:
    ears = assistant().ears
    for samples in (np.zeros((5, 2)), np.array([np.nan])):
        with pytest.raises(AudioError, match="mono blocks"):
            Listening(ears, RATE).push(samples)
    with pytest.raises(AudioError, match="limit of 20 s"):
        Listening(ears, RATE).push(np.zeros(21 * RATE, np.float32))
    with pytest.raises(AudioError, match="0 samples"):
        Listening(ears, RATE).finish()
    with pytest.raises(ConfigError, match="0 Hz"):
        Listening(ears, 0)


# --- merging ---


def test_neighbours_that_are_alike_merge_and_nothing_else() -> None:
    axes = torch.eye(4)
    rows = axes[[0, 0, 0, 1, 2, 2, 3, 3, 3, 3]][None]
    groups = merge_groups(rows, torch.ones(1, 10, dtype=torch.bool), torch.tensor([4]))
    assert groups[0].tolist() == [0, 0, 0, 1, 2, 2, 3, 3, 3, 3]
    means, mask = merged_mean(rows, groups)
    assert torch.allclose(means[0], axes) and bool(mask.all())


@pytest.mark.parametrize("keep", [1, 2, 5, 13, 40])
def test_merging_keeps_order_and_count_and_does_not_see_padding(keep: int) -> None:
    generator = torch.Generator().manual_seed(keep)
    rows = torch.randn(3, 30, 6, generator=generator)
    mask = torch.arange(30)[None] < torch.tensor([30, 17, 1])[:, None]
    groups = merge_groups(rows.masked_fill(~mask[..., None], 9.0), mask, torch.full((3,), keep))
    for row, real in enumerate((30, 17, 1)):
        own = groups[row, :real]
        assert own[0] == 0 and set((own[1:] - own[:-1]).tolist()) <= {0, 1}, "in order, without gaps"
        assert int(own[-1]) + 1 == min(keep, real) and bool((groups[row, real:] == -1).all())
        alone = merge_groups(rows[row : row + 1, :real], mask[row : row + 1, :real], torch.tensor([keep]))
        assert torch.equal(alone[0], own)
    means, left = merged_mean(rows, groups)
    first = groups[0] == 0
    assert torch.allclose(means[0, 0], rows[0, first].mean(0), atol=1e-6) and int(left[0].sum()) == min(keep, 30)


def test_windows_over_the_budget_merge_and_keep_absolute_time() -> None:
    tokens = torch.nn.functional.layer_norm(torch.randn(9, 3, 8, generator=torch.Generator().manual_seed(0)), (8,))
    tokens[5] = tokens[4]
    spans = windows(18.5, 2.5, 0.5)
    same_tokens, same_spans = merge_windows(tokens, spans, 9)
    assert same_tokens is tokens and same_spans == tuple(spans)
    fewer, merged = merge_windows(tokens, spans, 8)
    assert len(fewer) == 8 and merged[4] == (spans[4][0], spans[5][1]) and merged[5] == spans[6]
    assert torch.allclose(fewer[:5], tokens[:5], atol=1e-4) and torch.allclose(fewer[5:], tokens[6:], atol=1e-4)
    assert torch.allclose(fewer.std(-1, unbiased=False), torch.ones(8, 3), atol=1e-3)


def test_a_token_budget_holds_in_every_way_to_the_model() -> None:
    own = small().tokens_per_window
    tight = small(max_audio_tokens=5 * own + 3)
    recording = noise(seconds=19.0)
    model, processor = tiny_model.model(tight), tiny_model.processor(tight)
    assert processor.feature_extractor.count_windows(recording) == 5 < len(processor.feature_extractor.spans(recording))
    heard = Ears(model, processor).hear(recording)
    assert heard.tokens.shape[0] == 5 and heard.spans[-1][1] == 19.0
    talk = [{"type": "audio", "audio": recording}, {"type": "text", "text": "What?"}]
    inputs = processor.apply_chat_template([{"role": "user", "content": talk}])
    assert int((inputs["input_ids"] == tight.audio_token_id).sum()) == 5 * own
    with torch.no_grad():
        direct = model.get_audio_features(**processor.feature_extractor([recording]))
        assert float((direct - heard.tokens).abs().mean()) < 1e-3
        assert bool(torch.isfinite(model(**inputs).logits).all())
    assert tight.windows_left(5) == 5 == tight.windows_left(6)
    half = small(max_audio_tokens=5 * own, merge_above_seconds=10.0)
    extractor = tiny_model.processor(half).feature_extractor
    counts = [(s, extractor.count_windows(noise(s)), len(extractor.spans(noise(s)))) for s in (9.0, 10.0, 12.0, 19.0)]
    assert counts == [(9.0, 6, 6), (10.0, 7, 7), (12.0, 5, 8), (19.0, 5, 13)], "up to that length all windows stay"
    free = assistant().ears.hear(recording)
    assert len(free.tokens) > 5 and free.sounds == heard.sounds, "control: all are there; tags as ever"
    with pytest.raises(ConfigError, match="max_audio_tokens is 3"):
        small(max_audio_tokens=3)


@pytest.mark.slow
def test_reading_ten_minutes_takes_the_memory_of_one(tmp_path: Path) -> None:
    path, rate = tmp_path / "quiet.wav", 44_100
    program = """
import sys
from alm import cli, long_audio
from alm.audio import load_audio, windows
from bench.memory import peak_mebibytes
long_audio.HELD_BYTES = 1_000_000
found = load_audio(sys.argv[1]) if sys.argv[2] == "held" else long_audio.open_audio(sys.argv[1])
count = sum(len(part.resampled(16_000)) for part in found.segments(windows(found.seconds, 10.0, 1.0)))
print(count, peak_mebibytes())
"""
    peaks = {}
    for minutes in (1, 10):
        sf.write(path, np.zeros(minutes * 60 * rate, np.float32), rate, subtype="PCM_16")
        for way in ("file", "held"):
            command = [sys.executable, "-c", program, str(path), way]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[way, minutes] = float(done.stdout.split()[1])
    assert peaks["file", 10] - peaks["file", 1] < 10
    assert peaks["held", 10] - peaks["held", 1] > 80, "control: held in memory it grows"
