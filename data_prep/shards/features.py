"""Types of the fields of samples, as the head of a data card gives them to `datasets`.

Without them `datasets` guesses types from the first five samples, and wants a decoder for what ends like a recording.
"""

from __future__ import annotations

from typing import Any

_TEXT = "string"


def _fields(**kinds: Any) -> list[dict[str, Any]]:
    """Fields of a struct; a list stands for a list of structs."""
    return [{"name": name, "list" if isinstance(kind, list) else "dtype": kind} for name, kind in kinds.items()]


_RECORD = [
    *_fields(id=_TEXT, messages=_fields(content=_TEXT, role=_TEXT), source=_TEXT, task=_TEXT, split=_TEXT),
    *_fields(licence=_TEXT, duration="float64", meta=_TEXT),
    {"name": "audios", "list": _TEXT},
]
_AUDIO = _fields(path=_TEXT, sha256=_TEXT, bytes="int64", seconds="float64", rate="int32", channels="int32")


def features_of(fields: list[str]) -> list[dict[str, Any]]:
    """Of samples with these recordings, such as `0.flac` and `1.flac`; recordings are bytes."""
    rows: list[dict[str, Any]] = _fields(**dict.fromkeys(fields, "binary"))
    rows.append({"name": "json", "struct": _fields(audios=_AUDIO, records=_RECORD)})
    return rows + _fields(__key__=_TEXT, __url__=_TEXT)
