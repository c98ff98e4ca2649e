"""Encoder families, one a file; a module is imported when its family is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MODULES: Mapping[str, str] = MappingProxyType({})
"""Family name to the module that holds its `FAMILY`."""
