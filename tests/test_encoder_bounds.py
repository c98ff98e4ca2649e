"""Memory and time follow what a checkpoint holds, not what it claims."""

from __future__ import annotations

import dataclasses
import importlib
import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from alm import encoders
from alm.encoders.checkpoints import open_checkpoint, tensor_bundle
from alm.encoders.families import MODULES
from alm.encoders.family import Checkpoint
from alm.encoders.fitting import COUNTS
from alm.errors import AlmError, WeightsError

MOST_MIB, MOST_SECONDS = 64, 5.0
OPENS = """
import json, sys, time
from pathlib import Path
import torch
from alm import encoders
from alm.errors import AlmError
def peak():  # of this program: what `resource` tells begins with the largest memory of the one that started it
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
for name in encoders.names():
    encoders.family(name)
with torch.device("meta"):
    encoders.build("whisper", {})
for line in sys.stdin:
    source, family = json.loads(line)
    before, start, said = peak(), time.process_time(), ""
    try:
        if source:
            encoders.open_encoder(source, family)
        else:
            encoders.build(family, {"dim": 1024, "num_layers": 6, "num_heads": 16, "ffn_dim": 4096})
    except AlmError as error:
        said = str(error)
    print(json.dumps([said, peak() - before, time.process_time() - start]), flush=True)
"""
"""Opens what it is told and says the error, the MiB by which its largest memory grew, and the seconds."""
Opener = Callable[[str, str], tuple[str, float, float]]


@pytest.fixture(scope="module")
def opener() -> Iterator[Opener]:
    if not Path("/proc/self/status").exists():
        pytest.skip("asks Linux for the memory of the process")
    with subprocess.Popen([sys.executable, "-c", OPENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:

        def opens(source: str, family: str) -> tuple[str, float, float]:
            assert p.stdin is not None and p.stdout is not None
            p.stdin.write(json.dumps([source, family]) + "\n")
            p.stdin.flush()
            said, grown, seconds = json.loads(p.stdout.readline())
            return said, grown, seconds

        yield opens
        assert p.stdin is not None
        p.stdin.close()


# --- what a configuration claims ---


def nothing(names: list[str]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(1) for name in names}


def claims_width(folder: Path) -> str:
    dims = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 1024, "n_audio_head": 16, "n_audio_layer": 6}
    torch.save({"dims": dims, "model_state_dict": nothing([f"encoder.{i}" for i in range(8)])}, folder / "w.pt")
    return str(folder / "w.pt")


def claims_depth(folder: Path) -> str:
    dims = {"n_mels": 8, "n_audio_ctx": 9, "n_audio_state": 4, "n_audio_head": 1, "n_audio_layer": 10**9}
    torch.save({"dims": dims, "model_state_dict": nothing(["encoder.a"])}, folder / "d.pt")
    return str(folder / "d.pt")


def claims_hidden_size(folder: Path) -> str:
    settings = {"hidden_size": 100_000, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 400_000}
    (folder / "config.json").write_text(json.dumps({"model_type": "audio-spectrogram-transformer", **settings}))
    save_file(nothing(["a", "b", "c"]), folder / "model.safetensors")
    return str(folder)


def claims_time(folder: Path) -> str:
    state = {"v.patch_embed.proj.weight": torch.zeros(64, 1, 16, 16), "v.blocks.0.mlp.fc1.weight": torch.zeros(4, 64)}
    sides = {"p_input_tdim": torch.tensor(10**9), "p_input_fdim": torch.tensor(128)}
    torch.save({**state, **sides, "v.cls_token": torch.zeros(1, 1, 64)}, folder / "t.pth")
    return str(folder / "t.pth")


def claims_time_of_ssamba(folder: Path) -> str:
    state = {"v.patch_embed.proj.weight": torch.zeros(4, 1, 16, 16), "v.cls_token": torch.zeros(1, 1, 4)}
    sides = {"p_input_tdim": torch.tensor(10**9), "p_input_fdim": torch.tensor(128)}
    for name in ("A_log", "A_b_log", "conv1d.weight", "conv1d_b.weight"):
        state[f"v.layers.0.mixer.{name}"] = torch.zeros((8, 2) if name.endswith("log") else (8, 1, 2))
    torch.save({**state, **sides}, folder / "t.pth")
    return str(folder / "t.pth")


def claims_a_grid(folder: Path) -> str:
    """EAT's positions are made by numpy."""
    (folder / "config.json").write_text(json.dumps({"family": "eat", "config": {"max_steps": 10**6, "num_layers": 1}}))
    save_file(nothing(["a", "b"]), folder / "model.safetensors")
    return str(folder)


def claims_the_same_numbers_often(folder: Path) -> str:
    sizes = {"dim": 1024, "num_layers": 6, "num_heads": 16, "ffn_dim": 4096}
    with torch.device("meta"):
        wanted = encoders.build("whisper", sizes).state_dict()
    base = torch.zeros(4 * 2**20)
    dims = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 1024, "n_audio_head": 16, "n_audio_layer": 6}
    state = {name: base[: t.numel()].view(t.shape) for name, t in wanted.items()}
    torch.save({"dims": dims, "model_state_dict": state}, folder / "s.pt")
    return str(folder / "s.pt")


