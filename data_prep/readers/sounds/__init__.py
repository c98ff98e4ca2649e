"""Readers of sets of sounds: events, places, captions and questions on them."""

from __future__ import annotations

from data_prep.readers.base import Source
from data_prep.readers.sounds import audioset, birdset, captions, labelled, seld, tut, vsd, wavcaps

SOUNDS: tuple[Source, ...] = (
    audioset.WEAK,
    audioset.STRONG,
    audioset.CAPTIONS,
    labelled.VGGSOUND,
    labelled.FSD50K,
    labelled.ESC50,
    labelled.URBANSOUND,
    captions.AUDIOCAPS,
    captions.CLOTHO,
    captions.CLOTHO_AQA,
    wavcaps.WAVCAPS,
    wavcaps.FREESOUND_LAION,
    wavcaps.SOUNDBIBLE,
    tut.SCENES,
    tut.EVENTS,
    tut.RARE,
    *seld.SELD,
    birdset.BIRDSET,
    vsd.VSD,
)

__all__ = ["SOUNDS"]
