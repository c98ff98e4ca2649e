"""Readers of official downloads, by the name of their source."""

from __future__ import annotations

from data_prep.errors import CorpusError
from data_prep.readers.base import Source
from data_prep.readers.music import MUSIC
from data_prep.readers.sounds import SOUNDS
from data_prep.readers.speech import SPEECH

SOURCES: dict[str, Source] = {source.name: source for source in (*SOUNDS, *MUSIC, *SPEECH)}


def source_of(name: str) -> Source:
    """The source of this name.

    Raises:
        CorpusError: there is none.
    """
    if name not in SOURCES:
        raise CorpusError(f"no source {name[:80]!r}; `alm data sources` lists them: {', '.join(SOURCES)}")
    return SOURCES[name]
