"""The model: encoders hear, an aligner compresses, a language model answers. Native to transformers."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModel
from transformers.utils.generic import can_return_tuple

from alm import encoders
from alm.aligner import Heard, TagPrompt, build_aligner, merge_windows
from alm.configuration import AlmConfig, BranchConfig, EncoderConfig
from alm.encoders.tuning import Tuning
from alm.errors import ConversationError
from alm.fusion import TEXT, AudioRows, FusedDecoder, FusionCache
from alm.lora_switch import LoraSwitch
from alm.side_by_side import side_by_side
from alm.tagging import TagHead

AUDIO_SUFFIXES = ("_features", "_mask", "_hidden", "_hidden_mask")
"""Audio inputs are named after their encoder: `whisper_features`, `whisper_mask`; cached features end in `_hidden`."""
AUDIO_INPUTS = ("audio_windows", "audio_embeds", "question_ids", "question_mask")


class AlmPreTrainedModel(PreTrainedModel):
    """Shared loading and initialisation."""

    config: AlmConfig
    config_class = AlmConfig
    base_model_prefix = "model"
    input_modalities = ("audio", "text")
    output_modalities = ("text",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    _no_split_modules = ["Blip2QFormerLayer"]  # noqa: RUF012 - models add their language model's own layers


class AudioHearing(nn.Module):
    """Encoders and aligners: everything between a spectrogram and an audio token."""

    def __init__(self, config: AlmConfig) -> None:
        super().__init__()
        text_dim = config.text_config.hidden_size  # type: ignore[union-attr]
        self.settings = config.encoder_configs
        self.branches = config.branch_configs
        self.encoders = nn.ModuleDict({n: encoders.build(e.family, e.config) for n, e in self.settings.items()})
        self.dims = {n: self._encoder(n).dim for n in self.settings}
        self.counts = {n: len(e.layers) for n, e in self.settings.items()}
        self.aligners = nn.ModuleList([self._aligner(b, text_dim) for b in self.branches])
        self.tuning = nn.ModuleDict(
            {n: self._bypasses(n, e) for n, e in self.settings.items() if e.tune in ("lora", "adapter")}
        )
        tags = len(config.tag_labels or [])
        self.tag_head = TagHead(self.counts, self.dims, tags, config.tag_hidden) if tags else None
        self.tag_prompts = nn.ModuleDict(
            {
                str(i): TagPrompt(tags, b.aligner.soft_prompt_tokens, text_dim)
                for i, b in enumerate(self.branches)
                if b.aligner.soft_prompt_tokens
            }
        )

    def _encoder(self, name: str) -> encoders.AudioEncoder:
        return self.encoders[name]  # type: ignore[return-value]

    def _bypasses(self, name: str, setting: EncoderConfig) -> Tuning:
        targets = setting.tune_layers or encoders.family(setting.family).lora_targets
        return Tuning(
            self._encoder(name), targets, setting.tune_rank, setting.tune_alpha, bend=setting.tune == "adapter"
        )

    def learning(self) -> dict[str, nn.Parameter]:
        """What of the encoders is to learn by their configurations, by its name in here."""
        full = tuple(f"encoders.{n}." for n, e in self.settings.items() if e.tune == "full")
        return {n: p for n, p in self.named_parameters() if n.startswith(("tuning.", *full))}

    def _aligner(self, branch: BranchConfig, text_dim: int) -> nn.Module:
        layers = {n: self.counts[n] for n in branch.encoders}
        return build_aligner(branch.aligner, layers, {n: self.dims[n] for n in branch.encoders}, text_dim)

    def encode(self, inputs: dict[str, Tensor]) -> dict[str, Heard]:
        """Features of every encoder, from spectrograms (`<name>_features`) or from a cache (`<name>_hidden`)."""
        return side_by_side(lambda name: self._encode_one(name, inputs), self.settings)

    def _encode_one(self, name: str, inputs: dict[str, Tensor]) -> Heard:
        setting, encoder = self.settings[name], self._encoder(name)
        seconds = setting.pool_frames / encoder.frames_per_second
        dtype = next(self.aligners.parameters()).dtype
        if (cached := inputs.get(f"{name}_hidden")) is not None:
            return Heard(cached.to(dtype), inputs[f"{name}_hidden_mask"].bool(), seconds)
        spectrogram, mask = inputs.get(f"{name}_features"), inputs.get(f"{name}_mask")
        if spectrogram is None or mask is None:
            raise ConversationError(
                f"the batch has audio but no '{name}_features' and '{name}_mask'; make inputs with AlmProcessor"
            )
        own = [*encoder.parameters()]
        if name in self.tuning:
            self.tuning[name].attach(encoder)  # type: ignore[operator]
            own += self.tuning[name].parameters()
        trains = any(p.requires_grad for p in own) and torch.is_grad_enabled()
        with torch.set_grad_enabled(trains):
            layers = [i % (encoder.num_layers + 1) for i in setting.layers]
            out = encoder(spectrogram.to(encoder.dtype), mask.bool(), layers)
        if name in self.tuning:
            self.tuning[name].check()  # type: ignore[operator]
        hidden, kept = pool_frames(out.features, out.mask, setting.pool_frames)
        return Heard(hidden.to(dtype), kept, seconds)

    def align(self, heard: dict[str, Heard], question: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Features to normalised audio tokens: `[windows, tokens_per_window, dim]`, branch after branch."""
        parts = []
        for index, (branch, aligner) in enumerate(zip(self.branches, self.aligners, strict=True)):
            parts.append(aligner({n: heard[n] for n in branch.encoders}, question, mask))
            if str(index) in self.tag_prompts and self.tag_head is not None:
                parts.append(self.tag_prompts[str(index)](self.tag_head(heard)))
        return torch.cat(parts, dim=1)


