"""Log-mel with the samples beside it, for PANNs' networks that learn a part of their front end (Wavegram)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alm.encoders.base import FrontEnd
from alm.encoders.front_ends.htsat import HtsatFrontEnd


@dataclass(frozen=True)
class WavegramFrontEnd(FrontEnd):
    """Rows `[mel bins + hop_samples]`: the mel frame centred on sample i * hop, and the samples from there on.

    The clip is followed by silence up to an even number of hops, so that both parts can be halved alike. The last row
    has no samples.
    """

    name: ClassVar[str] = "wavegram"

    bins: int = 384
    sample_rate: int = 32_000
    max_seconds: float = 60.0
    window_samples: int = 1024
    hop_samples: int = 320
    low_hz: float = 50.0
    high_hz: float = 14_000.0

    def num_frames(self, num_samples: int) -> int:
        return 1 + 2 * max(1, -(-num_samples // (2 * self.hop_samples)))

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        hop, hops = self.hop_samples, self.num_frames(samples.size) - 1
        whole = np.pad(samples, (0, hops * hop - samples.size))
        mel = HtsatFrontEnd(
            bins=self.bins - hop,
            sample_rate=self.sample_rate,
            max_seconds=self.max_seconds + 1.0,
            window_samples=self.window_samples,
            hop_samples=hop,
            low_hz=self.low_hz,
            high_hz=self.high_hz,
        )
        rows = np.pad(whole.reshape(hops, hop), ((0, 1), (0, 0)))
        return np.concatenate([mel(whole), rows], axis=1)
