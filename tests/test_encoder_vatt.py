"""VATT against the authors' TensorFlow code, and TensorFlow's checkpoints without TensorFlow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from alm import encoders
from alm.encoders.checkpoints import open_checkpoint
from alm.encoders.families import vatt
from alm.encoders.family import Checkpoint
from alm.errors import ConfigError, WeightsError
from tests.encoder_checks import (
    GOLDEN,
    check_alone_equals_batch,
    check_click,
    check_container,
    check_golden,
    seeded_encoder,
    worst_difference,
)
from tools.golden.seeded import read

SMALL = {"dim": 32, "num_layers": 2, "num_heads": 2, "ffn_dim": 48, "max_patches": 600}
INDEX, DATA = GOLDEN / "vatt-ckpt.index", GOLDEN / "vatt-ckpt.data-00000-of-00001"


def test_equals_the_authors_tower() -> None:
    check_golden("vatt")


def test_alone_equals_batch_and_clicks_land(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = seeded_encoder("vatt", SMALL)
    check_alone_equals_batch(encoder)
    check_click(encoder)
    forward = vatt.Layer.forward
    monkeypatch.setattr(vatt.Layer, "forward", lambda layer, x, seen: forward(layer, x, seen | True))
    assert worst_difference(encoder) > 1e-6


def test_a_tensorflow_checkpoint_opens_without_tensorflow(tmp_path: Path) -> None:
    state = read(GOLDEN / "vatt.safetensors")[1]
    found = open_checkpoint(INDEX).tensors
    assert {k: t for k, t in found.items() if k in state}.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    expected = {"dim": 32, "num_layers": 2, "ffn_dim": 48, "patch_samples": 16, "max_patches": 12}
    check_container(INDEX, "vatt", tmp_path / "converted", expected=expected)


def copied(folder: Path) -> Path:
    for file in (INDEX, DATA):
        shutil.copy(file, folder / file.name)
    return folder / INDEX.name


@pytest.mark.parametrize("harm", ["no data", "short data", "short index", "no index", "other magic"])
def test_damaged_checkpoints_are_refused(tmp_path: Path, harm: str) -> None:
    index = copied(tmp_path)
    data, content = tmp_path / DATA.name, index.read_bytes()
    if harm == "no data":
        data.unlink()
    elif harm == "short data":
        data.write_bytes(data.read_bytes()[:100])
    else:
        index.write_bytes({"short index": content[40:], "no index": b"", "other magic": content[:-1] + b"x"}[harm])
    with pytest.raises(WeightsError, match="TensorFlow"):
        open_checkpoint(index)


def test_flipped_bytes_of_an_index_are_refused_or_read(tmp_path: Path) -> None:
    index = copied(tmp_path)
    content = bytearray(index.read_bytes())
    for place in range(0, len(content), 41):
        harmed = bytearray(content)
        harmed[place] ^= 0xFF
        index.write_bytes(harmed)
        try:
            assert all(isinstance(tensor, Tensor) for tensor in open_checkpoint(index).tensors.values())
        except WeightsError:
            continue


def test_other_models_are_refused() -> None:
    for name, word in (
        ("model/unified_backbone/raw_to_embeddings/audio/kernel/.ATTRIBUTES/VARIABLE_VALUE", "modality-agnostic"),
        ("w", "waveform tower"),
    ):
        with pytest.raises(WeightsError, match=word):
            vatt.read(Checkpoint("ckpt.index", {name: torch.zeros(1)}, {}))
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    tuned = {f"m/_base/wave_to_patch/kernel{end}": torch.zeros(2, 1, 4)}
    tuned[f"m/_base/pre_proj/kernel{end}"] = torch.zeros(4, 4)
    with pytest.raises(WeightsError, match="modality-agnostic"):
        vatt.read(Checkpoint("ckpt.index", tuned, {}))
    for wrong in ({"num_heads": 5}, {"patch_samples": 0}):
        with pytest.raises(ConfigError, match="vatt"):
            encoders.build("vatt", wrong)
