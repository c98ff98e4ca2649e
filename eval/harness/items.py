"""What a prepared benchmark consists of: items with what is asked and what is wanted, checked when they are read.

Seven kinds of task hold every benchmark (`eval.kinds`). What is wanted says by which official rule an answer is scored;
the robust rule of the kind is always applied beside it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

AUDIO_MARK = "<audio>"


class Frozen(BaseModel):
    """Unknown fields are errors: a misspelt one would change a score silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Clip(Frozen):
    """A recording, or a stretch of one."""

    path: str
    """Relative to the folder of the official download."""
    sha256: str = ""
    start: float | None = None
    """Seconds; None is the beginning."""
    end: float | None = None


class Message(Frozen):
    """One turn; each `<audio>` in a user's turn is the place of the next recording."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChoiceWant(Frozen):
    """One of several options."""

    kind: Literal["choice"] = "choice"
    choices: tuple[str, ...] = Field(min_length=2)
    answer: int = Field(ge=0)
    none_ok: bool = False
    """Whether to say that none fits is an answer of its own, not a failure."""

    @model_validator(mode="after")
    def _one_of_them(self) -> ChoiceWant:
        if self.answer >= len(self.choices):
            raise ValueError(f"answer {self.answer} is not one of {len(self.choices)} choices")
        return self


class JudgeSpec(Frozen):
    """How a judge grades an open answer; the prompt is a file of `eval/judges/prompts`."""

    prompt: str
    scale: tuple[float, float] = (0.0, 1.0)
    bar: float | None = None
    """From this grade an answer counts as good."""
    swap: bool = False
    """Two answers are shown in both orders."""


class OpenWant(Frozen):
    """A free answer, for a judge or for verifiable rules."""

    kind: Literal["open"] = "open"
    references: tuple[str, ...] = ()
    context: str = ""
    """What a judge may read instead of hearing the recording."""
    rubric: tuple[str, ...] = ()
    rules: tuple[dict[str, Any], ...] = ()
    """Constraints that a program can check, each `{"rule": NAME, ...}`."""
    judge: JudgeSpec | None = None


class LabelWant(Frozen):
    """One or several of a closed set of labels."""

    kind: Literal["label"] = "label"
    labels: tuple[str, ...] = Field(min_length=1)
    label_set: str
    """A file `labels/NAME.json` of the prepared benchmark: labels with their other wordings."""
    multi: bool = False
    mode: Literal["listed", "named", "open", "loglik"] = "listed"
    """`named`: the labels do not stand in the question, and all that a free answer names count."""


class CaptionWant(Frozen):
    """A description that is compared with people's."""

    kind: Literal["caption"] = "caption"
    references: tuple[str, ...] = Field(min_length=1)


class TranscriptWant(Frozen):
    """Words that are said, or their translation."""

    kind: Literal["transcript"] = "transcript"
    reference: str = Field(min_length=1)
    language: str = "en"
    normaliser: str = "whisper-en"
    metric: Literal["wer", "cer", "bleu", "per"] = "wer"


class StructuredWant(Frozen):
    """Numbers, times, events, entities: what a parser can read."""

    kind: Literal["structured"] = "structured"
    form: Literal["number", "range", "spans", "words", "events", "entities", "labels"]
    answer: Any
    """In the form's own shape; times in seconds."""
    unit: str = ""
    tolerance: float | None = None
    collar: float | None = None
    """Seconds."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What else the form needs, such as allowed labels or the length of a frame."""


class PairWant(Frozen):
    """One comparison of a group of them: an order of two, one cell of a two-by-two matrix, or one clip of two."""

    kind: Literal["pair"] = "pair"
    mode: Literal["matrix", "versus", "two-clip"]
    choices: tuple[str, ...] = ()
    answer: int | None = None
    cell: str = ""
    """Place in its group, such as `audio1/text0`."""
    judge: JudgeSpec | None = None


Want = Annotated[
    ChoiceWant | OpenWant | LabelWant | CaptionWant | TranscriptWant | StructuredWant | PairWant,
    Field(discriminator="kind"),
]


class Item(Frozen):
    """One question of a benchmark."""

    id: str = Field(min_length=1)
    messages: tuple[Message, ...] = Field(min_length=1)
    audios: tuple[Clip, ...] = ()
    want: Want
    official: str = ""
    """Name of the benchmark's own scoring rule in `eval.kinds`; empty: it has none of its own."""
    group: str = ""
    """Clip, speaker or pair that this item shares with others; errors within a group are not independent."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Category, difficulty, language ...: what scores are broken down by."""
    max_tokens: int = Field(default=256, ge=1)

    @model_validator(mode="after")
    def _places(self) -> Item:
        places = sum(m.content.count(AUDIO_MARK) for m in self.messages if m.role == "user")
        if places != len(self.audios):
            raise ValueError(f"{places} places marked {AUDIO_MARK} for {len(self.audios)} recordings")
        if self.messages[-1].role != "user":
            raise ValueError("the last message is not the user's")
        return self

    @property
    def cluster(self) -> str:
        """What intervals draw anew as a whole."""
        return self.group or self.id


class Lost(Frozen):
    """Items of the declared subset that the download lacks."""

    reason: str
    count: int


class BenchCard(Frozen):
    """`bench.json` of a prepared benchmark: which test this is, exactly."""

    format: Literal[1] = 1
    bench: str
    version: str
    split: str
    licence: str
    source: str
    """Where the official data are."""
    items: int
    lost: tuple[Lost, ...] = ()
    prompts: dict[str, str] = Field(default_factory=dict)
    """Templates that the questions were made with, by name; `$slots` are filled from the official rows."""
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of every file of the download that items were made from, recordings included."""
    data_root: str = ""
    """Folder of the download; where the paths of the clips begin."""
