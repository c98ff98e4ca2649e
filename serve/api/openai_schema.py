"""The part of OpenAI's chat API that the server speaks, as pydantic models; unknown fields are ignored, as there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=1_000_000)]


class Strict(BaseModel):
    """No silent conversions: a number is not a text."""

    model_config = ConfigDict(strict=True, extra="ignore")


class TextPart(Strict):
    type: Literal["text"]
    text: Text


class AudioData(Strict):
    data: str
    """base64"""
    format: str = "wav"


class AudioPart(Strict):
    type: Literal["input_audio"]
    input_audio: AudioData


class AudioUrl(Strict):
    url: str


class AudioUrlPart(Strict):
    """As in vLLM: a `data:` URI, or https of an allowed host."""

    type: Literal["audio_url"]
    audio_url: AudioUrl


Part = Annotated[TextPart | AudioPart | AudioUrlPart, Field(discriminator="type")]


class Message(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[Part]


class StreamOptions(Strict):
    include_usage: bool = False


class ChatRequest(Strict):
    """Body of `POST /v1/chat/completions`."""

    model: str = ""
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[float | None, Field(ge=0.0, le=2.0, strict=False)] = None
    top_p: Annotated[float | None, Field(gt=0.0, le=1.0, strict=False)] = None
    seed: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    evidence: bool | None = None
    """Ours: whether events and transcript are given to the model; the server's default if missing."""
    include_evidence: bool | None = None
    """Ours: whether they come back beside the answer."""

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(s for s in given if s)


TranscriptFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]


@dataclass(frozen=True)
class TranscriptionRequest:
    """Fields of the form of `POST /v1/audio/transcriptions`, besides the file."""

    model: str = ""
    language: str = ""
    response_format: TranscriptFormat = "json"
    stream: bool = False


class Error(BaseModel):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    error: Error


class PromptDetails(BaseModel):
    audio_tokens: int
    cached_tokens: int
    text_tokens: int


class UsageBody(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    audio_seconds: float
    """Ours: length of the recordings of the whole conversation."""

    @classmethod
    def of(cls, used: Mapping[str, int], seconds: float) -> UsageBody:
        """From the fields of an answer's usage and the seconds of audio."""
        details = PromptDetails(
            audio_tokens=used["audio_tokens"],
            cached_tokens=used["reused_tokens"],
            text_tokens=used["prompt_tokens"] - used["audio_tokens"],
        )
        return cls(
            prompt_tokens=used["prompt_tokens"],
            completion_tokens=used["new_tokens"],
            total_tokens=used["prompt_tokens"] + used["new_tokens"],
            prompt_tokens_details=details,
            audio_seconds=round(seconds, 3),
        )


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    evidence: list[dict[str, Any]] | None = None
    """Ours, if it was asked for: what was heard in the recordings of the question."""


class Choice(BaseModel):
    index: int = 0
    message: AnswerMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class ChatResponse(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: UsageBody


class ModelCard(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "alm"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]
