"""Configuration of the model: which encoders hear, how they are aligned, and where their tokens enter the decoder.

One *branch* is a group of encoders with one aligner and one fusion scheme. The default has one branch that fuses all
encoders; PAL v2's per-encoder routing (Whisper one way, a sound encoder another) is two branches.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from alm import encoders
from alm.errors import ConfigError

T = TypeVar("T")

SCHEMES = ("prefix", "delayed", "keys_values", "hybrid", "cross_attention")
EARLY_AUDIO = ("absent", "placeholder")
ALIGNERS = ("qformer", "linear", "stretch_qformer")
JOINS = ("tokens", "channels", "sum")
TUNINGS = ("frozen", "lora", "adapter", "full")


@dataclass(frozen=True)
class EncoderConfig:
    """One audio encoder of the ensemble."""

    family: str
    """Registry name: `alm.encoders.names()`."""
    layers: tuple[int, ...] = (-1,)
    """Hidden layers handed to the aligner; negative counts from the last."""
    pool_frames: int = 1
    """Mean over this many consecutive frames before the aligner (fewer keys to attend to)."""
    config: dict[str, Any] = field(default_factory=dict)
    """Architecture of the encoder, as its own module defines it."""
    tune: str = "frozen"
    """`frozen`; `lora` or `adapter` (a bypass of low rank beside its linear layers, without or with a bend in it); or
    `full`. What may learn is part of a saved adapter, and what the group `encoder` of a training stage trains;
    `AudioHearing.learning` names it."""
    tune_rank: int = 8
    tune_alpha: float = 16.0
    """The bypass counts `tune_alpha / tune_rank` times."""
    tune_layers: tuple[str, ...] = ()
    """Last names of the linear layers that get a bypass; empty: those that the family names."""

    def __post_init__(self) -> None:
        if self.tune not in TUNINGS:
            raise ConfigError(f"encoder.tune is {self.tune!r}; it must be one of {', '.join(TUNINGS)}")
        if self.tune_rank < 1 or self.pool_frames < 1:
            raise ConfigError(
                f"encoder.tune_rank is {self.tune_rank} and encoder.pool_frames {self.pool_frames}; both must be at "
                "least 1"
            )


@dataclass(frozen=True)
class AlignerConfig:
    """From encoder features to a fixed number of tokens a window."""

    kind: str = "qformer"
    """`qformer` (BLIP-2, GAMA, APT), `linear` (LTU: pooled frames and one projection) or `stretch_qformer` (SALMONN:
    a token of each equal stretch of time by one query; needs `join` other than `tokens`)."""
    num_queries: int = 16
    """Tokens a window."""
    hidden_size: int = 384
    num_layers: int = 2
    num_heads: int = 6
    dropout: float = 0.0
    question_aware: bool = False
    """The question's token embeddings join the queries' self-attention (APT, InstructBLIP)."""
    soft_prompt_tokens: int = 0
    """Extra tokens a window that carry the event tags (GAMA-IT's soft prompt)."""
    join: str = "tokens"
    """How the encoders of a branch come together: `tokens`, one after the other; or on one grid of time, `channels`,
    side by side in the features (SALMONN), or `sum`, each through a projection of its own (Step-Audio, Kimi-Audio)."""
    grid_frames_per_second: float = 0.0
    """Of `channels` and `sum`; 0: as fine as the finest of the encoders."""
    keep_frames: float = 1.0
    """`qformer`: share of the frames that is left once neighbours that are alike were merged; 1 for all."""

    def __post_init__(self) -> None:
        if self.kind not in ALIGNERS:
            raise ConfigError(f"aligner.kind is {self.kind!r}; it must be one of {', '.join(ALIGNERS)}")
        if self.join not in JOINS or (self.kind == "stretch_qformer" and self.join == "tokens"):
            raise ConfigError(
                f"aligner.join is {self.join!r}; it must be one of {', '.join(JOINS)}, and other than 'tokens' for "
                "'stretch_qformer'"
            )
        if not 0 < self.keep_frames <= 1 or (self.keep_frames < 1 and self.kind != "qformer"):
            raise ConfigError(
                f"aligner.keep_frames is {self.keep_frames} with kind {self.kind!r}; it must be above 0 and at most 1, "
                "and 1 for all kinds but 'qformer'"
            )
        if self.grid_frames_per_second < 0:
            raise ConfigError(f"aligner.grid_frames_per_second is {self.grid_frames_per_second}; it must be 0 or more")
        if self.num_queries < 1:
            raise ConfigError(f"aligner.num_queries is {self.num_queries}; it must be at least 1")
        if self.hidden_size % self.num_heads:
            raise ConfigError(
                f"aligner.hidden_size {self.hidden_size} is not divisible by aligner.num_heads {self.num_heads}"
            )


@dataclass(frozen=True)
class FusionConfig:
    """Where and how the tokens of one branch enter the decoder."""

    scheme: str = "delayed"
    """`prefix` (LTU, GAMA), `delayed` (PAL v1), `keys_values` (LAL), `hybrid` (PAL v3), `cross_attention`."""
    start_layer: int = 8
    """First decoder layer (0-based) that meets the audio. `prefix` needs 0."""
    summary_tokens: int = 4
    """`hybrid`: the first tokens of each window that travel in the residual stream; the rest are keys and values."""
    cross_every: int = 4
    """`cross_attention`: a gated block before every n-th layer from `start_layer` on."""

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise ConfigError(f"fusion.scheme is {self.scheme!r}; it must be one of {', '.join(SCHEMES)}")
        if self.start_layer < 0:
            raise ConfigError(f"fusion.start_layer is {self.start_layer}; it must be 0 or more")
        if self.scheme == "prefix" and self.start_layer != 0:
            raise ConfigError(
                f"fusion.scheme is 'prefix' but start_layer is {self.start_layer}; use 0, or scheme 'delayed'"
            )
        if self.cross_every < 1:
            raise ConfigError(f"fusion.cross_every is {self.cross_every}; it must be at least 1")


@dataclass(frozen=True)
class BranchConfig:
    """Encoders that share one aligner and one way into the decoder."""

    encoders: tuple[str, ...]
    aligner: AlignerConfig = field(default_factory=AlignerConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    @property
    def tokens_per_window(self) -> int:
        return self.aligner.num_queries + self.aligner.soft_prompt_tokens


def from_dict(cls: type[T], values: dict[str, Any] | T) -> T:
    """Build a frozen config from JSON values; unknown keys raise `ConfigError`."""
    if isinstance(values, cls):
        return values
    assert isinstance(values, dict)
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise ConfigError(f"{cls.__name__}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    nested = {"aligner": AlignerConfig, "fusion": FusionConfig}
    ready = {
        k: from_dict(nested[k], v) if k in nested else tuple(v) if isinstance(v, list) else v for k, v in values.items()
    }
    try:
        return cls(**ready)
    except TypeError as error:  # a field without a default is missing
        raise ConfigError(f"{cls.__name__}: {error}") from error


@strict
class AlmConfig(PreTrainedConfig):
    r"""Configuration of [`AlmForConditionalGeneration`].

    text_config (`dict | PreTrainedConfig`):
        Decoder-only language model of the Llama, Qwen2, Qwen3, Mistral or Gemma shape.
    encoders (`dict[str, dict]`):
        Name to [`EncoderConfig`] fields.
    branches (`list[dict]`):
        [`BranchConfig`] fields each; the tokens of a window are those of the branches in this order.
    early_audio (`str`):
        What layers below `start_layer` see at the audio positions: `absent` (nothing: no keys, no values) or
        `placeholder` (one learned vector, the same for all positions; what a paged-attention server can reproduce).
    window_seconds, overlap_seconds (`float`):
        Recordings are encoded in windows of this length with this overlap.
    max_audio_seconds (`float`):
        Longest recording accepted; longer ones are an error, never cut.
    max_audio_tokens (`int`):
        Most audio positions that one recording takes: the windows of a longer one are merged where neighbours sound
        alike, until it fits. 0: no bound.
    merge_above_seconds (`float`):
        Recordings up to this length keep all their windows, whatever `max_audio_tokens` says.
    audio_token_id (`int`):
        Marks the audio positions in `input_ids`.
    tag_labels (`list[str]`):
        Event classes of the tag head; empty for none.
    tag_hidden (`int`):
        Hidden units of the tag head.
    tag_words (`dict[str, list[str]]`):
        Words for the classes of the tag head. The first is how the evidence writes a class ("a dog barking" for
        "dog bark"): in the words of the answers, which a small language model matches better. All of them are how a
        question may name it, upon which the evidence says how sure the tag head is of it. Empty: labels are written,
        and questions are not looked at.
    tell_likeliest (`bool`):
        Whether the evidence closes with the likeliest of the sounds that a question names; the language model must have
        been trained so.
    lora_on_text_only (`bool`):
        Whether LoRA stays on when a conversation holds no recording.
    tie_word_embeddings (`bool`):
        Whether the language model's head is its embedding; as its own configuration says, whatever is given here.
    """

    model_type = "alm"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012 - a ClassVar annotation would hide it from `strict`

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    encoders: dict[str, Any] | None = None
    branches: list[Any] | None = None
    early_audio: str = "absent"
    window_seconds: float = 10.0
    overlap_seconds: float = 1.0
    max_audio_seconds: float = 1800.0
    max_audio_tokens: int = 0
    merge_above_seconds: float = 0.0
    audio_token_id: int = 0
    tag_labels: list[str] | None = None
    tag_hidden: int = 256
    tag_words: dict[str, list[str]] | None = None
    tell_likeliest: bool = False
    lora_on_text_only: bool = False
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.text_config, dict):
            kind = self.text_config.get("model_type", "llama")
            self.text_config = CONFIG_MAPPING[kind](**{**self.text_config, "model_type": kind})
        elif self.text_config is None:
            self.text_config = CONFIG_MAPPING["llama"]()
        self.tie_word_embeddings = bool(self.text_config.tie_word_embeddings)  # type: ignore[union-attr]
        self.tag_labels = list(self.tag_labels or [])
        self.tag_words = {label: list(words) for label, words in (self.tag_words or {}).items()}
        self.encoders = {n: _jsonable(from_dict(EncoderConfig, e)) for n, e in (self.encoders or {}).items()}
        self.branches = [_jsonable(from_dict(BranchConfig, b)) for b in (self.branches or [])]
        self._check()
        super().__post_init__(**kwargs)

    def _check(self) -> None:
        if self.early_audio not in EARLY_AUDIO:
            raise ConfigError(f"early_audio is {self.early_audio!r}; it must be one of {', '.join(EARLY_AUDIO)}")
        if not 0 <= self.overlap_seconds < self.window_seconds:
            raise ConfigError(
                f"overlap_seconds is {self.overlap_seconds}; it must be at least 0 and below window_seconds "
                f"{self.window_seconds}"
            )
        if self.max_audio_tokens and self.max_audio_tokens < self.tokens_per_window:
            raise ConfigError(
                f"max_audio_tokens is {self.max_audio_tokens}; it must be 0 or at least the {self.tokens_per_window} "
                "tokens of one window"
            )
        for name, encoder in self.encoder_configs.items():
            check_encoder(name, encoder, self.window_seconds)
        layers = self.text_config.num_hidden_layers  # type: ignore[union-attr]
        for branch in self.branch_configs:
            if missing := [e for e in branch.encoders if e not in self.encoder_configs]:
                raise ConfigError(f"a branch names encoders that are not configured: {', '.join(missing)}")
            if branch.fusion.start_layer >= layers:
                raise ConfigError(
                    f"fusion.start_layer {branch.fusion.start_layer} is not below the decoder's {layers} layers"
                )
            if branch.aligner.soft_prompt_tokens and not self.tag_labels:
                raise ConfigError("aligner.soft_prompt_tokens needs tag_labels")

    @property
    def encoder_configs(self) -> dict[str, EncoderConfig]:
        """By name, sorted: a saved configuration has its keys sorted, and pooled features are joined in this order."""
        return {n: from_dict(EncoderConfig, e) for n, e in sorted((self.encoders or {}).items())}

    @property
    def tag_phrases(self) -> dict[str, str]:
        """How the evidence writes a class, where that is not its label."""
        return {label: words[0] for label, words in (self.tag_words or {}).items() if words}

    @property
    def branch_configs(self) -> tuple[BranchConfig, ...]:
        return tuple(from_dict(BranchConfig, b) for b in (self.branches or []))

    @property
    def tokens_per_window(self) -> int:
        """Audio positions that one window takes in `input_ids`."""
        return sum(b.tokens_per_window for b in self.branch_configs)

    def windows_left(self, count: int) -> int:
        """Of a recording's windows, how many the language model meets after merging."""
        step = self.window_seconds - self.overlap_seconds
        return windows_left(count, self.max_audio_tokens, self.tokens_per_window, self.merge_above_seconds, step)


def check_encoder(name: str, encoder: EncoderConfig, window_seconds: float) -> None:
    """That the fields of an encoder are known, and that it hears a whole window; makes no encoder.

    Raises:
        ConfigError: a field is unknown or impossible, or the window is longer than the family hears at once.
    """
    try:
        front_end = encoders.front_end(encoder.family, encoder.config)
    except ConfigError as error:
        raise ConfigError(f"encoders.{name}: {error}") from error
    longest, rate = front_end.max_seconds, front_end.sample_rate
    if round(window_seconds * rate) > round(longest * rate):
        safe = math.floor(10 * longest + 1e-9) / 10  # at the very limit, rounding could make a window a sample longer
        raise ConfigError(
            f"window_seconds is {window_seconds:g}, but the encoder {name!r} ({encoder.family}) hears at most "
            f"{longest:g} s at once; set window_seconds to {safe:g} or less, or take another encoder"
        )


def windows_left(count: int, max_audio_tokens: int, tokens_per_window: int, whole_seconds: float, step: float) -> int:
    """See `AlmConfig.windows_left`; `step` is the seconds from one window to the next."""
    if not max_audio_tokens or count * step <= whole_seconds + step:
        return count
    return min(count, max_audio_tokens // tokens_per_window)


def _jsonable(config: Any) -> dict[str, Any]:
    """Plain JSON values: tuples become lists, so that a saved and loaded configuration compares equal."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, tuple | list) else value

    return plain(asdict(config))  # type: ignore[no-any-return]
