"""Kinds of steps: what each is told, what it takes and gives, and into which units its work falls."""

from __future__ import annotations

from data_prep.recipes.kinds.base import Bound, Kind
from data_prep.recipes.kinds.checks import CHECK
from data_prep.recipes.kinds.files import RECORDS_FILE
from data_prep.recipes.kinds.packed import SHARDS
from data_prep.recipes.kinds.rows import ROWS
from data_prep.recipes.kinds.source import SOURCE

__all__ = ["KINDS", "Bound", "Kind"]

KINDS: dict[str, Kind] = {kind.name: kind for kind in (SOURCE, ROWS, RECORDS_FILE, CHECK, SHARDS)}
"""By the name that recipes `use`."""
