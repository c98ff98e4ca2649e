"""Files, folders and repositories: which file is opened, and which settings count for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from test_encoder_beats import official
from torch import Tensor

from alm import encoders
from alm.encoders.checkpoints import open_checkpoint
from alm.encoders.families import ast, openbeats
from alm.encoders.family import Checkpoint
from alm.errors import WeightsError

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "b.bias": torch.arange(4).to(torch.float16)}


def same(found: dict[str, Tensor] | Any) -> bool:
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[k], WEIGHTS[k]) for k in WEIGHTS)


# --- folders ---


def test_one_safetensors_file_of_any_name_is_enough(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "BEATs.safetensors")
    torch.save({"other": torch.ones(1)}, tmp_path / "optimizer.pt")
    assert same(open_checkpoint(tmp_path).tensors)
    save_file(WEIGHTS, tmp_path / "second.safetensors")
    with pytest.raises(
        WeightsError, match=r"found BEATs.safetensors, second.safetensors and no model.safetensors; name the file"
    ):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "index", ["{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": "../b"}}']
)
def test_an_index_that_says_nothing_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(WeightsError, match="weight_map"):
        open_checkpoint(tmp_path)


def test_weights_of_a_run_lie_deeper(tmp_path: Path) -> None:
    run = tmp_path / "work" / "user" / "exp" / "beats"
    run.mkdir(parents=True)
    torch.save({"model": WEIGHTS}, run / "epoch_latest.pt")
    assert same(open_checkpoint(tmp_path).tensors)
    torch.save({"model": WEIGHTS}, run.parent / "older.pt")
    with pytest.raises(WeightsError, match=r"work/user/exp/beats/epoch_latest.pt, work/user/exp/older.pt"):
        open_checkpoint(tmp_path)
    torch.save({"model": WEIGHTS}, tmp_path / "top.pt")
    assert open_checkpoint(tmp_path).path == str(tmp_path)


def test_a_folder_of_very_many_files_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    for name in "abc":
        (tmp_path / "below" / name).touch()
    monkeypatch.setattr("alm.encoders.checkpoints.containers._MOST_FILES", 2)
    with pytest.raises(WeightsError, match="more than 2 files"):
        open_checkpoint(tmp_path)


# --- settings beside the weights ---


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "odd.pt"])
def test_a_file_has_the_settings_of_its_folder(tmp_path: Path, name: str) -> None:
    if name.endswith("safetensors"):
        save_file(WEIGHTS, tmp_path / name)
    else:
        torch.save({"model": WEIGHTS, "step": 5, "model_type": "older"}, tmp_path / name)
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    (tmp_path / "preprocessor_config.json").write_text('{"mean": 1.5}')
    (tmp_path / "config.yaml").write_text("encoder: beats\nencoder_conf:\n  fbank_mean: 2.5\n")
    whole, alone = open_checkpoint(tmp_path).settings, open_checkpoint(tmp_path / name).settings
    assert whole == alone and alone["model_type"] == "x"
    assert alone["preprocessor"] == {"mean": 1.5} and alone["encoder_conf"] == {"fbank_mean": 2.5}


def test_naming_the_file_does_not_change_the_front_end(tmp_path: Path) -> None:
    """Of AST, whose extractor says mean and deviation. Control: without that table they are the usual ones."""
    small = {"dim": 8, "num_layers": 1, "num_heads": 2, "ffn_dim": 8, "max_frames": 32, "layer_norm_epsilon": 1e-12}
    weights = encoders.build("ast", small).state_dict()
    save_file({k.removeprefix("encoder."): v for k, v in weights.items()}, tmp_path / "model.safetensors")
    settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    (tmp_path / "config.json").write_text(json.dumps({**settings, "max_length": 32}))
    (tmp_path / "preprocessor_config.json").write_text('{"mean": -6.5, "std": 5.5}')
    both = [encoders.open_encoder(p, "ast").front_end for p in (tmp_path, tmp_path / "model.safetensors")]
    assert (
        both[0]
        == both[1]
        == ast.AstEncoderConfig(mean=-6.5, deviation=5.5, max_frames=32, subtract_mean=False).front_end()
    )
    (tmp_path / "preprocessor_config.json").unlink()
    assert encoders.open_encoder(tmp_path, "ast").front_end != both[0]


def test_a_yaml_of_others_is_nobodys_business(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "m.pt")
    (tmp_path / "config.yaml").write_text("model: !!python/object:os.system {}\n")
    assert open_checkpoint(tmp_path).settings == {}


@pytest.mark.parametrize(
    "text",
    [
        "encoder_conf: !!python/name:os.system",
        "encoder_conf: [",
        "<<: *a\nencoder_conf: 1",
        "encoder_conf: " + "[" * 5000,
    ],
)
def test_a_yaml_that_is_more_than_settings_is_refused(tmp_path: Path, text: str) -> None:
    torch.save(WEIGHTS, tmp_path / "m.pt")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(WeightsError, match="config.yaml"):
        open_checkpoint(tmp_path / "m.pt")


def test_merges_in_a_yaml_cannot_grow(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "m.pt")
    rows = ["k0: &k0 {x: 1}"] + [f"k{i}: &k{i} {{<<: [*k{i - 1}, *k{i - 1}]}}" for i in range(1, 40)]
    (tmp_path / "config.yaml").write_text("\n".join([*rows, "encoder_conf: {}"]))
    with pytest.raises(WeightsError, match="merge"):
        open_checkpoint(tmp_path)


def test_large_tables_are_refused(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "m.pt")
    (tmp_path / "config.json").write_text('{"a": "' + "x" * 2**22 + '"}')
    with pytest.raises(WeightsError, match=r"config.json has .* the limit"):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("[" * 200_000)
    with pytest.raises(WeightsError, match=r"config.json: no readable"):
        open_checkpoint(tmp_path)


def espnet_run(folder: Path, conf: str) -> Path:
    """A repository of OpenBEATs as ESPnet lays it out."""
    state, cfg = official("openbeats")
    run = folder / "work" / "exp" / "beats"
    run.mkdir(parents=True)
    torch.save({f"encoder.{name}": tensor for name, tensor in state.items()}, run / "epoch_latest.pt")
    beats_config = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in cfg.items() if "fbank" not in key)
    (run / "config.yaml").write_text(f"encoder: beats\nencoder_conf:\n{conf}  beats_config:\n{beats_config}")
    return folder


def test_an_official_openbeats_repository_opens(tmp_path: Path) -> None:
    folder = espnet_run(tmp_path, "  fbank_mean: 11.5\n  fbank_std: 10.25\n")
    encoder = encoders.open_encoder(folder, "openbeats")
    state, cfg = official("openbeats")
    plain = openbeats.read(Checkpoint("plain", state, {"cfg": {**cfg, "fbank_mean": 11.5, "fbank_std": 10.25}}))
    assert (encoder.front_end.mean, encoder.front_end.divisor) == (11.5, 20.5)  # type: ignore[attr-defined]
    assert all(torch.equal(plain.tensors[name], tensor) for name, tensor in encoder.state_dict().items())


def test_openbeats_without_its_own_statistics_is_refused(tmp_path: Path) -> None:
    """BEATs' files have one mean and one deviation; those of OpenBEATs differ."""
    with pytest.raises(WeightsError, match=r"fbank_std, which differ.*config\.yaml"):
        encoders.open_encoder(espnet_run(tmp_path, "  fbank_mean: 11.5\n"), "openbeats")
    state, cfg = official("beats")
    assert encoders.family("beats").read(Checkpoint("b", state, {"cfg": cfg})).config["std"] == 6.55582


