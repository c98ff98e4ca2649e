"""Shards: WebDataset tars with Parquet beside them, written from records and streamed to training.

Names are loaded when they are asked for: `alm --help` imports this package through the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prep.shards.layout import Index, Shard, ShardSettings, read_index
    from data_prep.shards.stream import ShardStream, StreamItem
    from data_prep.shards.verifying import verify_shards
    from data_prep.shards.writing import in_threads, write_shards

_HOMES = {
    "Index": "layout", "Shard": "layout", "ShardSettings": "layout", "read_index": "layout",
    "ShardStream": "stream", "StreamItem": "stream", "verify_shards": "verifying", "in_threads": "writing",
    "write_shards": "writing",
}  # fmt: skip

__all__ = [
    "Index",
    "Shard",
    "ShardSettings",
    "ShardStream",
    "StreamItem",
    "in_threads",
    "read_index",
    "verify_shards",
    "write_shards",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"data_prep.shards.{_HOMES[name]}"), name)
