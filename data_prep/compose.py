"""Write composed scenes into the store, in blocks, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep import store
from data_prep.atomic import write_text
from data_prep.errors import CorpusError
from data_prep.scenes import RATE_HZ, Pool, Scene, make_scene, scene_counts, scene_from_row, scene_to_row

BLOCK_SCENES = 50
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Block:
    """Consecutive scenes of one kind."""

    kind: str
    start: int
    stop: int


def blocks(total: int) -> list[Block]:
    """The blocks of `total` scenes, in the order of kinds."""
    return [
        Block(kind, start, min(start + BLOCK_SCENES, count))
        for kind, count in scene_counts(total).items()
        for start in range(0, count, BLOCK_SCENES)
    ]


def _block_file(pool: Pool, seed: int, block: Block) -> Path:
    name = f"{pool.split}-{block.kind}-{seed}-{pool.fingerprint}-{block.start:06d}-{block.stop:06d}.jsonl"
    return pool.folder / "scenes" / "blocks" / name


def _compose_block(pool: Pool, seed: int, block: Block) -> list[Scene]:
    """Scenes of a block; taken from disk when an earlier run finished it for the same pool."""
    path = _block_file(pool, seed, block)
    if path.is_file():
        return list(read_scenes(path))
    scenes = []
    for index in range(block.start, block.stop):
        scene, samples = make_scene(pool, block.kind, index, seed)
        store.write_flac(pool.folder / scene.audio, store.to_pcm(samples), RATE_HZ)
        scenes.append(scene)
    write_scenes(scenes, path)
    return scenes


def compose(pool: Pool, total: int, seed: int, advance: Advance = lambda count: None) -> list[Scene]:
    """Compose `total` scenes of one split and list them in `scenes/SPLIT.jsonl` of the store."""
    scenes: list[Scene] = []
    for block in blocks(total):
        scenes.extend(_compose_block(pool, seed, block))
        advance(block.stop - block.start)
    write_scenes(scenes, scene_list(pool.folder, pool.split))
    return scenes


def scene_list(folder: Path, split: str) -> Path:
    """Where the scenes of a split are listed."""
    return folder / "scenes" / f"{split}.jsonl"


def write_scenes(scenes: list[Scene], path: Path) -> None:
    """One JSON row a scene, atomically."""
    write_text(path, "".join(json.dumps(scene_to_row(scene), ensure_ascii=False) + "\n" for scene in scenes))


def read_scenes(path: Path) -> Iterator[Scene]:
    """Scenes of a list; raises `CorpusError` naming file and line."""
    if not path.is_file():
        raise CorpusError(f"{path}: no list of scenes; run `python -m data_prep scenes` first")
    with path.open(encoding="utf-8") as stream:
        for line, text in enumerate(stream, start=1):
            try:
                row = json.loads(text)
            except ValueError as fault:
                raise CorpusError(f"{path}:{line}: not JSON ({fault}); build the scenes again") from fault
            yield scene_from_row(row, f"{path}:{line}")
