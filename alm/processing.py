"""Processor: recordings and messages in, model inputs out. Native to transformers (`AutoProcessor`, `pipeline`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BatchFeature, FeatureExtractionMixin, PreTrainedTokenizerBase, ProcessorMixin
from transformers.utils import logging

from alm.audio import Waveform, load_audio, windows
from alm.configuration import AlmConfig, windows_left
from alm.encoders import front_end, front_end_from_dict
from alm.errors import AudioError, ConversationError
from alm.long_audio import HeardStream, Sound, open_audio
from alm.messages import Encoded, MessageEncoder

SHORTEST_SECONDS = 0.5
"""Windows shorter than this are filled up with silence: the sound CNN needs eight frames to pool over."""
PEAK = 0.7
"""Recordings are brought to this peak, as the sound CNN's training material was; the same for all their windows."""
MOST_GAIN = 32.0
"""30 dB at most, so that near silence stays near silence."""
AS_IT_IS = frozenset({"return_tensors", "padding", "return_attention_mask", "add_special_tokens"})
"""Options of other processors that ask for what this one does anyway."""


class AlmFeatureExtractor(FeatureExtractionMixin):
    """Cuts recordings into windows and makes the spectrogram that each encoder wants."""

    model_input_names: ClassVar[list[str]] = ["audio_windows"]

    def __init__(
        self,
        encoders: dict[str, dict[str, Any]] | None = None,
        window_seconds: float = 10.0,
        overlap_seconds: float = 1.0,
        max_audio_seconds: float = 1800.0,
        tokens_per_window: int = 16,
        max_audio_tokens: int = 0,
        merge_above_seconds: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            encoders: name of each encoder to its front end, as `FrontEnd.to_dict` describes it.
            tokens_per_window: audio positions that the model gives one window.
            max_audio_tokens: audio positions of one recording at most; 0: no bound.
            merge_above_seconds: recordings up to this length have no such bound.
        """
        super().__init__(**kwargs)
        self.encoders = dict(encoders or {})
        self.window_seconds = window_seconds
        self.overlap_seconds = overlap_seconds
        self.max_audio_seconds = max_audio_seconds
        self.tokens_per_window = tokens_per_window
        self.max_audio_tokens = max_audio_tokens
        self.merge_above_seconds = merge_above_seconds

    @classmethod
    def of(cls, config: AlmConfig) -> AlmFeatureExtractor:
        return cls(
            encoders={n: front_end(e.family, e.config).to_dict() for n, e in config.encoder_configs.items()},
            window_seconds=config.window_seconds,
            overlap_seconds=config.overlap_seconds,
            max_audio_seconds=config.max_audio_seconds,
            tokens_per_window=config.tokens_per_window,
            max_audio_tokens=config.max_audio_tokens,
            merge_above_seconds=config.merge_above_seconds,
        )

    def spans(self, recording: Sound) -> list[tuple[float, float]]:
        """Start and end in seconds of each window.

        Raises:
            AudioError: the recording is longer than `max_audio_seconds`.
        """
        if recording.seconds > self.max_audio_seconds:
            raise AudioError(
                f"{recording.source}: {recording.seconds:.1f} s is longer than the limit of "
                f"{self.max_audio_seconds:.0f} s; cut it, or load the model with a larger max_audio_seconds"
            )
        return windows(recording.seconds, self.window_seconds, self.overlap_seconds)

    def count_windows(self, recording: Sound) -> int:
        """Windows of the recording that the language model meets: those that are left once some were merged."""
        if isinstance(recording, HeardStream):
            return len(recording.heard.tokens)
        count, step = len(self.spans(recording)), self.window_seconds - self.overlap_seconds
        return windows_left(count, self.max_audio_tokens, self.tokens_per_window, self.merge_above_seconds, step)

    def __call__(self, recordings: Sequence[Sound], **_: Any) -> BatchFeature:
        """`<name>_features` `[windows, frames, bins]`, their `<name>_mask`, and `audio_windows` `[recordings]`.

        All windows of long recordings are there; the model merges them after it has heard them.
        """
        spans = [self.spans(r) for r in recordings]
        cuts = [(cut, r.peak) for r, own in zip(recordings, spans, strict=True) for cut in r.segments(own)]
        data = self._spectrograms(cuts)
        data["audio_windows"] = torch.tensor([len(own) for own in spans], dtype=torch.long)
        return BatchFeature(data)

    def features(self, recording: Sound, spans: Sequence[tuple[float, float]]) -> dict[str, Tensor]:
        """Spectrograms and masks of some windows of one recording."""
        return self._spectrograms([(cut, recording.peak) for cut in recording.segments(spans)])

    def groups(
        self, recording: Sound, spans: Sequence[tuple[float, float]], at_once: int
    ) -> Iterator[tuple[Sequence[tuple[float, float]], dict[str, Tensor]]]:
        """The same a few windows at a time, in one reading of the recording."""
        cuts = iter(recording.segments(spans))
        for first in range(0, len(spans), at_once):
            group = spans[first : first + at_once]
            yield group, self._spectrograms([(cut, recording.peak) for cut in islice(cuts, len(group))])

    def window_features(self, window: Waveform, peak: float) -> dict[str, Tensor]:
        """Spectrograms and masks of one window of a recording whose largest absolute sample is `peak`."""
        return self._spectrograms([(window, peak)])

    def _spectrograms(self, cuts: Sequence[tuple[Waveform, float]]) -> dict[str, Tensor]:
        """Of windows and their recordings' peaks; a window is brought to each rate once, whoever wants it."""
        makers = {name: front_end_from_dict(settings) for name, settings in self.encoders.items()}
        pictures: dict[str, list[NDArray[np.float32]]] = {name: [] for name in makers}
        for window, peak in cuts:
            at_rate = {rate: _at_rate(window, peak, rate) for rate in {m.sample_rate for m in makers.values()}}
            for name, make in makers.items():
                pictures[name].append(make(at_rate[make.sample_rate]))
        data: dict[str, Tensor] = {}
        for name, make in makers.items():
            data[f"{name}_features"], data[f"{name}_mask"] = _stack(pictures[name], make.bins)
        return data


def _at_rate(window: Waveform, peak: float, rate: int) -> NDArray[np.float32]:
    """Samples of one window at an encoder's rate (each window is resampled by itself, so memory stays bounded)."""
    gain = min(PEAK / max(peak, 1e-9), MOST_GAIN)
    samples, shortest = window.resampled(rate), int(SHORTEST_SECONDS * rate)
    return np.pad(samples * np.float32(gain), (0, max(0, shortest - len(samples))))


def _stack(spectrograms: list[NDArray[np.float32]], bins: int) -> tuple[Tensor, Tensor]:
    longest = max((len(s) for s in spectrograms), default=0)
    features = torch.zeros(len(spectrograms), longest, bins)
    mask = torch.zeros(len(spectrograms), longest, dtype=torch.bool)
    for row, spectrogram in enumerate(spectrograms):
        features[row, : len(spectrogram)] = torch.from_numpy(spectrogram)
        mask[row, : len(spectrogram)] = True
    return features, mask


def open_part(part: dict[str, Any]) -> Sound:
    """The recording of one `{"type": "audio"}` part: `audio` (waveform, array with `sampling_rate`, bytes) or `path`.

    Raises:
        ConversationError: no recording, or a URL (nothing is ever fetched here).
    """
    value = part.get("audio", part.get("path"))
    if value is None:
        raise ConversationError(
            "an audio part has neither 'audio' nor 'path'; URLs are not fetched, pass the file itself"
        )
    if isinstance(value, str) and "://" in value:
        raise ConversationError(f"{value[:80]!r} is a URL; download the recording and pass the file")
    return open_audio(value, rate=part.get("sampling_rate"))


class AlmProcessor(ProcessorMixin):
    """Feature extractor and tokenizer of the model; use [`apply_chat_template`] for anything people wrote."""

    def __init__(
        self,
        feature_extractor: AlmFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        audio_token: str = "<|audio|>",
    ) -> None:
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)
        self.audio_token = audio_token
        self.audio_token_id = int(tokenizer.convert_tokens_to_ids(audio_token))

    @property
    def model_input_names(self) -> list[str]:
        names = [n + s for n in self.feature_extractor.encoders for s in ("_features", "_mask")]
        return ["input_ids", "attention_mask", *names, "audio_windows"]

    def encoder(self, chat_template: str | None = None) -> MessageEncoder:
        """The message encoder of this tokenizer and window layout."""
        return MessageEncoder(
            tokenizer=self.tokenizer,
            audio_token_id=self.audio_token_id,
            tokens_per_window=self.feature_extractor.tokens_per_window,
            count_windows=self.feature_extractor.count_windows,
            open_recording=open_part,
            chat_template=chat_template or self.chat_template,
        )

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]] | list[list[dict[str, Any]]],
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = True,
        tokenize: bool = True,
        return_dict: bool = True,
        return_labels: bool = False,
        padding_side: str = "left",
        **others: Any,
    ) -> Any:
        """Model inputs of one conversation or of a batch of them, always as tensors.

        Args:
            return_labels: add `labels` `[batch, time]`: -100 everywhere but on the assistant's answers.
            padding_side: `left` to generate, either to train.
            others: other processors' options; those that would change something are told and left out.
        """
        _tell_ignored(others)
        one = not conversation or isinstance(conversation[0], dict)
        batch: Any = [conversation] if one else conversation
        if not tokenize:
            texts = [self._as_text(c, chat_template, add_generation_prompt) for c in batch]
            return texts[0] if one else texts
        encoder = self.encoder(chat_template)
        encoded = [encoder.encode(c, add_generation_prompt) for c in batch]
        inputs = self.collate(encoded, return_labels, padding_side)
        return inputs if return_dict else inputs["input_ids"]

    def _as_text(self, conversation: list[dict[str, Any]], template: str | None, prompt: bool) -> str:
        """The prompt as text, for people to read; control tokens in user text look like control tokens here."""
        encoded = self.encoder(template).encode(conversation, prompt)
        return str(self.tokenizer.decode(encoded.ids))

    def collate(
        self, encoded: Sequence[Encoded], return_labels: bool = False, padding_side: str = "left"
    ) -> BatchFeature:
        """Pad encoded conversations to one batch and make the features of their recordings, in order."""
        longest = max(len(e.ids) for e in encoded)
        pad = partial(_pad, longest=longest, left=padding_side == "left")
        filler = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        data: dict[str, Any] = {
            "input_ids": torch.tensor([pad(e.ids, filler) for e in encoded]),
            "attention_mask": torch.tensor([pad([1] * len(e.ids), 0) for e in encoded]),
        }
        if return_labels:
            rows = [[i if a else -100 for i, a in zip(e.ids, e.answer, strict=True)] for e in encoded]
            data["labels"] = torch.tensor([pad(r, -100) for r in rows])
        if recordings := [r for e in encoded for r in e.recordings]:
            data.update(self.feature_extractor(recordings))
        return BatchFeature(data)

    def __call__(
        self,
        text: str | list[str] | None = None,
        audio: Waveform | list[Waveform] | None = None,
        sampling_rate: int | None = None,
        padding_side: str = "left",
        **others: Any,
    ) -> BatchFeature:
        """Trusted text with `audio_token` where each recording goes (text of people: [`apply_chat_template`]).

        Raises:
            ConversationError: the number of placeholders and recordings differ.
        """
        _tell_ignored(others)
        texts = [text] if isinstance(text, str) else list(text or [])
        given = [] if audio is None else list(audio) if isinstance(audio, list | tuple) else [audio]
        recordings = [load_audio(a, rate=sampling_rate) for a in given]
        wanted = sum(t.count(self.audio_token) for t in texts)
        if wanted != len(recordings):
            raise ConversationError(
                f"the text has {wanted} places ({self.audio_token}) for {len(recordings)} recordings; give one each"
            )
        left = iter(recordings)
        encoded = [self._placed(t, [next(left) for _ in range(t.count(self.audio_token))]) for t in texts]
        return self.collate(encoded, padding_side=padding_side)

    def _placed(self, text: str, recordings: Sequence[Sound]) -> Encoded:
        counts = [self.feature_extractor.count_windows(r) for r in recordings]
        ids: list[int] = []
        for index, piece in enumerate(text.split(self.audio_token)):
            if index:
                ids += [self.audio_token_id] * (counts[index - 1] * self.feature_extractor.tokens_per_window)
            ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        return Encoded(ids, [False] * len(ids), list(recordings), counts)


def _tell_ignored(options: Mapping[str, Any]) -> None:
    """Warn of options that change nothing here, as the processors of transformers do."""
    ignored = [n for n, v in options.items() if n not in AS_IT_IS and v is not None and v is not False and v != {}]
    if options.get("return_tensors") not in (None, "pt"):
        ignored.append("return_tensors")
    if ignored:
        logging.get_logger(__name__).warning(f"AlmProcessor has no option {', '.join(sorted(ignored))}; left out")


def _pad(row: list[int], filler: int, longest: int, left: bool) -> list[int]:
    padding = [filler] * (longest - len(row))
    return padding + row if left else row + padding
