"""Checkpoints are opened as their authors wrote them, and nothing that lies in them is run."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import time
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from encoder_checks import check_container
from safetensors.torch import save_file
from torch import Tensor

from alm import encoders
from alm.encoders.checkpoints import open_checkpoint
from alm.errors import ConfigError, WeightsError

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "b.bias": torch.arange(4).to(torch.float16)}
SMALL_WHISPER = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_dim": 128, "max_positions": 50}


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def same(found: dict[str, Tensor] | Any) -> bool:
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[k], WEIGHTS[k]) for k in WEIGHTS)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_hostile_pickle_never_runs(tmp_path: Path, zipped: bool) -> None:
    path, mark = tmp_path / "evil.pt", tmp_path / "it-ran"
    torch.save({"model": WEIGHTS, "cfg": Trap(mark)}, path, _use_new_zipfile_serialization=zipped)
    assert same(open_checkpoint(path).tensors) and not mark.exists()
    torch.save(Trap(mark), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="not a table"):
        open_checkpoint(path)
    assert not mark.exists()


def test_the_trap_is_one(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "it-ran")))  # noqa: S301  # the control
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_objects_of_other_programs_become_their_fields(tmp_path: Path, zipped: bool) -> None:
    """As fairseq's files hold them: classes of a package that is not there when the file is read."""
    module = types.ModuleType("somebodys_config")
    module.Config = type("Config", (), {"__module__": "somebodys_config"})  # type: ignore[attr-defined]
    sys.modules["somebodys_config"] = module
    try:
        config = module.Config()
        config.layers, config.nested = 12, {"rates": [0.1, (2, "x")], "none": None}
        content = {"args": argparse.Namespace(heads=4), "cfg": config, "model": WEIGHTS, "epoch": 3, "flag": True}
        torch.save(content, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    finally:
        del sys.modules["somebodys_config"]
    found = open_checkpoint(tmp_path / "m.pt")
    assert same(found.tensors)
    nested = {"rates": [0.1, [2, "x"]], "none": None}
    assert found.settings == {"args": {"heads": 4}, "cfg": {"layers": 12, "nested": nested}, "epoch": 3, "flag": True}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_views_and_parameters_are_read_by_the_inert_reader(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(24.0)
    state = {
        "view": base[4:16].view(3, 4).t(), "shared": base, "parameter": torch.nn.Parameter(torch.ones(3)),
        "whole": torch.tensor(7), "brain": torch.ones(2, dtype=torch.bfloat16),
    }  # fmt: skip
    torch.save({"model": state, "args": argparse.Namespace()}, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    found = open_checkpoint(tmp_path / "m.pt").tensors
    assert found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_kind_of_number_is_read_as_torch_reads_it(tmp_path: Path, zipped: bool) -> None:
    """Control: the file stays as it is when a tensor that was read is changed."""
    path = tmp_path / "m.pt"
    whole, part = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64), (torch.float16, torch.bfloat16)
    kinds = (*whole, *part, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.bool)
    state = {str(kind): torch.arange(1, 8).to(kind) for kind in kinds}
    state |= {"none": torch.empty(0), "no rows": torch.empty(0, 3), "turned": torch.arange(6.0).view(2, 3).t()}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    before, found, wanted = path.read_bytes(), open_checkpoint(path).tensors, torch.load(path, weights_only=True)
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
        found[name].zero_()
    assert path.read_bytes() == before


def test_numbers_that_stand_out_of_line_are_read(tmp_path: Path) -> None:
    torch.save({"model": WEIGHTS}, tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as source, zipfile.ZipFile(tmp_path / "odd.pt", "w") as target:
        target.writestr("x" * 3, b"123")
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert same(open_checkpoint(tmp_path / "odd.pt").tensors)


@pytest.mark.parametrize("key", ["", "model", "state_dict", "model_state_dict", "anything"])
def test_weights_are_found_where_authors_put_them(tmp_path: Path, key: str) -> None:
    torch.save({key: WEIGHTS, "step": 5} if key else WEIGHTS, tmp_path / "m.pt")
    found = open_checkpoint(tmp_path / "m.pt")
    assert same(found.tensors) and found.settings == ({"step": 5} if key else {})


def test_small_files_cannot_unfold_to_much(tmp_path: Path) -> None:
    nested: list[Any] = [1]
    for _ in range(60):
        nested = [nested, nested]
    itself: dict[str, Any] = {}
    itself["again"] = itself
    torch.save({"model": WEIGHTS, "cfg": nested, "loop": itself}, tmp_path / "m.pt")
    before = time.process_time()
    found = open_checkpoint(tmp_path / "m.pt")
    assert same(found.tensors) and not found.settings and time.process_time() - before < 2.0


def test_compressed_entries_and_larger_claims_are_refused(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "m.pt")
    with (
        zipfile.ZipFile(tmp_path / "m.pt") as source,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    with pytest.raises(WeightsError, match="compressed"):
        open_checkpoint(tmp_path / "bomb.pt")
    for extra in ({}, {"args": argparse.Namespace()}):
        torch.save({"model": {"wide": torch.zeros(1).expand(10**9)}, **extra}, tmp_path / "wide.pt")
        with pytest.raises(WeightsError, match="more than"):
            open_checkpoint(tmp_path / "wide.pt")


def test_unknown_opcodes_and_cut_files_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.pt", "w") as target:
        target.writestr("odd/data.pkl", b"\x80\x02\x82\x01.")
    with pytest.raises(WeightsError, match="EXT1"):
        open_checkpoint(tmp_path / "odd.pt")
    torch.save({"model": WEIGHTS, "args": argparse.Namespace()}, tmp_path / "m.pt")
    whole = (tmp_path / "m.pt").read_bytes()
    for end in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pt").write_bytes(whole[:end])
        with pytest.raises(WeightsError, match="cut.pt"):
            open_checkpoint(tmp_path / "cut.pt")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_flipped_bytes_give_a_checkpoint_or_a_clear_error(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "m.pt"
    torch.save({"model": WEIGHTS, "args": argparse.Namespace(a=1)}, path, _use_new_zipfile_serialization=zipped)
    whole, random = bytearray(path.read_bytes()), torch.Generator().manual_seed(0)
    for _ in range(60):
        broken = bytearray(whole)
        for place in torch.randint(len(whole), (3,), generator=random).tolist():
            broken[place] ^= 1 << int(torch.randint(8, (), generator=random))
        path.write_bytes(broken)
        try:
            open_checkpoint(path)
        except WeightsError as error:
            assert "m.pt" in str(error)


def test_other_contents_and_missing_files_are_refused(tmp_path: Path) -> None:
    for content, word in (([1, 2], "not a table"), ({"a": 1}, "no tensors")):
        torch.save(content, tmp_path / "m.pt")
        with pytest.raises(WeightsError, match=word):
            open_checkpoint(tmp_path / "m.pt")
    with pytest.raises(WeightsError, match="no such file"):
        open_checkpoint(tmp_path / "absent.pt")
    torch.save(WEIGHTS, tmp_path / "n.pt")
    with pytest.raises(WeightsError, match="one file of weights"):
        open_checkpoint(tmp_path)


def test_too_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(WEIGHTS, tmp_path / "m.pt")
    monkeypatch.setattr("alm.encoders.checkpoints.containers.MOST_BYTES", 100)
    with pytest.raises(WeightsError, match="limit"):
        open_checkpoint(tmp_path / "m.pt")


def test_folders_with_shards_and_settings(tmp_path: Path) -> None:
    first, second = ({k: WEIGHTS[k]} for k in WEIGHTS)
    save_file(first, tmp_path / "model-1.safetensors")
    save_file(second, tmp_path / "model-2.safetensors")
    index = '{"weight_map": {"a.weight": "model-1.safetensors", "b.bias": "model-2.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(index)
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    (tmp_path / "preprocessor_config.json").write_text('{"mean": 1.5}')
    found = open_checkpoint(tmp_path)
    assert same(found.tensors) and found.settings == {"model_type": "x", "preprocessor": {"mean": 1.5}}
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(WeightsError, match="not an object"):
        open_checkpoint(tmp_path)


# --- the embedded pair in its authors' containers, conversion ---


def openai_file(path: Path) -> encoders.AudioEncoder:
    """Whisper as OpenAI's `.pt` holds it, decoder included."""
    torch.manual_seed(0)
    encoder = encoders.build("whisper", SMALL_WHISPER)
    renames = {
        ".layers.": ".blocks.", ".self_attn.q_proj.": ".attn.query.", ".self_attn.k_proj.": ".attn.key.",
        ".self_attn.v_proj.": ".attn.value.", ".self_attn.out_proj.": ".attn.out.", ".fc1.": ".mlp.0.",
        ".self_attn_layer_norm.": ".attn_ln.", ".fc2.": ".mlp.2.", ".final_layer_norm.": ".mlp_ln.",
        "encoder.layer_norm.": "encoder.ln_post.", ".embed_positions.weight": ".positional_embedding",
    }  # fmt: skip
    state = {}
    for name, tensor in encoder.state_dict().items():
        for old, new in renames.items():
            name = name.replace(old, new)
        state[name] = tensor.half()
    dims = {"n_mels": 80, "n_audio_ctx": 50, "n_audio_state": 32, "n_audio_head": 4, "n_audio_layer": 2, "n_vocab": 9}
    torch.save({"dims": dims, "model_state_dict": {**state, "decoder.ln.weight": torch.ones(32)}}, path)
    return encoder


def test_openais_whisper_file(tmp_path: Path) -> None:
    expected = openai_file(tmp_path / "tiny.pt").state_dict()
    encoder = check_container(tmp_path / "tiny.pt", "whisper", tmp_path / "ours", expected={"dim": 32, "num_heads": 4})
    state = encoder.state_dict()
    assert all(torch.allclose(state[name], expected[name], atol=1e-3) for name in expected)


def test_opening_refuses_what_it_cannot_tell(tmp_path: Path) -> None:
    openai_file(tmp_path / "tiny.pt")
    with pytest.raises(ConfigError, match="name the family"):
        encoders.open_encoder(tmp_path / "tiny.pt")
    with pytest.raises(ConfigError, match=r"no size 'huge'.*tiny"):
        encoders.open_encoder(tmp_path / "tiny.pt", "whisper", "huge")
    with pytest.raises(WeightsError, match="does not fit"):
        encoders.open_encoder(tmp_path / "tiny.pt", "whisper", "tiny")
    with pytest.raises(WeightsError, match="no usable aisfx|embedding_net"):
        encoders.open_encoder(tmp_path / "tiny.pt", "aisfx")
    encoders.convert(tmp_path / "tiny.pt", tmp_path / "ours", "whisper")
    with pytest.raises(WeightsError, match="not empty"):
        encoders.convert(tmp_path / "tiny.pt", tmp_path / "ours", "whisper")
    with pytest.raises(WeightsError, match="'whisper', not 'aisfx'"):
        encoders.open_encoder(tmp_path / "ours", "aisfx")
