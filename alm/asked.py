"""What was heard of the sounds that a question names: evidence that depends on the question.

A list of the surest classes holds the right one far less often than the tag head, asked about a few classes, ranks it
first. APT makes the audio tokens depend on the question; here it is the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alm.mentions import Mention, Vocabulary
from alm.messages import parts_of, recordings_of

MOST_RECORDINGS = 4
"""A question without a recording of its own is about the last ones, at most so many."""
SURENESS = ((-1.5, "surely"), (-3.5, "likely"), (-5.5, "perhaps"), (-7.0, "hardly"))
"""Least logit for each word. Classes are rare among all recordings, so that logits lie far below 0."""
NOT_AT_ALL = "no"


@dataclass(frozen=True)
class Scores:
    """The tag head's logits for every class of one recording."""

    whole: Tensor
    """[classes] the highest over the recording's windows"""
    stretches: Tensor
    """[stretches, classes]"""
    times: Tensor
    """[stretches] the middle of each stretch in seconds"""

    def of(self, columns: Sequence[int]) -> Scores:
        """One column in float32: the highest of these classes."""
        index = torch.tensor(list(columns))
        return Scores(
            self.whole[index].float().amax(0, keepdim=True),
            self.stretches[:, index].float().amax(1, keepdim=True),
            self.times,
        )


@dataclass(frozen=True)
class Asked:
    """One sound that the question names."""

    words: str
    """As the question names it."""
    recording: int
    """Place in the conversation, from 1."""
    seconds: float
    """When it is heard most, compared with the other sounds that the question names."""
    score: float
    """The tag head's probability."""
    logit: float
    """Of whole windows and of the best stretch, in the middle between both."""

    @property
    def sureness(self) -> str:
        """How sure it is, in a word."""
        return next((word for least, word in SURENESS if self.logit >= least), NOT_AT_ALL)


def asked(mentions: Sequence[Mention], scores: Scores, labels: Sequence[str], recording: int = 1) -> list[Asked]:
    """What was heard of each mention that has a class in `labels`, likeliest first."""
    columns = {label: i for i, label in enumerate(labels)}
    known = [(m.words, [columns[c] for c in m.labels if c in columns]) for m in mentions]
    found = [(words, scores.of(own)) for words, own in known if own]
    if not found:
        return []
    stretches = torch.cat([own.stretches for _, own in found], 1)
    logits = (torch.cat([own.whole for _, own in found]) + stretches.amax(0)) / 2
    standing_out = stretches - stretches.mean(1, keepdim=True) if len(found) > 1 else stretches
    seconds = scores.times[standing_out.argmax(0)]
    chances = torch.sigmoid(logits)
    told = [
        Asked(words, recording, float(seconds[i]), float(chances[i]), float(logits[i]))
        for i, (words, _) in enumerate(found)
    ]
    return sorted(told, key=lambda a: -a.logit)


def asked_text(told: Sequence[Asked], several: bool = False, likeliest: bool = True) -> str:
    """The marked text that follows the question; empty when it names nothing known.

    What stands out most comes last, where a small language model reads it best: the likeliest of several sounds, or of
    several recordings for one sound.

    Args:
        several: the conversation holds several recordings, so that each line must say which one it is about.
        likeliest: close with what stands out most.

    >>> asked_text([Asked("rain", 1, 2.5, 0.2, -1.4), Asked("a dog", 1, 0.5, 0.002, -6.2)])
    '[asked for: rain surely, a dog hardly]\\n[in time: first a dog, then rain]\\n[most of all: rain]'
    """
    lines = []
    for recording in dict.fromkeys(a.recording for a in told):
        own = [a for a in told if a.recording == recording]
        which = f", audio {recording}" if several else ""
        lines.append(f"[asked for{which}: {', '.join(f'{a.words} {a.sureness}' for a in own)}]")
        ordered = sorted((a for a in own if a.sureness != NOT_AT_ALL), key=lambda a: a.seconds)
        if len({a.seconds for a in ordered}) > 1:
            lines.append(f"[in time{which}: first {', then '.join(a.words for a in ordered)}]")
        if likeliest and len(own) > 1:
            lines.append(f"[most of all{which}: {own[0].words}]")
    if likeliest and len(told) > 1 and len({a.words for a in told}) == 1:
        lines.append(f"[most of all: audio {max(told, key=lambda a: a.logit).recording}]")
    return "\n".join(lines)


def asked_in(
    message: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]],
    vocabulary: Vocabulary,
    labels: Sequence[str],
    scores_of: Callable[[Any], Scores | None],
) -> list[Asked]:
    """What was heard of the sounds that a user message names.

    Args:
        message: with content parts; its own recordings count, and if it has none the last ones of `earlier`.
        scores_of: scores of the `audio` of an audio part, None if there are none.
    """
    before = list(enumerate((r for m in earlier for r in recordings_of(m)), 1))
    numbered = list(enumerate(recordings_of(message), len(before) + 1)) or before[-MOST_RECORDINGS:]
    text = "\n".join(p["text"] for p in parts_of(message) if p["type"] == "text")
    mentions = vocabulary.find(text) if numbered else []
    found: list[Asked] = []
    for number, audio in numbered if mentions else ():
        if (scores := scores_of(audio)) is not None:
            found += asked(mentions, scores, labels, number)
    return found


def with_asked(
    message: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]],
    vocabulary: Vocabulary,
    labels: Sequence[str],
    scores_of: Callable[[Any], Scores | None],
    likeliest: bool = True,
) -> tuple[dict[str, Any], tuple[Asked, ...]]:
    """The message with what was heard of the sounds that it names after its last text, and that as data.

    Arguments as of [`asked_in`] and [`asked_text`].
    """
    told = asked_in(message, earlier, vocabulary, labels, scores_of)
    parts = [dict(p) for p in parts_of(message)]
    several = sum(len(recordings_of(m)) for m in (*earlier, message)) > 1
    last = max((i for i, p in enumerate(parts) if p["type"] == "text"), default=None)
    if (text := asked_text(told, several, likeliest)) and last is not None:
        parts[last]["evidence"] = text
    return {**message, "content": parts}, tuple(told)
