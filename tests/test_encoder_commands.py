"""`alm encoders`, and the pages that are written out of the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from test_encoder_checkpoints import openai_file
from typer.testing import CliRunner

import alm.cli
from alm import encoders
from alm.audio import Waveform, waveform_to_wav_bytes
from alm.encoders import extraction, listing
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