CLAIMS: dict[Callable[[Path], str], tuple[str, str]] = {
    claims_width: ("whisper", "does not fit"),
    claims_depth: ("whisper", "1000000000 parts"),
    claims_hidden_size: ("ast", "does not fit"),
    claims_time: ("ssast", "does not fit"),
    claims_time_of_ssamba: ("ssamba", "does not fit"),
    claims_a_grid: ("eat", "does not fit"),
    claims_the_same_numbers_often: ("whisper", "share"),
}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_a_claim_takes_no_memory(claim: Callable[[Path], str], tmp_path: Path, opener: Opener) -> None:
    family, words = CLAIMS[claim]
    said, grown, seconds = opener(claim(tmp_path), family)
    assert words in said and grown < MOST_MIB and seconds < MOST_SECONDS, (said, grown, seconds)


def test_the_measure_sees_memory(opener: Opener) -> None:
    """The control, and what `claims_width` took before it was refused."""
    said, grown, _ = opener("", "whisper")
    assert not said and grown > 2 * MOST_MIB


def test_numbers_in_names_are_no_layers() -> None:
    """Names say which layer a tensor is of; how many layers there are is how many are named."""
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "ast": {
            "v.pos_embed": (1, 2 + 12 * 101, 8), "v.patch_embed.proj.weight": (8, 1, 16, 16),
            "v.blocks.0.mlp.fc1.weight": (8, 8), "v.blocks.999999999.x": (1,),
        },
        "dcls_convnext": {
            "downsample_layers.0.0.weight": (8, 1, 2, 16), "stages.0.0.dwconv.weight": (8, 1, 3, 3),
            "stages.0.0.gamma": (8,), "stages.999999999.0.gamma": (8,),
        },
        "vatt": {
            f"wave_to_patch/kernel{end}": (8, 1, 8), f"tx/layers/0/feed_forward/mlp/wi/kernel{end}": (8, 8),
            f"pos_embedding_lookup/temporal_position_embeddings/embeddings{end}": (9, 8),
            f"tx/layers/999999999/mha/q/kernel{end}": (8, 8),
        },
    }  # fmt: skip
    for family, named in shapes.items():
        tensors = {name: torch.zeros(shape) for name, shape in named.items()}
        config = encoders.family(family).read(Checkpoint("f", tensors, {})).config
        assert config.get("num_layers", len(config.get("depths", ()))) == 2


@pytest.mark.parametrize("name", encoders.names())
def test_every_count_is_known(name: str) -> None:
    """A whole number of a configuration that changes how many tensors there are must be among those with a limit.

    Control: with no field among them, depth is found.
    """
    found = _counting(name)
    assert found <= {*COUNTS, "num_layers"}
    assert found or name in ("aisfx", "statistics", "clap", "reclap", "msclap", "dcls_convnext"), "no depth was found"


def _counting(name: str) -> set[str]:
    """Fields that change the number of tensors when they are one larger or twice as large."""
    kinds = [k for k in vars(importlib.import_module(MODULES[name])).values() if dataclasses.is_dataclass(k)]
    fields = {f.name: f.default for k in kinds for f in dataclasses.fields(k) if type(f.default) is int}
    found = set()
    with torch.device("meta"):
        usual = len(encoders.build(name).state_dict())
        for field, default in fields.items():
            for value in (default + 1, 2 * default):
                try:
                    found |= {field} if len(encoders.build(name, {field: value}).state_dict()) != usual else set()
                except (AlmError, ValueError, TypeError, RuntimeError):
                    continue  # not possible by itself
    return found


# --- what a pickle claims ---


