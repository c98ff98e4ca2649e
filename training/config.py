"""Configuration of a training run: one YAML file, frozen dataclasses, unknown keys are errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from alm.errors import ConfigError
from training.losses import LOSSES
from training.overriding import overridden
from training.typed import build, check_least, check_parts, read_table

KINDS = ("align", "language")
GROUPS = ("aligner", "tag_head", "tag_prompts", "entry", "lora", "llm", "encoder", "encoder_adapter")
"""Names of what may be trained; see `training.groups`."""
PRECISIONS = ("fp32", "bf16", "auto")
ATTENTIONS = ("sdpa", "eager")
SCHEDULES = ("cosine", "linear", "constant")
DRAWS = ("tasks", "rows")
CURVES = ("none", "tensorboard")
QUANTISATIONS = ("none", "nf4", "int8")
ENCODER_METHODS = ("none", "lora", "dora", "ia3", "norms")
HEARD_ANEW = frozenset({"encoder", "encoder_adapter"})
"""Groups whose training makes cached features out of date."""


@dataclass(frozen=True)
class DataConfig:
    """Where the corpus lies. Relative paths count from the folder of each list."""

    clips: tuple[str, ...] = ()
    """Lists of labelled clips (`clips.jsonl` of an audio store)."""
    scenes: tuple[str, ...] = ()
    """Lists of composed scenes (`scenes.jsonl`); missing files are an error."""
    records: tuple[str, ...] = ()
    """Instruction records: JSONL files or patterns."""
    shards: tuple[str, ...] = ()
    """Folders of shards (`alm data build`): their records come besides those of `records`. The recordings are read out
    of the tars, so their features are made on the fly and `cache` is left empty."""
    classes: str = ""
    """Class table: name, group, phrase, synonyms; empty: the one of `data_prep`."""
    cache: str = "features"
    """Folder of the cached features; empty: every batch hears its recordings anew: no disk, and much time."""
    transcripts: str = ""
    """Whisper's transcripts of the recordings of the rows; `python -m training transcripts` writes them."""
    texts: tuple[str, ...] = ()
    """Lists (JSON lines with `audio` and `text` or `transcript`) that stand in for missing transcripts."""
    max_windows: int = 6
    """Longer recordings are not trained on; how many were left out is printed."""
    max_class_clips: int = 400
    """Of a class with more clips in a split, only so many are cached besides those of the rows."""
    all_scenes: bool = False
    """Cache composed scenes that no row uses, too."""
    min_class_clips: int = 2
    """Classes with fewer training clips get no tag."""
    classes_without_tag: tuple[str, ...] = ()
    """Classes that get no tag because their name says too little."""

    @property
    def class_table(self) -> Path:
        """File of the class table."""
        return Path(self.classes or str(files("data_prep") / "manifest" / "classes.csv"))

    def __post_init__(self) -> None:
        if self.shards and self.cache:
            raise ConfigError(
                f"data.shards names {self.shards[0]!r} and data.cache {self.cache!r}: the recordings of shards have no "
                "paths that a cache could know; write `cache: ''`, and features are made on the fly"
            )


@dataclass(frozen=True)
class LoraSettings:
    """LoRA on the language model."""

    rank: int = 16
    """Width of the two factors."""
    alpha: int = 32
    """The factors' product counts `alpha / rank` times."""
    dropout: float = 0.05
    """Probability that an input of the factors is left out."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear layers of each decoder layer that get factors, by the last part of their names."""
    from_start_layer: bool = True
    """Only layers that meet the audio."""
    dora: bool = False
    """A learned length for every row of the weights besides (DoRA, arXiv 2402.09353)."""


