"""Readers of music: single notes, genres, captions, questions, multitracks and playlists."""

from __future__ import annotations

from data_prep.readers.base import Source
from data_prep.readers.music.fma import FMA
from data_prep.readers.music.gtzan import GTZAN
from data_prep.readers.music.magnatagatune import MAGNATAGATUNE
from data_prep.readers.music.medleydb import MEDLEYDB
from data_prep.readers.music.musiccaps import MUSICCAPS
from data_prep.readers.music.musicqa import MUSICQA
from data_prep.readers.music.nsynth import NSYNTH
from data_prep.readers.music.playlists import PLAYLISTS

MUSIC: tuple[Source, ...] = (NSYNTH, GTZAN, FMA, MUSICCAPS, MUSICQA, MAGNATAGATUNE, MEDLEYDB, PLAYLISTS)
