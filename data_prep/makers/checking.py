"""Whether all fields of a sample hold what their types say: readers are trusted with facts, not with types."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from data_prep.samples import Asked, Chapter, Event, Music, Sample, Voice

_NUMBERS = frozenset("onset offset azimuth elevation distance age tempo_bpm start seconds".split())
_WHOLE = frozenset(("pitch_midi", "velocity"))
_TEXTS = frozenset("labels captions options accept genre instruments moods".split())
_PARTS: Mapping[str, type] = {"events": Event, "questions": Asked, "chapters": Chapter}
_ONE: Mapping[str, type] = {"voice": Voice, "music": Music}
_FLAGS = frozenset(("complete", "background"))
_MAPPINGS = frozenset(("translations", "emotion_scores", "extras"))
MAX_SHOWN = 60


def fault_in(sample: Sample) -> str:
    """The first field that holds something else than it may, or ''."""
    return next(_faults(sample, ""), "")


def _faults(owner: Any, path: str) -> Iterator[str]:
    for item in fields(owner):
        name, value = item.name, getattr(owner, item.name)
        where = f"{path}{name}"
        if name == "onset" and isinstance(owner, Chapter) and not is_number(value):
            yield _shown(where, value, "seconds")
        elif name in _PARTS:
            if not isinstance(value, tuple) or not all(isinstance(part, _PARTS[name]) for part in value):
                yield _shown(where, value, "parts")
                continue
            for place, part in enumerate(value):
                yield from _faults(part, f"{where}[{place}].")
        elif name in _ONE:
            yield from _faults(value, f"{where}.") if isinstance(value, _ONE[name]) else (_shown(where, value, name),)
        elif not _good(name, value):
            yield _shown(where, value, "a value of its type")


def _shown(where: str, value: object, wanted: str) -> str:
    return f"field '{where}' is {str(value)[:MAX_SHOWN]!r}; it must hold {wanted}"


def _good(name: str, value: object) -> bool:
    if name in _NUMBERS:
        return value is None or is_number(value)
    if name in _WHOLE:
        return value is None or (isinstance(value, int) and not isinstance(value, bool))
    if name in _TEXTS:
        return isinstance(value, tuple) and all(isinstance(text, str) for text in value)
    if name in _FLAGS:
        return isinstance(value, bool)
    if name in _MAPPINGS:
        return isinstance(value, Mapping) and all(isinstance(key, str) for key in value) and _good_values(name, value)
    return isinstance(value, str)


def _good_values(name: str, value: Mapping[str, object]) -> bool:
    if name == "translations":
        return all(isinstance(text, str) for text in value.values())
    return name != "emotion_scores" or all(is_number(score) for score in value.values())


def is_number(value: object) -> bool:
    """Whether it is a finite number, and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