@dataclass(frozen=True)
class EncoderAdapters:
    """Small weights in frozen encoders, by peft; they learn in stages that train `encoder_adapter`."""

    method: str = "none"
    """`lora`, `dora`, `ia3` (a factor for each output of the targets) or `norms` (copies of the normalising layers)."""
    encoders: tuple[str, ...] = ("whisper",)
    """Names of the encoders that get them."""
    rank: int = 12
    """Of LoRA and DoRA; PETL-AST's reduction of 64 for a width of 768."""
    alpha: int = 8
    """The factors' product counts `alpha / rank` times."""
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Last parts of the names of the layers that get them."""

    def __post_init__(self) -> None:
        if self.method not in ENCODER_METHODS:
            allowed = ", ".join(ENCODER_METHODS)
            raise ConfigError(f"encoder_adapters: method is {self.method!r}; it must be one of {allowed}")


@dataclass(frozen=True)
class AugmentConfig:
    """Changes to cached features; each with its own probability or size, 0 for never."""

    join: float = 0.0
    """Probability that a second clip follows the first in the same window (stage `align`)."""
    time_mask: float = 0.0
    """Probability of hiding one stretch of up to 30 % of the frames."""
    noise: float = 0.0
    """Gaussian noise, as a part of each feature's spread."""
    mixup: float = 0.0
    """Weight of mixed pooled features in the tag head's loss."""

    def __post_init__(self) -> None:
        check_parts(self, "augment", ("join", "time_mask"))
        check_least(self, "augment", {"noise": 0, "mixup": 0})


@dataclass(frozen=True)
class EvidenceConfig:
    """How often training rows carry the evidence text."""

    tags: float = 0.6
    """Probability that tags are given."""
    asked: float = 0.0
    """Probability that a question is followed by what was heard of the sounds that it names."""
    transcript: float = 0.9
    """Probability that a known transcript is given."""
    wrong: float = 0.1
    """Probability that a tag is replaced by another class, so that the text is not trusted blindly."""
    astray: float = 0.0
    """Probability that the audio of a told recording is led astray: its features are moved towards those of another
    recording of the batch, up to all the way. Tokens of recordings that training knows are nearly always right, those
    of unseen ones are not: without this the language model would learn to believe its ears against the evidence."""
    folds: int = 4
    """Tag heads that each leave out a part of the sources: tags of training clips come from a head that never saw
    them. 0, or no labelled clips: the model's own head tells, which is right where it never learned from these."""
    fold_steps: int = 400
    """Steps of 128 sounds for each of those heads."""
    own: float = 0.45
    """Weight of the model's own tag head in the logits, beside the head that never saw the source. Many classes have
    few sources, so the latter alone is worse on training recordings than the own head is on unseen ones."""

    def __post_init__(self) -> None:
        check_parts(self, "evidence", ("tags", "asked", "transcript", "wrong", "astray", "own"))
        check_least(self, "evidence", {"folds": 0, "fold_steps": 1})

    @property
    def told(self) -> float:
        """Probability that a tag head is listened to at all, at least."""
        return max(self.tags, self.asked)


@dataclass(frozen=True)
class ExpectedConfig:
    """What a stage's rows are like; only `--dry-run` asks."""

    rows: int = 0
    """How many there are."""
    text_tokens: int = 80
    """Tokens of a row besides the audio."""
    answer_tokens: int = 30
    """Of these, tokens of the answer."""
    seconds: float = 10.0
    """Length of its recordings."""


