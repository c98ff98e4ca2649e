"""Readers of speech: words, voices, feelings, calls, interviews and chapters."""

from __future__ import annotations

from data_prep.readers.base import Source
from data_prep.readers.speech.common_voice import COMMON_VOICE
from data_prep.readers.speech.daic import DAIC_WOZ, E_DAIC
from data_prep.readers.speech.iemocap import IEMOCAP
from data_prep.readers.speech.librispeech import LIBRISPEECH, LIBRITTS
from data_prep.readers.speech.meld import MELD
from data_prep.readers.speech.mosei import MOSEI
from data_prep.readers.speech.podcasts import PODCASTS
from data_prep.readers.speech.slue import SLUE
from data_prep.readers.speech.speech_commands import SPEECH_COMMANDS
from data_prep.readers.speech.teleantifraud import TELEANTIFRAUD
from data_prep.readers.speech.voxceleb import VOXCELEB1, VOXCELEB2

SPEECH: tuple[Source, ...] = (
    LIBRISPEECH, LIBRITTS, COMMON_VOICE, VOXCELEB1, VOXCELEB2, IEMOCAP, MELD, MOSEI, SPEECH_COMMANDS, *SLUE,
    TELEANTIFRAUD, DAIC_WOZ, E_DAIC, PODCASTS,
)  # fmt: skip
