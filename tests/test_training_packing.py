"""Packed feature caches and batches made ahead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from alm.errors import CheckpointError
from training.atomic import write_json
from training.features import FeatureCache
from training.packing import pack, unpack
from training.placing import batches, moved

DIMS = {"one": (2, 6), "two": (1, 5)}


def _cache(folder: Path, items: int = 40) -> FeatureCache:
    """Recordings whose features lie near a plane, as real ones nearly do."""
    folder.mkdir()
    torch.manual_seed(0)
    tensors, lines = {}, []
    planes = {n: torch.randn(3, layers * dim) for n, (layers, dim) in DIMS.items()}
    for index in range(items):
        windows, frames = 1 + index % 2, {n: [4 + index % 3] * (1 + index % 2) for n in DIMS}
        for name, (layers, dim) in DIMS.items():
            width = max(frames[name])
            flat = torch.randn(windows, width, 3) @ planes[name] + 0.01 * torch.randn(windows, width, layers * dim)
            tensors[f"{index}.{name}"] = flat.unflatten(2, (layers, dim)).transpose(1, 2).half().contiguous()
        lines.append({"path": f"a/{index}.flac", "size": 1, "changed_ns": 2, "sha256": str(index), "seconds": 1.0,
                      "windows": windows, "frames": frames})  # fmt: skip
    save_file(tensors, folder / "shard-00000.safetensors")
    (folder / "shard-00000.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    write_json(folder / "cache.json", {"digest": "d", "frame_seconds": [["one", 0.1], ["two", 0.2]]})
    return FeatureCache(folder)


@pytest.mark.parametrize("distortion", [0.05, 0.01])
def test_packed_features_come_back_with_no_more_error_than_was_asked_for(tmp_path: Path, distortion: float) -> None:
    cache = _cache(tmp_path / "cache")
    size = pack(cache, cache.items.values(), tmp_path / "packed", distortion)
    assert size < (tmp_path / "cache" / "shard-00000.safetensors").stat().st_size, "it is smaller"
    assert unpack(tmp_path / "packed", tmp_path / "new") == len(cache.items)
    new = FeatureCache(tmp_path / "new")
    assert new.frame_seconds == cache.frame_seconds and new.digest == cache.digest
    for name in DIMS:
        before = torch.cat([cache.read(i).hidden[name].float().flatten(0, 2) for i in cache.items.values()])
        after = torch.cat([new.read(new.items[p]).hidden[name].float().flatten(0, 2) for p in cache.items])
        share = float(((after - before) ** 2).mean() / before.var())
        assert share < 2 * distortion
        assert share > 0.01 * distortion, "the control: something was rounded"


def test_an_unpacked_cache_knows_recordings_that_are_not_there(tmp_path: Path) -> None:
    cache = _cache(tmp_path / "cache")
    pack(cache, cache.items.values(), tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "new")
    assert FeatureCache(tmp_path / "new").find(Path("a/3.flac")) is not None
    assert cache.find(Path("a/3.flac")) is None, "the control: an ordinary cache wants the file"


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    cache = _cache(tmp_path / "cache")
    pack(cache, cache.items.values(), tmp_path / "packed")
    (tmp_path / "packed" / "part-00000.z").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="part-00000.z is damaged"):
        unpack(tmp_path / "packed", tmp_path / "new")


def test_a_cache_can_be_read_for_one_encoder_alone(tmp_path: Path) -> None:
    _cache(tmp_path / "cache")
    cache = FeatureCache(tmp_path / "cache", ["two"])
    features = cache.read(cache.items["a/0.flac"])
    assert set(features.hidden) == set(features.frames) == set(cache.frame_seconds) == {"two"}


def _squares(step: int) -> torch.Tensor:
    return torch.tensor([step, step * step])


def test_batches_made_ahead_are_those_made_when_asked() -> None:
    plain = [b.tolist() for b in batches(_squares, 3, 9, 0)]
    assert [b.tolist() for b in batches(_squares, 3, 9, 2)] == plain == [[s, s * s] for s in range(3, 9)]


def test_everything_in_a_batch_moves() -> None:
    there = moved({"a": (torch.zeros(1), [torch.ones(1)]), "b": "text"}, "meta")
    assert there["a"][0].is_meta and there["a"][1][0].is_meta and there["b"] == "text"