@dataclass(frozen=True)
class StageConfig:
    """One stage of the curriculum."""

    name: str
    """Names the stage in logs, folders and `--stage`."""
    kind: str
    """`align`: audio tokens against the language model's states of words, without the decoder; `language`: answers."""
    train: tuple[str, ...]
    """Groups that learn: aligner, tag_head, tag_prompts, entry, lora, llm, encoder, encoder_adapter."""
    steps: int = 0
    """Batches; 0 where `epochs` says how long."""
    epochs: float = 0.0
    """Instead of `steps`: how often every row of the mix is seen; wants `draw: rows` in a stage of kind `language`."""
    expected: ExpectedConfig = field(default_factory=ExpectedConfig)
    """The stage's data, for `--dry-run` where they are not on this machine."""
    records: tuple[str, ...] = ()
    """Record files of this stage alone, among those of `data.records`; empty: all of them."""
    lr: Mapping[str, float] = field(default_factory=dict)
    """Peak learning rate of each group."""
    schedule: str = "cosine"
    """How the rate falls after the warm-up: `cosine`, `linear`, or `constant`, which does not."""
    final_lr: float = 0.1
    """Where it ends, as a part of the peak."""
    batch_size: int = 16
    """Rows a step, over all processes; at most, where `batch_tokens` or `batch_seconds` says less."""
    batch_tokens: int = 0
    """At most so many tokens a step, counted with padding (estimated from the rows' letters and windows); 0: any."""
    batch_seconds: float = 0.0
    """At most so many seconds of audio a step, counted with padding; 0: any."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """Losses of a stage `align` with their weights (`training.losses`); empty: `class`, `class_best`, `caption`."""
    questions_together: int = 1
    """Up to so many questions of a batch are about one recording, which is then read once for all of them."""
    tasks: Mapping[str, float] = field(default_factory=dict)
    """Task to weight in the mix; empty: all, by the square root of their size. `yes_no` are only the questions whose
    answer is yes; those that are answered no are `deny`."""
    draw: str = "tasks"
    """`tasks`: a task by its weight, then a row of it; `rows`: all rows of the mix in random order, as published
    curricula do, a task's weight being how often its rows come. With `questions_together`, those about the same
    recordings come together."""
    accumulate: int = 1
    """Parts that a batch is worked through in, one after the other: the same step in less memory (kind `language`).
    A batch of very unlike lengths is taken in more. Noise and dropout are drawn for each part."""
    gradient_checkpointing: bool = False
    """The backward pass computes layers of the language model again instead of keeping what they computed."""
    warmup_steps: int = 20
    """The rate rises linearly over so many steps."""
    weight_decay: float = 0.01
    """Of AdamW, on matrices."""
    betas: tuple[float, ...] = (0.9, 0.98)
    """Of AdamW: how slowly its two averages forget."""
    grad_clip: float = 1.0
    """Longest gradient; 0: any."""
    eval_every_steps: int = 100
    """Steps from one validation to the next; the last step is followed by one, too."""
    eval_rows: int = 24
    """Rows a task of the validation."""
    patience: int = 0
    """Validations without improvement before the stage ends; 0: never."""
    samples: int = 4
    """Answers written out at each validation."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Changes to cached features."""
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    """What rows tell besides the audio."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"stage {self.name}: kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        if unknown := sorted((set(self.train) | set(self.lr)) - set(GROUPS)):
            raise ConfigError(f"stage {self.name}: no group {unknown[0]!r}; groups are {', '.join(GROUPS)}")
        if missing := sorted(set(self.train) - set(self.lr)):
            raise ConfigError(f"stage {self.name}: lr has no value for {', '.join(missing)}")
        if unknown := sorted(set(self.losses) - set(LOSSES)):
            raise ConfigError(f"stage {self.name}: no loss {unknown[0]!r}; losses are {', '.join(LOSSES)}")
        if self.losses and (self.kind != "align" or "aligner" not in self.train):
            raise ConfigError(f"stage {self.name}: losses are for a stage of kind align that trains the aligner")
        if self.kind == "align" and self.accumulate > 1:
            raise ConfigError(
                f"stage {self.name}: accumulate is {self.accumulate}, but losses of kind align compare the recordings "
                "of a batch with each other; use a smaller batch_size"
            )
        if self.kind == "align" and (heard := sorted(HEARD_ANEW & set(self.train))):
            raise ConfigError(
                f"stage {self.name}: a stage of kind align reads cached features and cannot train {heard[0]}; "
                "train it in a stage of kind language"
            )
        where = f"stage {self.name}"
        counts = ("batch_size", "questions_together", "eval_every_steps", "accumulate")
        check_least(self, where, dict.fromkeys(counts, 1))
        check_least(self, where, dict.fromkeys(("eval_rows", "patience", "samples", "weight_decay", "grad_clip"), 0))
        if negative := [g for g, rate in self.lr.items() if rate < 0]:
            raise ConfigError(f"{where}: lr of {negative[0]} is {self.lr[negative[0]]:g}; it must not be negative")
        self._check_name()
        self._check_length()
        for name, allowed in (("schedule", SCHEDULES), ("draw", DRAWS)):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"stage {self.name}: {name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}"
                )
        if len(self.betas) != 2 or not all(0.0 <= b < 1.0 for b in self.betas):
            raise ConfigError(f"stage {self.name}: betas is {list(self.betas)}; it must be two numbers, 0 to below 1")
        if not 0.0 <= self.final_lr <= 1.0:
            raise ConfigError(f"stage {self.name}: final_lr is {self.final_lr}; it is a part of the peak, 0 to 1")

    def _check_name(self) -> None:
        """It names folders and checkpoints, beside those of the best weights."""
        if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", self.name) or self.name.endswith("-best"):
            raise ConfigError(
                f"stage {self.name!r}: a stage is named by letters, digits, `_`, `-` and dots, and not `...-best`"
            )

    def _check_length(self) -> None:
        if self.steps < 0 or self.epochs < 0 or (self.steps == 0) == (self.epochs == 0):
            raise ConfigError(
                f"stage {self.name}: steps is {self.steps} and epochs {self.epochs:g}; one of them must be above 0, "
                "the other left out"
            )
        if self.kind == "language" and self.epochs and self.draw != "rows":
            raise ConfigError(
                f"stage {self.name}: epochs is {self.epochs:g}, which counts rows, and draw 'tasks' shows those of "
                "small tasks more often than others; write draw: rows, or give steps"
            )
        check_least(self, f"stage {self.name}", {"batch_tokens": 0, "batch_seconds": 0, "warmup_steps": 0})
        if self.kind == "align" and (self.batch_tokens or self.batch_seconds or self.records):
            raise ConfigError(
                f"stage {self.name}: batch_tokens, batch_seconds and records belong to stages of kind 'language'; "
                "`align` draws labelled sounds of about one length"
            )


@dataclass(frozen=True)
class BaseConfig:
    """Frozen parts other than the preset's; what is left empty is the preset's."""

    llm: str = ""
    """Language model and its tokenizer: a folder, as transformers saves it, or a repository as `hub:OWNER/NAME`."""
    encoders: Mapping[str, str] = field(default_factory=dict)
    """Of each encoder of `model.encoders`, by its name: a folder as `alm weights` writes it, its authors' file, or a
    repository of the hub, as `hub:OWNER/NAME` or `hub:OWNER/NAME:FILE`."""
    text_config: Mapping[str, Any] = field(default_factory=dict)
    """Architecture of the language model (`config.json` of transformers), for `--dry-run` without its folder."""
    shapes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Size of encoders whose module the registry lacks, for `--dry-run` alone: `parameters`, `dim`, `layers`,
    `frames_per_second` (tokens that its layers work on)."""
    system: str = ""
    """System prompt."""
    audio_token: str = ""
    """A special token of the tokenizer that stands for audio positions."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on besides the data and the base weights."""

    preset: str
    """Preset whose model, prompt and base weights are meant where nothing else is said: a name, or the path of a
    `preset.json`."""
    data: DataConfig
    """The corpus."""
    stages: tuple[StageConfig, ...]
    """The curriculum, in order."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the preset's model configuration to replace."""
    base: BaseConfig = field(default_factory=BaseConfig)
    """Language model and encoders other than the preset's."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """LoRA on the language model."""
    encoder_adapters: EncoderAdapters = field(default_factory=EncoderAdapters)
    """Small weights in the frozen encoders, for stages that train `encoder_adapter`."""
    quantise: str = "none"
    """`nf4` (4 bits, QLoRA) or `int8`: the language model's frozen matrices, by bitsandbytes."""
    seed: int = 1
    """Every random number of the run depends on it."""
    threads: int = 0
    """Threads of the processor that a process computes with; 0: one for each core. Several processes of one machine
    share its cores."""
    precision: str = "fp32"
    """`fp32`; `bf16`: autocast, and the language model's matrices are kept in it until a stage trains them; `auto`
    takes the faster one of the machine that starts the run, and stays with it."""
    attention: str = "sdpa"
    """Attention of the language model; on CPU the backward pass of `eager` is faster."""
    device: str = "cpu"
    """`cpu`, `cuda` or `cuda:N`."""
    workers: int = 0
    """Processes that make batches ahead: 1 or 2 keep a GPU busy; on two cores they would slow the training down."""
    save_every_minutes: float = 5.0
    """Time from one checkpoint to the next."""
    save_every_steps: int = 0
    """Steps from one checkpoint to the next, besides; 0: only time counts."""
    keep_checkpoints: int = 2
    """Of a stage; older ones are deleted."""
    curves: str = "none"
    """`tensorboard`: losses, validation and answers as events in the run's folder, for `tensorboard --logdir`."""
    out: str = "runs/tiny"
    """Folder of the run."""

    def __post_init__(self) -> None:
        if self.curves not in CURVES:
            raise ConfigError(f"curves is {self.curves!r}; it must be one of {', '.join(CURVES)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")
        if self.attention not in ATTENTIONS:
            raise ConfigError(f"attention is {self.attention!r}; it must be one of {', '.join(ATTENTIONS)}")
        if self.quantise not in QUANTISATIONS:
            raise ConfigError(f"quantise is {self.quantise!r}; it must be one of {', '.join(QUANTISATIONS)}")
        check_least(self, "the run", dict.fromkeys(("save_every_minutes", "save_every_steps", "workers"), 0))
        check_least(self, "the run", {"keep_checkpoints": 1, "threads": 0})
        self._check_groups()
        names = [s.name for s in self.stages]
        if len(set(names)) != len(names):
            raise ConfigError(f"two stages have one name: {', '.join(names)}")

    def _check_groups(self) -> None:
        """What stages train has to be there, and must not be undone by what comes later."""
        changed = ""
        for stage in self.stages:
            if "llm" in stage.train and self.quantise != "none":
                raise ConfigError(f"stage {stage.name} trains llm, which is {self.quantise}; train lora instead")
            if "encoder_adapter" in stage.train and self.encoder_adapters.method == "none":
                raise ConfigError(f"stage {stage.name} trains encoder_adapter; give encoder_adapters a method")
            if stage.kind == "align" and changed:
                raise ConfigError(
                    f"stage {stage.name} reads cached features, which are out of date after stage {changed}; "
                    "put it before that one"
                )
            changed = stage.name if HEARD_ANEW & set(stage.train) else changed

    def trained(self, stage: StageConfig) -> frozenset[str]:
        """Groups that a stage and those before it train."""
        so_far = self.stages[: [s.name for s in self.stages].index(stage.name) + 1]
        return frozenset(group for s in so_far for group in s.train)

    def narrows(self, stage: StageConfig) -> bool:
        """Whether the language model's frozen matrices are in bfloat16 by then: until a stage trains them."""
        return self.precision == "bf16" and "llm" not in self.trained(stage)

    def hears_anew(self, stage: StageConfig) -> bool:
        """Whether the encoders take part in a stage, because it or one before it changes them."""
        return bool(HEARD_ANEW & self.trained(stage))

    def stage(self, name: str) -> StageConfig:
        """The stage of that name; `ConfigError` when there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ConfigError(f"no stage {name!r}; stages are {', '.join(s.name for s in self.stages)}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def load_config(path: Path, changes: Mapping[str, Any] | None = None, single: Sequence[str] = ()) -> RunConfig:
    """A run's configuration from YAML (or JSON); `changes` replace top-level keys, `single` are `KEY=VALUE`.

    Raises:
        ConfigError: unreadable, unknown or repeated keys, impossible values, or a change that leads nowhere.
    """
    values = read_table(path)
    return build(RunConfig, overridden({**values, **(changes or {})}, single), str(path))
