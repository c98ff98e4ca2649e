"""Front ends by name: samples to what an encoder was trained on, in numpy, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from alm.encoders.base import FrontEnd
from alm.encoders.front_ends.aisfx import AisfxFrontEnd
from alm.encoders.front_ends.htsat import HtsatFrontEnd
from alm.encoders.front_ends.kaldi import KaldiFrontEnd
from alm.encoders.front_ends.mel_db import MelDbFrontEnd
from alm.encoders.front_ends.passt import PasstFrontEnd
from alm.encoders.front_ends.raw import RawFrontEnd
from alm.encoders.front_ends.wavegram import WavegramFrontEnd
from alm.encoders.front_ends.whisper import WhisperFrontEnd

TYPES: Mapping[str, type[FrontEnd]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            AisfxFrontEnd,
            HtsatFrontEnd,
            KaldiFrontEnd,
            MelDbFrontEnd,
            PasstFrontEnd,
            RawFrontEnd,
            WavegramFrontEnd,
            WhisperFrontEnd,
        )
    }
)
"""Front ends by the name that `FrontEnd.to_dict` writes."""

__all__ = [
    "TYPES",
    "AisfxFrontEnd",
    "HtsatFrontEnd",
    "KaldiFrontEnd",
    "MelDbFrontEnd",
    "PasstFrontEnd",
    "RawFrontEnd",
    "WavegramFrontEnd",
    "WhisperFrontEnd",
]
