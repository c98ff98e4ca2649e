"""Whether a configuration and tensors belong together, found out before memory is taken for what either claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from alm.encoders.base import check_exactly
from alm.errors import ConfigError, WeightsError, first_line

MOST_LAYERS = 512
"""Of one encoder; the deepest published one has 48."""
COUNTS = ("num_layers", "num_blocks", "position_layers", "depths")
"""Fields of configurations that say how many parts a module has; all others say how large the parts are."""


def check_fit(
    build: Callable[[], nn.Module], config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> None:
    """Compare names and shapes on a module that takes no memory.

    Without this, a file of a kilobyte that claims a wide and deep encoder would have all of it allocated first.

    Raises:
        ConfigError: a value of the configuration is not possible.
        WeightsError: more parts than tensors that could fill them, impossible sizes, or names or shapes that differ.
    """
    for field, value in config.items():
        count = _count(field, value)
        if count > (most := min(MOST_LAYERS, len(tensors))):
            raise WeightsError(
                f"{source}: {field} says {count} parts, the limit is {most} ({len(tensors)} tensors are stored, and no "
                f"encoder has more than {MOST_LAYERS} layers); give the configuration that belongs to these weights"
            )
    try:
        with torch.device("meta"):
            module = build()
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{source}: its configuration makes no encoder ({first_line(error)}); fetch it anew"
        ) from error
    check_exactly(module, tensors, source)


def _count(field: str, value: Any) -> int:
    """How many parts a field stands for: lists have one for each of their items at least."""
    if isinstance(value, list | tuple):
        numbers = sum(v for v in value if isinstance(v, int)) if field in COUNTS else 0
        return max(len(value), numbers)
    return value if field in COUNTS and isinstance(value, int) else 0