# --- the hub ---


class Hub:
    """A hub with one repository, and the cache of this machine as the hub's package keeps it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there, self.listed, self.fetched = root / "there", 0, list[str]()
        self.there.mkdir()
        self.cache = root / "cache"
        self.reachable, self.real = True, huggingface_hub.snapshot_download
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(self.cache))
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot)
        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda _, name: self.names())

    def names(self) -> list[str]:
        self.listed += 1
        if not self.reachable:
            raise RuntimeError("no route")  # the errors of httpx are no OSError
        return [p.relative_to(self.there).as_posix() for p in sorted(self.there.rglob("*")) if p.is_file()]

    def snapshot(self, name: str, allow_patterns: list[str] | None = None, local_files_only: bool = False) -> str:
        if local_files_only:
            return str(self.real(name, local_files_only=True))
        assert self.reachable and allow_patterns
        folder = self.cache / f"models--{name.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text("c0ffee")
        for path in allow_patterns:
            self.fetched.append(path)
            target = folder / "snapshots" / "c0ffee" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((self.there / path).read_bytes())
        return str(folder / "snapshots" / "c0ffee")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(tmp_path, monkeypatch)


def put(hub: Hub, *names: str) -> None:
    for name in names:
        (hub.there / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".safetensors"):
            save_file(WEIGHTS, hub.there / name)
        elif name.endswith(".json"):
            (hub.there / name).write_text("{}")
        else:
            torch.save({"model": WEIGHTS, "file": name}, hub.there / name)


def test_safetensors_and_the_tables_beside_them_are_fetched(hub: Hub) -> None:
    put(hub, "model.safetensors", "pytorch_model.bin", "config.json", "other/config.json", "vocab.json")
    assert same(open_checkpoint("somebody/something").tensors)
    assert hub.fetched == ["model.safetensors", "config.json"]


def test_what_is_in_the_cache_opens_without_a_connection(hub: Hub) -> None:
    put(hub, "model.safetensors", "config.json")
    (hub.there / "config.json").write_text('{"model_type": "x"}')
    open_checkpoint("somebody/something")
    hub.reachable, hub.listed = False, 0
    found = open_checkpoint("somebody/something")
    assert same(found.tensors) and found.settings == {"model_type": "x"} and not hub.listed
    with pytest.raises(WeightsError, match=r"somebody/else.*no route"):
        open_checkpoint("somebody/else")


def test_shards_that_are_not_all_in_the_cache_are_fetched(hub: Hub) -> None:
    put(hub, "one.safetensors")
    index = {"weight_map": dict.fromkeys(WEIGHTS, "one.safetensors")}
    (hub.there / "model.safetensors.index.json").write_text(json.dumps(index))
    open_checkpoint("somebody/something")
    shard = next(hub.cache.rglob("one.safetensors"))
    shard.unlink()
    assert same(open_checkpoint("somebody/something").tensors)
    hub.reachable = False
    shard.unlink()
    with pytest.raises(WeightsError, match=r"one.safetensors is missing"):
        open_checkpoint("somebody/something")


def test_one_of_several_files_is_named(hub: Hub) -> None:
    put(hub, "CLAP_2022.pth", "CLAP_2023.pth", "deep/last [a].pth", "deep/config.json", "config.json")
    with pytest.raises(
        WeightsError, match=r"CLAP_2022.pth, CLAP_2023.pth and .*; name the file itself, as in somebody/clap:"
    ):
        open_checkpoint("somebody/clap")
    assert not hub.fetched, "nothing is fetched before one is chosen"
    with pytest.raises(WeightsError, match=r"no file 'CLAP_2024.pth'"):
        open_checkpoint("somebody/clap:CLAP_2024.pth")
    assert open_checkpoint("somebody/clap:CLAP_2023.pth").settings == {"file": "CLAP_2023.pth"}
    assert hub.fetched == ["CLAP_2023.pth", "config.json"]
    with pytest.raises(WeightsError, match="name the file itself"):
        open_checkpoint("somebody/clap")  # one is in the cache now, but there are several
    hub.reachable = False
    assert open_checkpoint("somebody/clap:CLAP_2023.pth").settings == {"file": "CLAP_2023.pth"}


def test_names_are_no_patterns(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    put(hub, "deep/last [a].pth", "deep/last a.pth")
    asked: list[list[str]] = []

    def fetched(name: str, allow_patterns: list[str] | None = None, local_files_only: bool = False) -> str:
        if local_files_only:
            raise OSError("nothing here")
        asked.append(list(allow_patterns or ()))
        return str(hub.there)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    assert same(open_checkpoint("somebody/clap:deep/last [a].pth").tensors)
    assert asked == [["deep/last [[]a].pth"]]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x"])
def test_a_file_outside_the_repository_is_none_of_it(hub: Hub, name: str) -> None:
    put(hub, "model.safetensors")
    with pytest.raises(WeightsError, match="no file"):
        open_checkpoint(f"somebody/clap:{name}")
