"""`use: shards`: the last step, which writes what the recipe is for."""

from __future__ import annotations

from data_prep.recipes.kinds.base import Bound, Kind
from data_prep.recipes.units import Unit
from data_prep.shards.layout import ShardSettings


def _plan(step: Bound) -> list[Unit]:
    """None: its work falls into shards, see `data_prep.shards.writing`."""
    return []


SHARDS = Kind("shards", "WebDataset tars, Parquet, index and card", ShardSettings, _plan, "shards")
