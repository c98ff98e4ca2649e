"""How vLLM prepares recordings: our own feature extractor, one window layout, one placeholder for each recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import BatchFeature
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import AudioProcessorItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
)

from alm.audio import Waveform, load_audio
from alm.configuration import AlmConfig
from alm.processing import AlmProcessor

_DUMMY_RATE_HZ = 16_000


class Recordings(MultiModalDataParser):
    """Keeps each recording's own rate: every encoder resamples for itself."""

    def _parse_audio_data(self, data: Any) -> Any:
        if data is None:
            return None
        if self.is_embeddings(data) or isinstance(data, dict):
            return super()._parse_audio_data(data)
        several = isinstance(data, list) and not (data and isinstance(data[0], float))
        return AudioProcessorItems([_with_rate(item) for item in (data if several else [data])])


def _with_rate(item: Any) -> tuple[Any, int] | None:
    """Samples and their rate; None where vLLM has the recording in its cache already."""
    if item is None:
        return None
    if not isinstance(item, tuple):
        raise ValueError("a recording must come with its rate, as (samples, rate)")
    samples, rate = item
    return np.asarray(samples, dtype=np.float32), int(rate)


class ProcessingInfo(BaseProcessingInfo):
    """What vLLM wants to know of the processor."""

    def get_hf_config(self) -> AlmConfig:
        return self.ctx.get_hf_config(AlmConfig)  # type: ignore[no-any-return]

    def get_hf_processor(self, **kwargs: object) -> AlmProcessor:
        return self.ctx.get_hf_processor(AlmProcessor, **kwargs)  # type: ignore[no-any-return]

    def get_data_parser(self) -> MultiModalDataParser:
        return Recordings(expected_hidden_size=self._get_expected_hidden_size())

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"audio": None}

    def longest_seconds(self, seq_len: int) -> float:
        """The longest recording whose audio tokens fit into so many positions; at least one window."""
        config = self.get_hf_config()
        windows = max(1, seq_len // config.tokens_per_window)
        while windows > 1 and config.windows_left(windows) < windows:
            windows -= 1  # a longer one takes no more positions
        step = config.window_seconds - config.overlap_seconds
        return min(config.max_audio_seconds, config.window_seconds + (windows - 1) * step)

    def get_mm_max_tokens_per_item(
        self, seq_len: int, mm_counts: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        extractor = self.get_hf_processor().feature_extractor
        longest = _silence(self.longest_seconds(seq_len))
        return {"audio": extractor.count_windows(longest) * extractor.tokens_per_window}


def _silence(seconds: float) -> Waveform:
    return Waveform(np.zeros(int(seconds * _DUMMY_RATE_HZ), dtype=np.float32), _DUMMY_RATE_HZ, "silence")


class DummyInputs(BaseDummyInputsBuilder[ProcessingInfo]):
    """The largest inputs, for vLLM's measurement of memory."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return str(self.info.get_hf_processor().audio_token) * mm_counts.get("audio", 0)

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]) -> Any:
        recording = _silence(self.info.longest_seconds(seq_len))
        return {"audio": [(recording.samples, recording.rate)] * mm_counts.get("audio", 0)}


class RecordingProcessor(BaseMultiModalProcessor[ProcessingInfo]):
    """Recordings to windows and spectrograms; one audio token of the prompt to as many as the windows have."""

    def _call_hf_processor(self, hf_data: Mapping[str, Any], hf_kwargs: Mapping[str, object]) -> BatchFeature:
        extractor = self.info.get_hf_processor(**hf_kwargs).feature_extractor
        made = [extractor([load_audio(samples, rate=rate)]) for samples, rate in hf_data["audio"]]
        return BatchFeature({name: [m[name] for m in made] for name in (made[0] if made else {})})

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {name: MultiModalFieldConfig.batched("audio") for name in hf_inputs}

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[PromptReplacement]:
        processor = self.info.get_hf_processor(**hf_processor_mm_kwargs)
        audio, per_window = processor.audio_token_id, processor.feature_extractor.tokens_per_window
        made, left = out_mm_kwargs.get_data(), self.info.get_hf_config().windows_left

        def places(index: int) -> list[int]:
            if "audio_embeds" in made:
                return [audio] * len(made["audio_embeds"][index])
            return [audio] * (left(int(made["audio_windows"][index])) * per_window)

        return [PromptReplacement(modality="audio", target=[audio], replacement=places)]

    def _apply_prompt_updates(self, token_ids: list[int], mm_prompt_updates: Any) -> Any:
        """As vLLM's, once it is sure that every audio token of the prompt is there for a recording."""
        audio = self.info.get_hf_processor().audio_token_id
        places, recordings = token_ids.count(audio), len(mm_prompt_updates.get("audio", ()))
        if places != recordings:
            raise ValueError(
                f"the prompt has {places} places for {recordings} recordings: the audio token was written out in a "
                "text; write it otherwise, or send the request to `alm serve`, which takes texts as they are"
            )
        return super()._apply_prompt_updates(token_ids, mm_prompt_updates)
