"""Recordings of samples, and what our own assistant hears in them as further evidence."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alm.audio import Waveform, load_audio
from data_prep.generation.cache import Cache, content_key
from data_prep.generation.facts import MORE_EVIDENCE, heard_facts
from data_prep.samples import Sample

if TYPE_CHECKING:
    from alm.assistant import Assistant

MOST_HEARD_SECONDS = 120.0


def stretch(sample: Sample, most_seconds: float) -> Waveform:
    """The sample's part of its file, at most so long.

    Raises:
        AudioError: the file cannot be used, or has nothing there.
    """
    whole, start = load_audio(sample.audio), sample.start or 0.0
    return whole.segment(start, start + min(most_seconds, sample.seconds or most_seconds))


@dataclass
class Hearing:
    """Events and speech by an assistant of ours; what it heard once is kept in the cache."""

    assistant: Assistant
    name: str
    """Of the preset, as part of the key."""
    cache: Cache

    def __call__(self, sample: Sample) -> Sample:
        """The sample with what is heard behind the other evidence.

        Raises:
            AudioError: the recording cannot be used.
        """
        recording = stretch(sample, MOST_HEARD_SECONDS)
        key = content_key({"heard by": self.name, "recording": recording.sha256})
        if (known := self.cache.get(key)) is None:
            known = {"facts": heard_facts(self.assistant.analyse(recording))}
            self.cache.put(key, known)
        more = [*sample.extras.get(MORE_EVIDENCE, []), *known["facts"]]
        return dataclasses.replace(sample, extras={**sample.extras, MORE_EVIDENCE: more})
