"""Readers of official downloads, by the name of their source."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from data_prep.errors import CorpusError
from data_prep.readers.base import Source
from data_prep.readers.music import MUSIC
from data_prep.readers.speech import SPEECH


def _sounds() -> tuple[Source, ...]:
    """Readers of sounds, where they are there."""
    name = "data_prep.readers.sounds"
    return tuple(import_module(name).SOUNDS) if find_spec(name) else ()


SOURCES: dict[str, Source] = {source.name: source for source in (*_sounds(), *MUSIC, *SPEECH)}


def source_of(name: str) -> Source:
    """The source of this name.

    Raises:
        CorpusError: there is none.
    """
    if name not in SOURCES:
        raise CorpusError(f"no source {name[:80]!r}; `alm data sources` lists them: {', '.join(SOURCES)}")
    return SOURCES[name]