def pool_frames(hidden: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean over groups of `count` real frames: `[windows, layers, time, dim]` and mask, `time / count` rounded up."""
    if count == 1:
        return hidden, mask
    short = -hidden.shape[2] % count
    hidden, mask = nn.functional.pad(hidden, (0, 0, 0, short)), nn.functional.pad(mask, (0, short))
    weight = mask.unflatten(1, (-1, count)).to(hidden.dtype)
    total = (hidden.unflatten(2, (-1, count)) * weight[:, None, :, :, None]).sum(3)
    return total / weight.sum(2).clamp_min(1)[:, None, :, None], weight.any(2)


@dataclass
class AlmModelOutputWithPast(BaseModelOutputWithPast):
    """Adds the audio tokens of this call to the usual output."""

    audio_tokens: Tensor | None = None
    """[windows, tokens_per_window, dim] before they take on a layer's mean and spread."""


class AlmModel(AlmPreTrainedModel):
    """Encoders, aligner, fusion and the language model without its head."""

    def __init__(self, config: AlmConfig) -> None:
        super().__init__(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.hearing = AudioHearing(config)
        self.fusion = FusedDecoder(config)
        self._no_split_modules = [*list(self.language_model._no_split_modules or []), "Blip2QFormerLayer"]
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()  # type: ignore[no-any-return]

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_audio_features(self, **inputs: Tensor) -> Tensor:
        """Audio tokens `[windows, tokens_per_window, dim]` of the given spectrograms or cached features."""
        if (ready := inputs.get("audio_embeds")) is not None:
            return ready
        question, mask = self._question(inputs)
        tokens = self.hearing.align(self.hearing.encode(inputs), question, mask)
        windows, left = inputs.get("audio_windows"), self.config.windows_left
        if windows is None or all(left(n) == n for n in windows.tolist()):
            return tokens
        own = tokens.split(windows.tolist())
        return torch.cat([merge_windows(t, [(0.0, 0.0)] * len(t), left(len(t)))[0] for t in own])

    def _question(self, inputs: dict[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
        ids, mask, windows = (inputs.get(k) for k in ("question_ids", "question_mask", "audio_windows"))
        if ids is None or mask is None or windows is None:
            return None, None
        embeds = self.get_input_embeddings()(ids).detach()
        return embeds.repeat_interleave(windows, dim=0), mask.repeat_interleave(windows, dim=0)

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: FusionCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> AlmModelOutputWithPast:
        """
        Args:
            input_ids: `[batch, time]`; `config.audio_token_id` marks the audio positions.
            attention_mask: `[batch, past + time]`, 0 on padding.
            past_key_values: a [`FusionCache`]; made when `use_cache` is set and none is given.
            inputs_embeds: `[batch, time, dim]` instead of ids, for text only.
            kwargs: audio inputs as [`AlmProcessor`] makes them, and options for the attention interface.

        Raises:
            ConversationError: audio positions and audio tokens differ in number.
        """
        audio_inputs = {k: kwargs.pop(k) for k in list(kwargs) if is_audio_input(k, self.config)}
        cache = self._cache(past_key_values, use_cache)
        is_audio = input_ids == self.config.audio_token_id if input_ids is not None else None
        heard_before = isinstance(cache, FusionCache) and cache.has_audio
        if is_audio is None or (not heard_before and not bool(is_audio.any())):
            if audio_inputs.get("audio_windows") is not None and audio_inputs["audio_windows"].numel():
                raise ConversationError(
                    f"{audio_inputs['audio_windows'].numel()} recordings were given but the text has no place for them"
                )
            return self._text_only(input_ids, attention_mask, position_ids, cache, inputs_embeds, kwargs)
        assert input_ids is not None
        tokens = self.get_audio_features(**audio_inputs) if bool(is_audio.any()) else None
        embeds = self.get_input_embeddings()(input_ids.masked_fill(is_audio, 0))
        real = self._real(attention_mask, input_ids)
        positions = position_ids if position_ids is not None else self._positions(attention_mask, input_ids, cache)
        if isinstance(cache, FusionCache):
            cache.has_audio = True
        hidden = self.fusion(
            self.language_model, embeds, real, positions.expand(real.shape),
            self._lay_out(tokens, is_audio, embeds), cache, **kwargs,
        )  # fmt: skip
        return AlmModelOutputWithPast(last_hidden_state=hidden, past_key_values=cache, audio_tokens=tokens)

    def _cache(self, given: Any, use_cache: bool | None) -> Any:
        """Only a [`FusionCache`] can hold layers of different lengths."""
        if given is None:
            return FusionCache() if use_cache else None
        if isinstance(given, FusionCache):
            return given
        if given.get_seq_length():
            raise ConversationError(
                f"past_key_values is a filled {type(given).__name__}; start the conversation with alm.FusionCache()"
            )
        return FusionCache()

    def _text_only(
        self, input_ids: Any, attention_mask: Any, position_ids: Any, cache: Any, embeds: Any, options: dict[str, Any]
    ) -> AlmModelOutputWithPast:
        """No audio now or before: the untouched language model, so that its logits are its own."""
        out = self.language_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            inputs_embeds=embeds,
            use_cache=cache is not None,
            **options,
        )
        if isinstance(cache, FusionCache):
            shape = out.last_hidden_state
            real = self._real(attention_mask, shape[..., 0])
            for group in self.fusion.plan.groups:
                cache.record(group.first, torch.ones_like(real), real)
            cache.positions += shape.shape[1]
        return AlmModelOutputWithPast(
            last_hidden_state=out.last_hidden_state, past_key_values=cache, hidden_states=out.hidden_states
        )

    @staticmethod
    def _real(attention_mask: Tensor | None, like: Tensor) -> Tensor:
        if attention_mask is None:
            return torch.ones(like.shape, dtype=torch.bool, device=like.device)
        return attention_mask[:, -like.shape[1] :].bool()

    @staticmethod
    def _positions(attention_mask: Tensor | None, ids: Tensor, cache: FusionCache | None) -> Tensor:
        """Positions count real tokens, audio included, in every layer alike."""
        if attention_mask is not None:
            return (attention_mask.long().cumsum(-1) - 1).clamp_min(0)[:, -ids.shape[1] :]
        seen = cache.positions if cache is not None else 0
        return torch.arange(seen, seen + ids.shape[1], device=ids.device)[None]

    def _lay_out(self, tokens: Tensor | None, is_audio: Tensor, embeds: Tensor) -> AudioRows:
        """Put the audio tokens at the audio positions, in the order of the conversation."""
        route = torch.full(is_audio.shape, TEXT, device=embeds.device)
        rows = torch.zeros_like(embeds)
        if tokens is None:
            return AudioRows(rows, route)
        flat = tokens.reshape(-1, tokens.shape[-1]).to(embeds.dtype)
        places = int(is_audio.sum())
        if len(flat) != places:
            raise ConversationError(
                f"the text has {places} audio positions but the recordings make {len(flat)} audio tokens "
                f"({self.config.tokens_per_window} a window); make both with the same AlmProcessor"
            )
        window = torch.tensor(self.fusion.plan.window, device=embeds.device)
        route[is_audio] = window.repeat(len(flat) // len(window))
        rows = rows.masked_scatter(is_audio[..., None], flat)
        return AudioRows(rows, route)


def is_audio_input(name: str, config: AlmConfig) -> bool:
    """Whether a keyword argument is an audio input of a model with this configuration."""
    return name in AUDIO_INPUTS or any(name == e + s for e in config.encoders or {} for s in AUDIO_SUFFIXES)


class AlmForConditionalGeneration(AlmPreTrainedModel, GenerationMixin):
    """Answers questions about recordings: [`AlmModel`] with the language model's head."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.language_model.embed_tokens.weight"}

    def __init__(self, config: AlmConfig) -> None:
        super().__init__(config)
        text: Any = config.text_config
        self.model = AlmModel(config)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self._no_split_modules = self.model._no_split_modules
        self._lora = LoraSwitch()
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def get_audio_features(self, **inputs: Tensor) -> Tensor:
        """See [`AlmModel.get_audio_features`]."""
        return self.model.get_audio_features(**inputs)

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """As [`AlmModel.forward`]; `labels` `[batch, time]` with -100 where no loss is wanted."""
        num_items = kwargs.pop("num_items_in_batch", None)
        out = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, keep])
        loss = None
        if labels is not None:
            vocab = self.config.text_config.vocab_size  # type: ignore[union-attr]
            extra = {} if num_items is None else {"num_items_in_batch": num_items}
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=vocab, **extra)
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=out.past_key_values, hidden_states=out.hidden_states
        )

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, is_first_iteration: bool | None = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Audio inputs belong to the prefill alone."""
        inputs = super().prepare_inputs_for_generation(input_ids, is_first_iteration=is_first_iteration, **kwargs)
        if not is_first_iteration and kwargs.get("use_cache", True):
            inputs = {k: v for k, v in inputs.items() if not is_audio_input(k, self.config)}
        return inputs  # type: ignore[no-any-return]

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, **kwargs: Any) -> Any:
        """As `GenerationMixin.generate`, with a cache that holds audio, and LoRA off for text-only input if so set."""
        ids = inputs if inputs is not None else kwargs.get("input_ids")
        cache = kwargs.get("past_key_values")
        if cache is None and kwargs.get("use_cache", True):
            cache = kwargs["past_key_values"] = FusionCache()
        audio = (ids is not None and bool((ids == self.config.audio_token_id).any())) or (
            isinstance(cache, FusionCache) and cache.has_audio
        )
        config = kwargs.get("generation_config") or self.generation_config
        never = {*(kwargs.get("suppress_tokens") or config.suppress_tokens or ()), self.config.audio_token_id}
        kwargs["suppress_tokens"] = sorted(never)  # an answer holds no recording
        with self.lora_for(audio):
            return super().generate(inputs, **self._heard_once(ids, kwargs))

    def _heard_once(self, ids: Tensor | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Encode before the decoding starts: beams and returned sequences then share one hearing."""
        given = {k: v for k, v in kwargs.items() if is_audio_input(k, self.config)}
        windows = given.get("audio_windows")
        if not given or (windows is not None and not windows.numel()):
            return {k: v for k, v in kwargs.items() if k not in given}
        if ids is None or not bool((ids == self.config.audio_token_id).any()):
            raise ConversationError("recordings were given but input_ids has no place for them")
        tokens = self.get_audio_features(**given)
        return {**{k: v for k, v in kwargs.items() if k not in given}, "audio_embeds": tokens}

    def _validate_model_kwargs(self, model_kwargs: dict[str, Any]) -> None:
        """Misspelt arguments stay an error; audio inputs are known although their names depend on the encoders."""
        super()._validate_model_kwargs({k: v for k, v in model_kwargs.items() if not is_audio_input(k, self.config)})

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Any = None, **kwargs: Any
    ) -> Any:
        """Repeat each row's audio windows as one block, in step with the row itself."""
        tokens, cache = kwargs.pop("audio_embeds", None), kwargs.get("past_key_values")
        ids, kwargs = super()._expand_inputs_for_generation(expand_size, is_encoder_decoder, input_ids, **kwargs)
        if tokens is not None:
            seen = cache.get_seq_length() if cache is not None else 0
            places = (input_ids[:, seen:] == self.config.audio_token_id).sum(1)
            per_row = (places // self.config.tokens_per_window).tolist()
            blocks = [block for row in tokens.split(per_row) for block in [row] * expand_size]
            kwargs["audio_embeds"] = torch.cat(blocks)
        return ids, kwargs

    @contextmanager
    def lora_for(self, audio: bool) -> Any:
        """LoRA as the configuration wants it for input with or without audio (Granite Speech does the same).

        Threads may call it at the same time: those that want LoRA and those that do not take turns.
        """
        has_lora = getattr(self, "_hf_peft_config_loaded", False)
        with self._lora.passing(has_lora and not audio and not self.config.lora_on_text_only, self._turn_lora_off):
            yield

    def _turn_lora_off(self, off: bool) -> None:
        """Of the language model alone: another thread may be listening."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        for module in self.model.language_model.modules():
            if isinstance(module, BaseTunerLayer):
                module.enable_adapters(not off)
