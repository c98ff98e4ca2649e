"""Baselines that answer through the same harness.

`cascade`: our ears write down what they hear (tags with times, transcript), and a language model reads that without
hearing: no audio tokens and no adapter. AHELM found such chains strong. Any model can be the reader, a server too.

`no_adapter`: the assistant with untrained ears, which shows what options and wording alone are worth to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from alm.audio import Waveform
from eval.harness.answers import Answered
from eval.harness.asking import Asked
from eval.harness.models import Model
from eval.harness.ours import OwnModel, PresetModel

if TYPE_CHECKING:
    from alm.assistant import Assistant

SYSTEM = (
    "You cannot hear. Software has listened to the recordings and has written down what it heard: sounds with their "
    "times in seconds, and what is said. Answer the question from these notes, briefly."
)
NOTHING = "[nothing was recognised]"
SEED = 0
"""Of the weights of untrained ears."""


@dataclass
class Cascade:
    """Satisfies `eval.harness.models.Model`."""

    reader: Model
    """Reads; it is never given a recording."""
    hear: Callable[[Waveform], str]
    """What a recording contains, as text."""
    ears: dict[str, Any]
    """All that tells these ears from others."""
    max_audio_seconds: float = float("inf")
    """Longest recording that the ears take."""
    name: str = ""
    identity: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.name or f"cascade-{self.reader.name}"
        prompt = hashlib.sha256((SYSTEM + NOTHING).encode()).hexdigest()[:16]
        self.identity = {"cascade": {"ears": self.ears, "prompt_sha256": prompt}, "reader": self.reader.identity}

    def answers(self, asked: Iterable[Asked]) -> Iterator[Answered]:
        return self.reader.answers(told(one, self.hear) for one in asked)

    def loglik(self, asked: Asked) -> tuple[float, ...]:
        return self.reader.loglik(told(asked, self.hear))

    def close(self) -> None:
        self.reader.close()


def told(asked: Asked, hear: Callable[[Waveform], str]) -> Asked:
    """The question with each recording replaced by notes about it; as it is where there is none."""
    if not asked.recordings:
        return asked
    number, messages = 0, []
    for message in asked.messages:
        content = message["content"]
        if not isinstance(content, str):
            parts = []
            for part in content:
                if part["type"] == "audio":
                    number += 1
                    part = {"type": "text", "text": _notes(number, part["audio"], hear)}
                parts.append(part)
            content = parts
        messages.append({**message, "content": content})
    return replace(asked, messages=tuple(_with_system(messages)))


def _notes(number: int, recording: Waveform, hear: Callable[[Waveform], str]) -> str:
    return f"[recording {number}: {recording.seconds:.1f} s]\n{hear(recording) or NOTHING}\n"


def _with_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our instruction, before the benchmark's own where it has one."""
    if messages[0]["role"] == "system":
        first = {**messages[0], "content": f"{SYSTEM}\n{messages[0]['content']}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": SYSTEM}, *messages]


def written(assistant: Assistant, recording: Waveform) -> str:
    """What an assistant's ears write down of a recording."""
    from alm.evidence import evidence_text

    found = assistant.ears.evidence(recording)
    return evidence_text(found, found.transcript, assistant.model.config.tag_phrases)


def cascade(preset: PresetModel, reader: Model | None = None, rows: int = 16) -> Cascade:
    """The ears of a preset and a language model that reads.

    Args:
        reader: reads the notes; the preset's own language model if None, whose adapter is off without recordings.

    Raises:
        PresetError, ConfigError: no such preset, adapter or engine.
    """
    own = preset.model(rows)
    return Cascade(
        reader or own,
        lambda recording: written(own.assistant, recording),
        own.identity,
        own.max_audio_seconds,
        "" if reader else f"cascade-{preset.preset}",
    )


def no_adapter(preset: PresetModel, rows: int = 16) -> OwnModel:
    """A preset whose listening parts have random weights, the same ones each time; no evidence unless it is wished for.

    Raises:
        PresetError, ConfigError: no such preset or engine.
    """
    bare = replace(preset, adapter=False, evidence=bool(preset.evidence))

    def load() -> Assistant:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return bare.load()

    made = bare.model(rows)
    return replace(made, name=f"{preset.preset}-no-adapter", identity={**made.identity, "seed": SEED}, load=load)
