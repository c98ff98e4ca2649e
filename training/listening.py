"""Rows whose recordings the encoders hear during the step, for stages that change the encoders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from alm.aligner import Heard
from training.rows import Collator, Row


class ListeningCollator(Collator):
    """As [`Collator`], with spectrograms of the recordings instead of cached features.

    Noise on features and leading astray (`augment.noise`, `evidence.astray`) are changes to cached features: they do
    nothing here.
    """

    def _audio(self, rows: Sequence[Row]) -> tuple[dict[str, Heard], dict[str, Tensor]]:
        recordings = [self.cache.waveform(item) for row in rows for item in row.items]
        return {}, dict(self.processor.feature_extractor(recordings)) if recordings else {}
