"""`alm encoders`, and the pages that are written out of the registry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_encoder_checkpoints import openai_file
from typer.testing import CliRunner

import alm.cli
from alm import encoders
from alm.audio import Waveform, waveform_to_wav_bytes
from alm.encoders import extraction, listing, writing
from alm.errors import ConfigError
from alm.long_audio import LongRecording, open_audio
from alm.testing import tone
from tools import encoder_pages


def run(*args: object) -> Any:
    return CliRunner().invoke(alm.cli.app, ["encoders", *map(str, args)], prog_name="alm")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a tone.wav"
    path.write_bytes(waveform_to_wav_bytes(tone(1.5)))
    return path


def test_list_and_info_tell_what_there_is() -> None:
    assert "ast" in run("list").output and "whisper" in run("list").output
    shown = run("info", "clap").output
    assert "48000 Hz" in shown and "layers 0..4" in shown and "CC0" in shown
    found = json.loads(run("info", "whisper", "--json").output)
    turbo = next(size for size in found["sizes"] if size["name"] == "large-v3-turbo")
    assert turbo["dim"] == 1280 and turbo["front_end"]["bins"] == 128 and 630e6 < turbo["parameters"] < 640e6
    assert run("info", "no_such").exit_code == 2


def test_features_are_written_with_their_times(clip: Path, tmp_path: Path) -> None:
    openai_file(tmp_path / "tiny.pt")
    out, plot = tmp_path / "f.safetensors", tmp_path / "f.png"
    given = ("--encoder", "whisper", "--checkpoint", tmp_path / "tiny.pt", "--window-seconds", "0.6")
    done = run("features", clip, *given, "--layers", "0,-1", "--out", out, "--plot", plot)
    assert done.exit_code == 0, done.output
    assert plot.read_bytes().startswith(b"\x89PNG")
    with safe_open(out, "pt") as file:
        about, times = json.loads(file.metadata()["alm"]), file.get_tensor("times")
        assert about["encoder"] == "whisper" and file.get_tensor("layer.2").shape == (75, 32)
        assert sorted(file.keys()) == ["layer.0", "layer.2", "times"]
    assert torch.allclose(times[:, 0], torch.arange(75, dtype=torch.float64) * 0.02) and float(times[-1, 1]) <= 1.5


def test_a_converted_folder_needs_no_family(clip: Path, tmp_path: Path) -> None:
    openai_file(tmp_path / "tiny.pt")
    assert run("convert", tmp_path / "tiny.pt", tmp_path / "ours", "--encoder", "whisper").exit_code == 0
    done = run("features", clip, "--checkpoint", tmp_path / "ours", "--window-seconds", "1.0")
    assert "layer 2: 75 features" in done.output


@pytest.mark.parametrize("given", [("--layers", "four"), ("--encoder", "ast"), ("--encoder", "no_such"), ()])
def test_wrong_requests_end_in_one_line(clip: Path, given: tuple[str, ...]) -> None:
    done = CliRunner().invoke(alm.cli.app, ["encoders", "features", str(clip), *given])
    assert done.exit_code == 2 and done.stderr.count("\n") == 1, done.output


def test_long_recordings_keep_their_time_and_a_crumb_is_left_out() -> None:
    encoder = encoders.build("whisper", {"dim": 32, "num_layers": 1, "num_heads": 4, "ffn_dim": 32}).eval()
    samples = np.random.default_rng(0).standard_normal(16_000 * 2 + 300).astype(np.float32) * 0.1
    heard = extraction.extract(encoder, Waveform(samples, 16_000), [1], window_seconds=1.0)
    starts = heard.times[:, 0]
    assert heard.features.shape == (1, 100, 32) and bool((starts.diff() > 0).all()) and float(starts[50]) == 1.0


def small_whisper() -> encoders.AudioEncoder:
    torch.manual_seed(0)
    return encoders.build("whisper", {"dim": 32, "num_layers": 1, "num_heads": 4, "ffn_dim": 32}).eval()


def test_overlapping_windows_give_each_time_once_from_the_window_that_knows_most_of_it() -> None:
    """Control: without overlap, features near a cut are others than in the whole."""
    samples = np.random.default_rng(0).standard_normal(16_000 * 3).astype(np.float32) * 0.1
    recording, encoder = Waveform(samples, 16_000), small_whisper()
    apart = extraction.extract(encoder, recording, [0, 1], 1.0, 0.4)
    starts = torch.arange(150, dtype=torch.float64) * 0.02
    assert torch.allclose(apart.times[:, 0], starts) and apart.features.shape == (2, 150, 32)
    for start, end, first in ((0.0, 1.0, 0.0), (0.6, 1.6, 0.8), (1.2, 2.2, 1.4)):
        alone = extraction.extract(encoder, recording.segment(start, end), [0, 1]).features
        kept, count = round(first / 0.02), round((end - 0.2 - first) / 0.02)
        own = alone[:, round((first - start) / 0.02) :][:, :count]
        assert torch.equal(apart.features[:, kept : kept + count], own)
    plain = extraction.extract(encoder, recording, [0, 1], 1.0)
    assert not torch.allclose(plain.features, apart.features) and torch.allclose(plain.times, apart.times)
    with pytest.raises(ConfigError, match="do not advance"):
        extraction.extract(encoder, recording, [1], 1.0, 1.0)


class Wide(encoders.AudioEncoder):
    """Gives a mebibyte for each second of sound and notes how much memory the process has then."""

    name = "wide"

    def __init__(self) -> None:
        super().__init__()
        self.front_end, self.frames_per_second, self.dim, self.num_layers = small_whisper().front_end, 100.0, 2622, 0
        self.sizes: list[int] = []

    def forward(self, spectrogram: torch.Tensor, mask: torch.Tensor, layers: Sequence[int]) -> encoders.EncoderOutput:
        self.sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
        return encoders.EncoderOutput(spectrogram[:, None, :, :1].expand(-1, 1, -1, self.dim), mask)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the memory of the process")
def test_a_long_recording_is_heard_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: its features are far more than the memory grew by."""
    clip = tmp_path / "long.wav"
    clip.write_bytes(waveform_to_wav_bytes(tone(150.0)))
    whole = open_audio(clip)
    monkeypatch.setattr("alm.long_audio.HELD_BYTES", 100_000)
    recording, encoder = open_audio(clip), Wide()
    assert isinstance(recording, LongRecording) and isinstance(whole, Waveform)
    heard = extraction.extract(encoder, recording, [0], 2.0, 0.5, tmp_path)
    grown = max(encoder.sizes) - encoder.sizes[2]
    assert heard.features.nbytes > 150 * 2**20 and grown < 40 * 2**20, grown
    assert not list(tmp_path.glob("tmp*")), "the temporary file has no name"
    short = small_whisper()
    same = [extraction.extract(short, sound, [1], 10.0, 1.0).features for sound in (recording, whole)]
    assert torch.equal(*same) and recording.sha256 == whole.sha256


