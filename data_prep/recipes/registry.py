"""Kinds of steps by name.

Not in `kinds`: the code version of a unit would then be that of all kinds together.
"""

from __future__ import annotations

from data_prep.recipes.kinds.base import Kind
from data_prep.recipes.kinds.checks import CHECK
from data_prep.recipes.kinds.composing import COMPOSE
from data_prep.recipes.kinds.files import RECORDS_FILE
from data_prep.recipes.kinds.generating import GENERATE
from data_prep.recipes.kinds.making import MAKE
from data_prep.recipes.kinds.packed import SHARDS
from data_prep.recipes.kinds.rows import ROWS
from data_prep.recipes.kinds.source import SOURCE

_ALL = (SOURCE, COMPOSE, MAKE, GENERATE, ROWS, RECORDS_FILE, CHECK, SHARDS)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
"""By the name that recipes `use`."""
