"""Which containers are opened: each that a page names has its test, and those that had none are here."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import torch
from encoder_checks import GOLDEN, check_container
from safetensors.torch import save_file

from alm import encoders
from tests.tiny_model import WHISPER
from tools import encoder_pages
from tools.golden.seeded import read

HERE = Path(__file__).parent


def encoder_tests() -> dict[str, str]:
    """Names and texts of the tests in the files on encoders."""
    found = {}
    for path in HERE.glob("test_encoder*.py"):
        text = path.read_text("utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = ast.get_source_segment(text, node) or ""
    return found


@pytest.mark.parametrize("name", encoders.names())
def test_every_named_container_is_opened_by_its_test(name: str) -> None:
    """Control: a name that is no test's is found out."""
    there = encoder_tests()
    containers = encoders.family(name).facts.containers
    assert containers and not [test for _, test in containers if test not in there]
    assert all(
        "check_container(" in there[t] or "encoders.load(" in there[t] or "open_encoder(" in there[t]
        for _, t in containers
    )
    assert "test_that_nobody_wrote" not in there


def test_a_transformers_folder_of_whisper_opens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = encoders.build("whisper", WHISPER)
    folder = tmp_path / "hub"
    folder.mkdir()
    state = {f"model.{name}": tensor.clone() for name, tensor in encoder.state_dict().items()}
    save_file({**state, "model.decoder.layer_norm.weight": torch.ones(16)}, folder / "model.safetensors")
    said = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    said |= {"num_mel_bins": 80, "max_source_positions": 1500}
    (folder / "config.json").write_text(json.dumps({"model_type": "whisper", **said}))
    opened = check_container(folder, "", tmp_path / "ours", expected=WHISPER).state_dict()
    assert all(torch.equal(opened[name], tensor) for name, tensor in encoder.state_dict().items())


def test_one_peaces_file_opens(tmp_path: Path) -> None:
    golden, state, _ = read(GOLDEN / "one_peace.safetensors")
    beside = {"text_adapter.embed_tokens.weight": torch.zeros(3, 4), "logit_scale": torch.zeros(())}
    torch.save({"model": {**state, **beside}, "args": None, **golden.settings}, tmp_path / "one-peace.pt")
    check_container(tmp_path / "one-peace.pt", "one_peace", tmp_path / "ours")


@pytest.mark.parametrize("name", ["patch_transformer", "statistics", "tiny_transformer"])
def test_our_own_families_open_from_their_folders(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = encoders.build(name)
    folder = tmp_path / "made"
    folder.mkdir()
    save_file(encoder.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"family": name, "config": {}}))
    opened = check_container(folder, "", tmp_path / "ours").state_dict()
    assert all(torch.equal(opened[key], tensor) for key, tensor in encoder.state_dict().items())


def test_pages_show_the_front_end_of_every_size() -> None:
    """Control: one that all sizes share stands there once."""
    size = {"name": "a", "front_end": {"name": "kaldi", "mean": 1.0}}
    other = {"name": "b", "front_end": {"name": "kaldi", "mean": 2.0}}
    assert encoder_pages._front_ends([size, other]) == "- `a`: `kaldi`, mean 1.0.\n- `b`: `kaldi`, mean 2.0.\n"
    assert encoder_pages._front_ends([size, {**size, "name": "b"}]) == "Of every size: `kaldi`, mean 1.0.\n"
