"""Cached features made small enough to travel: principal components, rounded, packed.

Each encoder's features are turned into their principal components (all layers of a frame together, each dimension
at unit spread) and every component is rounded to steps of one size. So `distortion` is the error's share of the
variance in every direction that is kept: 0.01 is noise of a tenth of the spread, as much as training adds itself
(`AugmentConfig.noise`). A hundredth makes a cache about five times smaller.

A packed cache knows recordings by name and content only: the audio itself need not be on the machine that unpacks it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from alm.errors import CheckpointError
from training.atomic import whole_file, write_json
from training.features import FeatureCache, Item, index_row, write_shard
from training.objective import rng_for

PART_ITEMS = 512
BASIS_ITEMS = 1500
"""Recordings from which the components are reckoned."""
WORST = 1 << 31
"""Most bytes that one part may unpack to."""
MOST = 127
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Basis:
    """The components of one encoder's frames."""

    mean: Floats
    spread: Floats
    """[layers * dim]"""
    directions: Floats
    """[layers * dim, layers * dim], columns"""
    layers: int

    def codes(self, frames: Floats, distortion: float) -> NDArray[np.int8]:
        """`[frames, layers * dim]` to whole numbers."""
        turned = ((frames - self.mean) / self.spread) @ self.directions
        return np.clip(np.rint(turned / step(distortion)), -MOST, MOST).astype(np.int8)

    def frames(self, codes: NDArray[np.int8], distortion: float) -> Floats:
        """Inverse of [`codes`] but for the rounding."""
        turned = codes.astype(np.float32) * np.float32(step(distortion))
        return np.asarray(turned @ self.directions.T * self.spread + self.mean, np.float32)


def step(distortion: float) -> float:
    """Size of a rounding step whose error has this variance."""
    return float(np.sqrt(12.0 * distortion))


def flat(hidden: torch.Tensor) -> Floats:
    """`[windows, layers, time, dim]` to `[windows * time, layers * dim]`."""
    windows, layers, time, dim = hidden.shape
    return hidden.float().permute(0, 2, 1, 3).reshape(windows * time, layers * dim).numpy()


def reckon(cache: FeatureCache, items: Sequence[Item], name: str) -> Basis:
    """Components of an encoder's frames over some of these recordings."""
    order = rng_for("basis").permutation(len(items))[:BASIS_ITEMS]
    hidden = [cache.read(items[int(i)]).hidden[name] for i in order]
    frames = np.concatenate([flat(h) for h in hidden])
    frames = frames[np.abs(frames).sum(1) > 0]
    mean, spread = frames.mean(0), frames.std(0) + 1e-6
    scaled = (frames - mean) / spread
    directions = np.linalg.eigh(scaled.T @ scaled).eigenvectors
    return Basis(mean, spread, np.ascontiguousarray(directions[:, ::-1]), hidden[0].shape[1])


def pack(cache: FeatureCache, items: Iterable[Item], out: Path, distortion: float = 0.01, processes: int = 1) -> int:
    """Write `basis.safetensors`, `packed.json` and numbered parts into a folder; gives their size in bytes."""
    chosen = sorted({i.sha256: i for i in items}.values(), key=lambda i: (i.shard, i.path))
    out.mkdir(parents=True, exist_ok=True)
    bases = {name: reckon(cache, chosen, name) for name in cache.frame_seconds}
    tensors = {f"{n}.{k}": torch.from_numpy(np.ascontiguousarray(v)) for n, b in bases.items() for k, v in _arrays(b)}
    with whole_file(out / "basis.safetensors") as temporary:
        save_file(tensors, temporary)
    facts = {
        "digest": cache.digest, "frame_seconds": list(cache.frame_seconds.items()), "distortion": distortion,
        "layers": {n: b.layers for n, b in bases.items()},
    }  # fmt: skip
    write_json(out / "packed.json", facts)
    parts = [chosen[i : i + PART_ITEMS] for i in range(0, len(chosen), PART_ITEMS)]
    work = partial(_pack_part, cache.folder, bases, distortion, out)
    if processes == 1:
        return sum(map(work, range(len(parts)), parts))
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return sum(pool.map(work, range(len(parts)), parts))


