"""The samples themselves, for encoders that learnt their own front end: wav2vec2, HuBERT, WavLM, MERT, VATT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alm.encoders.base import FrontEnd


@dataclass(frozen=True)
class RawFrontEnd(FrontEnd):
    """`[samples, 1]`; one frame is one sample."""

    name: ClassVar[str] = "raw"
    hop_samples: ClassVar[int] = 1

    bins: int = 1
    sample_rate: int = 16_000
    max_seconds: float = 30.0
    normalise: bool = False
    """Free the clip of its mean and divide it by its standard deviation."""
    epsilon: float = 1e-7
    """Added to the variance: 1e-7 in wav2vec2's recipe, 1e-5 where a layer norm over the clip does it."""

    def num_frames(self, num_samples: int) -> int:
        return max(1, num_samples)

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.normalise:
            return samples[:, None]
        signal = samples.astype(np.float64)
        scaled: NDArray[np.float64] = (signal - signal.mean()) / np.sqrt(signal.var() + self.epsilon)
        return scaled[:, None].astype(np.float32)