def test_tensors_are_written_a_piece_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_ROWS_AT_ONCE", 3)
    tensors = {"a": torch.randn(7, 4).t(), "times": torch.rand(5, 2).double(), "none": torch.empty(0, 3)}
    writing.write_tensors(tmp_path / "f.safetensors", tensors, {"alm": "{}"})
    found = load_file(tmp_path / "f.safetensors")
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)
    broken = {"a": torch.zeros(3), "b": torch.zeros(3, requires_grad=True)}
    with pytest.raises(RuntimeError):
        writing.write_tensors(tmp_path / "g.safetensors", broken, {})
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"]


def test_windows_that_are_shortened_are_told(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vatt"
    folder.mkdir()
    config = {"dim": 8, "num_layers": 1, "num_heads": 1, "ffn_dim": 8, "max_patches": 375}
    save_file(encoders.build("vatt", config).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"family": "vatt", "config": config}))
    shown = run("features", clip, "--checkpoint", folder, "--overlap", "0.25").output
    assert "windows of 1 s, not 10 s: vatt hears no more at once" in shown and "562 features" in shown
    assert "windows of" not in run("features", clip, "--checkpoint", folder, "--window-seconds", "0.5").output


@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_places_are_looked_at_before_listening(option: str, clip: Path, tmp_path: Path) -> None:
    openai_file(tmp_path / "tiny.pt")
    given = ("features", clip, "--window-seconds", "0.6", "--encoder", "whisper", "--checkpoint")
    done = run(*given, tmp_path / "tiny.pt", option, tmp_path / "new" / "deep" / "f.out")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "new" / "deep" / "f.out").is_file()
    (tmp_path / "file").touch()
    for wrong in (tmp_path, tmp_path / "file" / "f.out"):
        done = CliRunner().invoke(alm.cli.app, ["encoders", *map(str, (*given, "nothing.pt", option, wrong))])
        assert done.exit_code == 2 and option in done.stderr and "nothing.pt" not in done.stderr


def test_colours_tell_features_apart() -> None:
    features = np.zeros((5000, 8), np.float32)
    features[2500:] = 1.0
    found = extraction.colours(features)
    assert found.shape == (2000, 3) and found.min() >= 0 and found.max() <= 1
    assert abs(found[0, 0] - found[-1, 0]) > 0.5 and np.allclose(found[0], found[500])


def test_every_family_has_a_page() -> None:
    kept = {path.stem for path in (encoder_pages.DOCS / "encoders").glob("*.md")}
    assert kept == set(encoders.names()), "run `python -m tools.encoder_pages --write`, remove pages of no family"


@pytest.mark.slow  # makes every published size
def test_the_pages_are_current() -> None:
    """Control: another fact changes them."""
    found = listing.all_described()
    wanted = encoder_pages.pages(found, encoder_pages.PAGE.read_text("utf-8"))
    stale = [path.name for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    assert not stale, f"run `python -m tools.encoder_pages --write`: {', '.join(stale)}"
    found[0]["good_at"] = "something else"
    assert encoder_pages.pages(found, encoder_pages.PAGE.read_text("utf-8")) != wanted


def test_the_baseline_is_fitted_to_a_folder_and_opens(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no audio")
    done = run("fit", tmp_path, "--out", tmp_path / "own", "--clusters", "4")
    assert done.exit_code == 0, done.output
    assert "statistics of 1 recordings" in done.output and "notes.txt" in done.output and "1 refused" in done.output
    fitted, plain = encoders.open_encoder(tmp_path / "own"), encoders.build("statistics", {"clusters": 4})
    assert float((fitted.state_dict()["centre"] - plain.state_dict()["centre"]).abs().max()) > 1, "control: it learned"
    heard = run("features", clip, "--checkpoint", tmp_path / "own")
    assert heard.exit_code == 0 and "132" in heard.output, heard.output
    assert run("fit", clip, "--out", tmp_path / "own").exit_code == 2, "nothing is written over"
    few = run("fit", clip, "--out", tmp_path / "few", "--clusters", "4000")
    assert few.exit_code == 2 and "give more clips" in few.output
