"""The model as vLLM runs it: our encoders and aligners, vLLM's decoder layers, audio let in where the plan says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import SupportsMultiModal
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    StageMissingLayer,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.sequence import IntermediateTensors

from alm.aligner import merge_windows
from alm.configuration import AlmConfig
from alm.errors import CheckpointError
from alm.fusion import FusedDecoder
from alm.hearing import WINDOWS_AT_ONCE
from alm.modeling import AudioHearing
from serve.vllm_plugin.attention import ChoosyAttention
from serve.vllm_plugin.processing import DummyInputs, ProcessingInfo, RecordingProcessor
from serve.vllm_plugin.rows import StepRows, pack
from serve.vllm_plugin.support import DECODERS, check

_OWN = ("hearing.", "fusion.")


@MULTIMODAL_REGISTRY.register_processor(RecordingProcessor, info=ProcessingInfo, dummy_inputs=DummyInputs)
class AlmForVllm(nn.Module, SupportsMultiModal):
    """`AlmForConditionalGeneration` on vLLM's decoder; reads the same checkpoint."""

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            "model.language_model.": "language_model.model.",
            "lm_head.": "language_model.lm_head.",
            "model.hearing.": "hearing.",
            "model.fusion.": "fusion.",
        }
    )

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config: AlmConfig = vllm_config.model_config.hf_config
        check(config)
        self.config, text = config, config.text_config
        marks: Any = self  # the interface's methods, which are not typed here
        with marks._mark_tower_model(vllm_config, "audio"):
            self.hearing = AudioHearing(config)
        self.fusion = FusedDecoder(config)
        with marks._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=text,
                prefix=maybe_prefix(prefix, "language_model"),
                architectures=[DECODERS[text.model_type]],  # type: ignore[union-attr]
            )
        most = vllm_config.scheduler_config.max_num_batched_tokens
        self.rows = StepRows(most, text.hidden_size)  # type: ignore[union-attr]
        if config.early_audio == "absent":
            self._hide_audio_early(vllm_config)

    def _hide_audio_early(self, vllm_config: VllmConfig) -> None:
        """Below the entry of the last audio, keys of audio that is still to come are seen by nobody."""
        for index in range(max((r.start_layer for r in self.fusion.plan.routes), default=0)):
            own = self.language_model.model.layers[index].self_attn
            own.attn = ChoosyAttention(own.attn, self._absent_in(index), vllm_config)

    def _absent_in(self, layer: int) -> Callable[[int], Tensor]:
        return lambda count: self.rows.absent(self.fusion.plan, layer, count)

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """
        Raises:
            ValueError: always. vLLM's chat API would write the placeholder into the same text as the user's words,
                where both look alike; and it knows nothing of the evidence that comes with a recording.
        """
        raise ValueError("vLLM's own chat API cannot place recordings for this model; use `alm serve --engine vllm`")

    @torch.no_grad()
    def embed_multimodal(self, **inputs: Any) -> list[Tensor]:
        """Audio tokens with their routes, `[n, dim + 1]` for each recording, from spectrograms or ready tokens."""
        if (ready := inputs.get("audio_embeds")) is not None:
            return [pack(tokens.to(self.rows.tokens), self.fusion.plan) for tokens in ready]
        return [self._hear({k: v[i] for k, v in inputs.items()}) for i in range(len(inputs["audio_windows"]))]

    def _hear(self, recording: dict[str, Tensor]) -> Tensor:
        """A few windows at a time, so that memory does not grow with the length."""
        windows = int(recording["audio_windows"])
        given = {k: v for k, v in recording.items() if k != "audio_windows"}
        tokens = [
            self.hearing.align(self.hearing.encode({k: v[at : at + WINDOWS_AT_ONCE] for k, v in given.items()}))
            for at in range(0, windows, WINDOWS_AT_ONCE)
        ]
        kept, _ = merge_windows(torch.cat(tokens), [(0.0, 0.0)] * windows, self.config.windows_left(windows))
        return pack(kept.flatten(0, 1), self.fusion.plan)

    def embed_input_ids(
        self, input_ids: Tensor, multimodal_embeddings: Any = None, *, is_multimodal: Tensor | None = None
    ) -> Tensor:
        """Embeddings of the text; the audio of this step is kept for the layers that it enters."""
        self.rows.lay_out(is_multimodal, list(multimodal_embeddings if multimodal_embeddings is not None else ()))
        return self.language_model.embed_input_ids(input_ids)  # type: ignore[no-any-return]

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
        **_: object,
    ) -> Tensor:
        """Hidden states `[rows, dim]` of a step that [`embed_input_ids`] has prepared."""
        model: Any = self.language_model.model
        hidden = inputs_embeds if inputs_embeds is not None else self.embed_input_ids(input_ids)  # type: ignore[arg-type]
        residual: Tensor | None = None
        for index, layer in enumerate(model.layers):
            hidden, residual = self.rows.enter(self.fusion, index, hidden, residual)
            hidden, residual = layer(positions, hidden, residual)
        return model.norm(hidden, residual)[0]  # type: ignore[no-any-return]

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """An answer holds no recording."""
        logits: Tensor | None = self.language_model.compute_logits(hidden_states)
        if logits is not None:
            logits[:, self.config.audio_token_id] = -torch.inf
        return logits

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """
        Raises:
            CheckpointError: a weight of encoders, aligners or fusion is missing or unknown.
        """
        own: dict[str, Tensor] = {}
        loaded: set[str] = AutoWeightsLoader(self).load_weights(self._sorted_out(weights, own), mapper=None)
        hears = not isinstance(self.hearing, StageMissingLayer)  # else recordings come as audio tokens
        for name in ("hearing", "fusion") if hears else ("fusion",):
            found = {k.removeprefix(f"{name}."): v for k, v in own.items() if k.startswith(f"{name}.")}
            result = getattr(self, name).load_state_dict(found, strict=False)
            if result.missing_keys or result.unexpected_keys:
                raise CheckpointError(
                    f"{name}: missing {result.missing_keys[:5]}, unexpected {result.unexpected_keys[:5]}; "
                    "write the checkpoint again with Assistant.save_pretrained"
                )
        return loaded | {n for n, _ in self.named_parameters() if n.startswith(_OWN)}

    def _sorted_out(
        self, weights: Iterable[tuple[str, Tensor]], own: dict[str, Tensor]
    ) -> Iterable[tuple[str, Tensor]]:
        """The language model's weights; ours are put aside."""
        for name, tensor in self.hf_to_vllm_mapper.apply(weights):
            if name.startswith(_OWN):
                own[name] = tensor
            else:
                yield name, tensor
