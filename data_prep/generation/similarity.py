"""How well a caption fits its recording, measured by a model that hears."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from alm.errors import ConfigError
from data_prep.generation.hearing import stretch
from data_prep.samples import Sample

if TYPE_CHECKING:
    from alm.assistant import Assistant

CLAP_SECONDS = 10.0
"""What CLAP models were trained on; of a longer recording the beginning is compared."""
MOST_SECONDS = 60.0


class Similarity(Protocol):
    """Any measure; threads may use it."""

    name: str

    def __call__(self, sample: Sample, text: str) -> float | None:
        """Higher is more alike; None where the measure cannot tell.

        Raises:
            AudioError: the recording cannot be used.
        """
        ...


@dataclass
class TagSimilarity:
    """By our own tag head: how far up its list the sounds stand that a caption names, 1 at the top and 0 at the bottom.

    It knows sounds by name alone: what has no class is not weighed, and a caption that names none cannot be told.
    """

    assistant: Assistant
    name: str = "tags"

    def __call__(self, sample: Sample, text: str) -> float | None:
        labels = self.assistant.model.config.tag_labels or []
        named = self.assistant.vocabulary.find(text)
        scores = self.assistant.ears.hear(stretch(sample, MOST_SECONDS)).scores
        if not named or scores is None:
            return None
        order: list[int] = scores.whole.float().argsort().argsort().tolist()
        ranks = {label: place / max(1, len(labels) - 1) for label, place in zip(labels, order, strict=True)}
        # An ambiguous word ("drum") counts as the class that fits best.
        return sum(max(ranks.get(label, 0.0) for label in m.labels) for m in named) / len(named)


@dataclass
class ClapSimilarity:
    """Cosine of the two embeddings of a CLAP model, from a folder of transformers on this machine."""

    folder: Path
    name: str = "clap"
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if not (self.folder / "config.json").is_file():
            raise ConfigError(f"--similarity {self.folder}: no folder with a CLAP model of transformers")

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import AutoProcessor, ClapModel

        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            processor = AutoProcessor.from_pretrained(self.folder, **local)
            return processor, ClapModel.from_pretrained(self.folder, use_safetensors=True, **local).eval()
        except (OSError, ValueError) as fault:
            raise ConfigError(f"--similarity {self.folder}: is no CLAP model ({str(fault)[:200]})") from fault

    def __call__(self, sample: Sample, text: str) -> float | None:
        import torch

        with self._turn, torch.inference_mode():
            processor, model = self._parts
            rate = processor.feature_extractor.sampling_rate
            heard = stretch(sample, CLAP_SECONDS).resampled(rate)
            given = processor(text=[text], audio=[heard], sampling_rate=rate, return_tensors="pt", truncation=True)
            out = model(**given)
            return float(torch.nn.functional.cosine_similarity(out.audio_embeds, out.text_embeds)[0])
