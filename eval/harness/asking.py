"""What a model is asked: an item under a condition, its recordings opened, and the key that names its answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

from alm.audio import Waveform
from eval.harness.items import ChoiceWant, Clip, Item, LabelWant, PairWant
from eval.kinds.base import Surroundings

LongPolicy = Literal["chunk", "truncate", "refuse"]
KEY_FORMAT = 1
"""Counts up when an answer's key is made in another way."""


@dataclass(frozen=True)
class Asking:
    """How answers are generated, the same for every item of a run; what of it is set, counts in the key."""

    max_tokens: int | None = None
    """Longest answer instead of each item's own."""
    temperature: float = 0.0
    seed: int = 0
    loglik: bool = False
    """Also ask how likely each choice or label is, where the kind has them."""
    long: LongPolicy = "truncate"
    max_audio_seconds: float = float("inf")
    """Longer recordings are dealt with as `long` says."""

    def tokens_for(self, item: Item) -> int:
        return self.max_tokens or item.max_tokens

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it: no limit is null."""
        found = asdict(self)
        if self.max_audio_seconds == float("inf"):
            found["max_audio_seconds"] = None
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Asking:
        limit = found.get("max_audio_seconds")
        return cls(**{**found, "max_audio_seconds": float("inf") if limit is None else limit})


@dataclass(frozen=True)
class Asked:
    """One question on its way to a model."""

    item: Item
    """As it is under the condition."""
    condition: str
    key: str
    messages: tuple[dict[str, Any], ...]
    """Roles and content parts with opened recordings; the last one is the user's."""
    recordings: tuple[Waveform, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    candidates: tuple[str, ...] = ()
    """Choices or labels whose log-likelihood is wanted; empty: none."""
    audio_cut: bool = False
    long: str = ""

    @property
    def audio_seconds(self) -> float:
        return sum(r.seconds for r in self.recordings)

    @property
    def only_loglik(self) -> bool:
        """Nothing is to be said: the labels' log-likelihoods are the answer."""
        return isinstance(self.item.want, LabelWant) and self.item.want.mode == "loglik"

    def about(self) -> dict[str, Any]:
        """The fields of the answer's record that do not depend on the answer."""
        return {
            "id": self.item.id,
            "key": self.key,
            "audio_seconds": round(self.audio_seconds, 3),
            "audio_cut": self.audio_cut,
            "long": self.long,
        }


def candidates_of(item: Item, around: Surroundings, asking: Asking) -> tuple[str, ...]:
    """Choices or labels whose log-likelihood is wanted, in the order of `Answered.loglik`."""
    want = item.want
    if isinstance(want, LabelWant) and (asking.loglik or want.mode == "loglik"):
        return tuple(around.label_sets[want.label_set].labels)
    return want.choices if isinstance(want, ChoiceWant | PairWant) and asking.loglik else ()


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Of all that tells one model from another."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def answer_key(
    identity: str, item: Item, hashes: Mapping[str, str], candidates: tuple[str, ...], asking: Asking, sound: str = ""
) -> str:
    """Hash of all that an answer depends on: the same key is the same answer.

    Args:
        identity: [`identity_hash`] of the model.
        item: as it is under the condition.
        hashes: SHA-256 of each recording by path, for clips that do not carry their own.
        sound: what the condition does to the recordings; empty if nothing.
    """
    said = [(m.role, m.content) for m in item.messages]
    clips = [_clip(c, hashes) for c in item.audios]
    made = [asking.tokens_for(item), asking.temperature, asking.seed]
    long = [asking.long, repr(asking.max_audio_seconds)] if clips else []
    parts = [KEY_FORMAT, identity, said, clips, made, long, _digest(candidates), sound]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _clip(clip: Clip, hashes: Mapping[str, str]) -> list[Any]:
    return [clip.sha256 or hashes.get(clip.path) or clip.path, clip.start, clip.end]


@lru_cache(maxsize=64)
def _digest(candidates: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(candidates).encode()).hexdigest() if candidates else ""
