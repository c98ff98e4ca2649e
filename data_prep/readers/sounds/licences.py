"""Licences as Freesound and others write them, and short names for them."""

from __future__ import annotations

import re

FREESOUND = "Freesound, per recording"
YOUTUBE = "YouTube"
_ADDRESS = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)/(\d\.\d)")
_WORDS = {
    "creative commons 0": "CC0-1.0",
    "cc0": "CC0-1.0",
    "public domain": "CC0-1.0",
    "attribution": "CC-BY",
    "attribution noncommercial": "CC-BY-NC",
    "attribution non-commercial": "CC-BY-NC",
    "sampling+": "CC-Sampling-Plus-1.0",
}


def short_licence(written: str, otherwise: str = FREESOUND) -> str:
    """`CC-BY-3.0` for the address of that licence; what is not known stays as it is written.

    Args:
        otherwise: Where nothing is written.
    """
    if found := _ADDRESS.search(written.lower()):
        kind, version = found.groups()
        kind = {"zero": "CC0", "sampling+": "CC-Sampling-Plus", "mark": "CC-PDM"}.get(kind, f"CC-{kind.upper()}")
        return f"{kind}-{version}"
    return _WORDS.get(written.strip().lower(), written.strip()) or otherwise