def _arrays(basis: Basis) -> Iterator[tuple[str, Floats]]:
    return ((k, v) for k, v in vars(basis).items() if isinstance(v, np.ndarray))


def _pack_part(
    folder: Path, bases: dict[str, Basis], distortion: float, out: Path, number: int, items: Sequence[Item]
) -> int:
    cache = FeatureCache(folder)  # open files are not shared between processes
    read = [cache.read(i) for i in items]
    rows = [index_row(i) for i in items]
    widths = [{n: h.shape[2] for n, h in f.hidden.items()} for f in read]
    blob = json.dumps([{**r, "widths": w} for r, w in zip(rows, widths, strict=True)])
    pieces: list[NDArray[np.uint8]] = [np.frombuffer(blob.encode(), np.uint8)]
    for name, basis in bases.items():
        codes = np.concatenate([basis.codes(flat(f.hidden[name]), distortion) for f in read])
        pieces.append(np.ascontiguousarray(codes.T).view(np.uint8).ravel())  # one component after another packs better
    # Huffman codes and runs of zeros: as small as LZMA makes it, and fifty times faster.
    packer = zlib.compressobj(6, strategy=zlib.Z_RLE)
    whole = len(pieces[0]).to_bytes(8, "little") + b"".join(p.tobytes() for p in pieces)
    data = packer.compress(whole) + packer.flush()
    with whole_file(out / f"part-{number:05d}.z") as temporary:
        temporary.write_bytes(data)
    return len(data)


def unpack(source: Path, folder: Path, processes: int = 1) -> int:
    """Make a feature cache of a packed one; gives the number of recordings.

    Raises:
        CheckpointError: the folder is no packed cache, or a part is damaged.
    """
    try:
        facts = json.loads((source / "packed.json").read_text(encoding="utf-8"))
        tensors = load_file(source / "basis.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{source}: not a packed feature cache ({error})") from error
    bases = {n: _basis(tensors, n, layers) for n, layers in facts["layers"].items()}
    folder.mkdir(parents=True, exist_ok=True)
    about = {"digest": facts["digest"], "frame_seconds": facts["frame_seconds"], "detached": True}
    write_json(folder / "cache.json", about)
    work = partial(_unpack_part, bases, facts["distortion"], folder)
    parts = sorted(source.glob("part-*.z"))
    if processes == 1:
        return sum(map(work, parts))
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return sum(pool.map(work, parts))


def _basis(tensors: dict[str, torch.Tensor], name: str, layers: int) -> Basis:
    mean, spread, directions = (tensors[f"{name}.{k}"].numpy() for k in ("mean", "spread", "directions"))
    return Basis(mean, spread, directions, layers)


def _unpack_part(bases: dict[str, Basis], distortion: float, folder: Path, part: Path) -> int:
    try:
        data = zlib.decompressobj().decompress(part.read_bytes(), WORST)
    except (OSError, zlib.error) as error:
        raise CheckpointError(f"{part} is damaged ({error}); pack it again") from error
    length = int.from_bytes(data[:8], "little")
    rows: list[dict[str, Any]] = json.loads(data[8 : 8 + length])
    widths = [r.pop("widths") for r in rows]
    place, tensors = 8 + length, {}
    for name, basis in bases.items():
        counts = [r["windows"] * w[name] for r, w in zip(rows, widths, strict=True)]
        size = len(basis.mean)
        codes = np.frombuffer(data, np.int8, sum(counts) * size, place).reshape(size, -1).T
        place += codes.size
        ends = np.cumsum(counts)[:-1]
        for row, width, own in zip(rows, widths, np.split(codes, ends), strict=True):
            made = torch.from_numpy(basis.frames(own, distortion))
            shape = (row["windows"], width[name], basis.layers, size // basis.layers)
            tensors[f"{row['sha256']}.{name}"] = made.reshape(shape).permute(0, 2, 1, 3).half().contiguous()
    stem = f"shard-{int(part.stem.split('-')[1]):05d}"
    write_shard(folder, stem, tensors, rows)
    return len(rows)