def zipped(path: Path, pickle: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("m/data.pkl", pickle)
    return path


def called(module: str, name: str, number: int) -> bytes:
    """A pickle of `{"model": name(number)}`."""
    return (
        b"\x80\x02}X\x05\x00\x00\x00model"
        + f"c{module}\n{name}\n".encode()
        + b"J"
        + struct.pack("<i", number)
        + b"\x85Rs."
    )


def built_often() -> bytes:
    """One table of 60,000 values as the fields of 60,000 objects."""
    table = b"}q\x00(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(60_000)) + b"u0"
    return b"\x80\x02" + table + b"]" + b"(" + b"cm\nC\n)\x81h\x00b" * 60_000 + b"e."


def named_by_what_is_nested() -> bytes:
    """A name that is a list of lists, each twice in the next: its text would have 2**60 parts."""
    return b"\x80\x04]" + b"2\x86" * 60 + b"\x8c\x01x\x93."


def keyed_by_a_long_number() -> bytes:
    """A number of a mebibyte is a key 400,000 times: it would be gone through each time."""
    number = b"\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20 + b"q\x000"
    return b"\x80\x02" + number + b"}(" + b"h\x00N" * 400_000 + b"u."


def stored_in_a_long_list() -> bytes:
    """A list of 400,000 items that is named as a storage 400,000 times: it would be copied each time."""
    return b"\x80\x02(" + b"N" * 400_000 + b"lq\x000" + b"h\x00Q0" * 400_000 + b"N."


HOSTILE = {
    "bytearray": called("builtins", "bytearray", 300_000_000),
    "tensor": called("torch", "Tensor", 300_000_000),
    "one-byte": b"\x80\x02(" + b"}" * 20_000_000 + b"l.",
    "claimed text": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "built often": built_often(),
    "long number": keyed_by_a_long_number(),
    "long list": stored_in_a_long_list(),
    "nested name": named_by_what_is_nested(),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_pickle_takes_no_more_than_its_file(kind: str, tmp_path: Path, opener: Opener) -> None:
    said, grown, seconds = opener(str(zipped(tmp_path / "m.pt", HOSTILE[kind])), "whisper")
    most = 250 if kind in ("one-byte", "built often") else MOST_MIB  # two million steps, see `inert`
    assert "m.pt" in said and grown < most and seconds < 4 * MOST_SECONDS, (said, grown, seconds)


def test_a_pickle_larger_than_any_checkpoints_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"model": {"a": torch.ones(3)}, "text": "x" * 5000}, tmp_path / "m.pt")
    torch.save(
        {"model": {"a": torch.ones(3)}, "text": "x" * 5000}, tmp_path / "old.pt", _use_new_zipfile_serialization=False
    )
    assert len(open_checkpoint(tmp_path / "m.pt").tensors) == len(open_checkpoint(tmp_path / "old.pt").tensors) == 1
    monkeypatch.setattr("alm.encoders.checkpoints.inert._MOST_PICKLE_BYTES", 4000)
    for name in ("m.pt", "old.pt"):
        with pytest.raises(WeightsError, match=f"{name}.*MiB"):
            open_checkpoint(tmp_path / name)


def test_settings_that_share_a_value_are_bounded(tmp_path: Path) -> None:
    large = list(range(50_000))
    torch.save({"model": {"a": torch.ones(3)}, **{f"k{i}": large for i in range(100)}, "z": 1}, tmp_path / "m.pt")
    found = open_checkpoint(tmp_path / "m.pt")
    assert len(found.settings) == 5 and "a" in found.tensors


# --- what TensorFlow's index claims ---


def test_tensors_of_a_bundle_that_lie_on_each_other_are_refused(tmp_path: Path) -> None:
    """Control: side by side they are read."""
    np.arange(8, dtype=np.float32).tofile(tmp_path / "m.data-00000-of-00001")
    shape = b"\x12\x02\x08\x04"  # one axis of four

    def at(first: int) -> dict[int, list[int | bytes]]:
        return {1: [1], 2: [shape], 4: [first], 5: [16]}

    header: tuple[bytes, dict[int, list[int | bytes]]] = (b"", {1: [1]})
    found = tensor_bundle._tensors(tmp_path / "m.index", [header, (b"a", at(0)), (b"b", at(16))])
    assert found["b"].tolist() == [4.0, 5.0, 6.0, 7.0]
    with pytest.raises(ValueError, match="overlap"):
        tensor_bundle._tensors(tmp_path / "m.index", [header, *((name, at(0)) for name in (b"a", b"b", b"c"))])
