"""A conversation as a file and back: one canonical row with the recordings' names and hashes, never their sound.

The row is what `alm batch` and the training records use: `{"id", "messages", "audios"}`, `<audio>` in a user message
for each recording. `sha256` stands beside `audios` in the same order; `models` names what gave each answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alm.audio_opening import shown_name
from alm.errors import AlmError, RecordError
from alm.long_audio import Sound
from serve.batch.rows import AUDIO_MARKER, Line, check_row
from serve.chat.clips import Clip, HeardClip, MissingClip, delete, hold
from serve.chat.limits import ChatLimits
from serve.chat.turns import Turn

#: A word joiner inside (it has no width) keeps what people typed from counting as a recording's place.
_TYPED_MARKER = "<\u2060audio>"


@dataclass(frozen=True)
class Known:
    """A recording that an imported conversation may ask for."""

    waveform: Sound
    upload: Path


@dataclass(frozen=True)
class Imported:
    """A conversation read from a file."""

    turns: list[Turn]
    system: str
    open_question: str
    """A question at the end that has no answer."""

    @property
    def missing(self) -> list[MissingClip]:
        return [clip for turn in self.turns for clip in turn.missing]


def row_of(turns: Sequence[Turn], identity: str, system: str = "") -> dict[str, Any]:
    """The canonical row of the answered turns."""
    told = [turn for turn in turns if turn.answered]
    messages = [{"role": "system", "content": system}] if system else []
    for turn in told:
        marks = [AUDIO_MARKER] * len(turn.recordings)
        question = turn.question.replace(AUDIO_MARKER, _TYPED_MARKER)
        messages.append({"role": "user", "content": "\n".join([*marks, question])})
        messages.append({"role": "assistant", "content": turn.answer})
    clips = [clip for turn in told for clip in turn.recordings]
    return {
        "id": identity,
        "messages": messages,
        "audios": [name_of(clip) for clip in clips],
        "sha256": [hash_of(clip) for clip in clips],
        "models": [turn.model for turn in told],
    }


def name_of(clip: Clip) -> str:
    return clip.waveform.source if isinstance(clip, HeardClip) else clip.name


def hash_of(clip: Clip) -> str:
    return clip.waveform.sha256 if isinstance(clip, HeardClip) else clip.sha256


def read_conversation(
    path: Path, known: Mapping[str, Known], folder: Path, limits: ChatLimits
) -> Imported:
    """The turns of an exported file.

    Args:
        known: recordings by `Waveform.sha256`; others are missing.
        folder: where players are written.

    Raises:
        RecordError: the file is too large or no conversation of this form, or it is beyond a limit.
    """
    fields = _fields(path, limits)
    try:
        check_row(Line(1, str(fields.get("id", "?")), fields), Path())
    except AlmError as error:
        raise RecordError(f"{shown_name(path.name)}: {error}") from None
    messages = [{"role": m["role"], "content": m["content"]} for m in fields["messages"]]
    system = messages.pop(0)["content"] if messages[0]["role"] == "system" else ""
    clips = _clips(fields, known, folder, shown_name(path.name), limits)
    turns = _turns(messages, clips)
    _name_models(turns, fields.get("models"), shown_name(path.name))
    if turns[-1].answered:
        return Imported(turns, system, "")
    last = turns.pop()
    delete(last.recordings)
    return Imported(turns, system, last.question)


def _fields(path: Path, limits: ChatLimits) -> dict[str, Any]:
    name, most = shown_name(path.name), limits.max_import_megabytes * 2**20
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise RecordError(f"{name}: larger than {limits.max_import_megabytes} MB; is it an exported conversation?")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise RecordError(f"{name}: no JSON; choose a file that Export wrote") from None
    if not isinstance(fields, dict):
        raise RecordError(f"{name}: a {type(fields).__name__}, no conversation; choose a file that Export wrote")
    return fields


def _clips(
    fields: Mapping[str, Any], known: Mapping[str, Known], folder: Path, name: str, limits: ChatLimits
) -> list[Clip]:
    names = fields.get("audios", [])
    hashes = fields.get("sha256", [""] * len(names))
    if not isinstance(hashes, list) or len(hashes) != len(names) or not all(isinstance(h, str) for h in hashes):
        raise RecordError(f"{name}: 'sha256' must be a list of {len(names)} texts, one for each entry of 'audios'")
    if len(names) > limits.max_recordings:
        raise RecordError(f"{name}: {len(names)} recordings; the limit of a conversation is {limits.max_recordings}")
    seconds = sum(known[h].waveform.seconds for h in hashes if h in known)
    if seconds > limits.max_seconds:
        raise RecordError(f"{name}: the recordings last {seconds:.0f} s; the limit is {limits.max_seconds:g} s")
    return [
        hold(known[h].waveform, known[h].upload, folder) if h in known else MissingClip(shown_name(n), h[:64])
        for n, h in zip(names, hashes, strict=True)
    ]


def _name_models(turns: Sequence[Turn], names: object, file: str) -> None:
    """Note what gave each answer, where the file says it."""
    answered = [turn for turn in turns if turn.answered]
    if names is None:
        return
    if not isinstance(names, list) or len(names) != len(answered) or not all(isinstance(n, str) for n in names):
        raise RecordError(f"{file}: 'models' must be a list of {len(answered)} texts, one for each answer")
    for turn, name in zip(answered, names, strict=True):
        turn.model = shown_name(name)


def _turns(messages: Sequence[Mapping[str, str]], clips: Sequence[Clip]) -> list[Turn]:
    """Questions with their recordings and answers; the last one may have no answer."""
    left = list(clips)
    marked = any(AUDIO_MARKER in m["content"] for m in messages if m["role"] == "user")
    turns: list[Turn] = []
    for message in messages:
        if message["role"] == "user":
            pieces = message["content"].split(AUDIO_MARKER)
            count = len(pieces) - 1 if marked else len(left)
            text = "\n".join(piece.strip("\n") for piece in pieces if piece.strip())
            turns.append(Turn(text.replace(_TYPED_MARKER, AUDIO_MARKER), left[:count]))
            left = left[count:]
        else:
            turns[-1].answer, turns[-1].state = message["content"], "stop"
    return turns
