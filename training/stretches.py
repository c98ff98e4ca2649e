"""What a row hears: whole files, or stretches of files that its `meta` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from alm.audio import Waveform, load_audio
from alm.long_audio import LONG_LIMITS, Sound, open_audio
from data_prep.records import FieldError, Record

_MARK = "#start="


@dataclass(frozen=True)
class Stretch:
    """A part of a file. As text it is a name of its own, so that it is another recording than its file."""

    file: Path
    start: float
    """Seconds."""
    seconds: float | None = None
    """To the end of the file if None."""

    def __str__(self) -> str:
        return f"{self.file}{_MARK}{self.start},seconds={'' if self.seconds is None else self.seconds}"


Recording = Path | Stretch
"""What is cached, transcribed and told of under its text: `str(recording)`."""


def file_of(recording: Recording) -> Path:
    """The file that a recording lies in."""
    return recording.file if isinstance(recording, Stretch) else recording


def file_named(text: str) -> str:
    """The file of a recording that is given by its text."""
    return text.partition(_MARK)[0]


def recording_named(text: str) -> Recording:
    """The recording whose text this is."""
    file, mark, times = text.partition(_MARK)
    if not mark:
        return Path(text)
    start, _, seconds = times.partition(",seconds=")
    return Stretch(Path(file), float(start), float(seconds) if seconds else None)


def recordings_of(record: Record) -> list[Recording]:
    """Each recording of a row, cut as `meta.spans` (one for each) or `meta.start` and `meta.seconds` say.

    Raises:
        RecordError: these are no times, or not as many as there are recordings.
    """
    files = [Path(audio) for audio in record.audios]
    spans = _spans(record, len(files))
    return [file if span is None else Stretch(file, *span) for file, span in zip(files, spans, strict=True)]


def _spans(record: Record, count: int) -> list[tuple[float, float | None] | None]:
    meta, owner = record.meta, f"record '{record.id}'"
    name = "meta.spans" if "spans" in meta else "meta.start"
    given = meta.get("spans")
    if given is None and meta.get("start") is not None:
        given = [[meta["start"], meta.get("seconds")]]
    if given is None:
        return [None] * count
    if not isinstance(given, list) or len(given) != count:
        raise FieldError(owner, name, given, f"must name a stretch, or null, for each of the {count} recordings")
    return [None if one is None else _span(owner, name, one) for one in given]


def _span(owner: str, name: str, given: Any) -> tuple[float, float | None]:
    if isinstance(given, list) and len(given) == 2:
        start, seconds = given
        if _is_time(start) and (seconds is None or (_is_time(seconds) and seconds > 0)):
            return float(start), None if seconds is None else float(seconds)
    rule = f"must be a start and a length above 0, in seconds up to {LONG_LIMITS.max_seconds:g}"
    raise FieldError(owner, name, given, rule)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONG_LIMITS.max_seconds


class Opener:
    """Opens recordings; the last file that was cut stays open for its next stretch."""

    def __init__(self) -> None:
        self._last: tuple[Path, Sound] | None = None

    def open(self, recording: Recording) -> Waveform:
        """The samples of a file or of a stretch.

        Raises:
            AudioError: it cannot be read, or the stretch lies outside.
        """
        if not isinstance(recording, Stretch):
            return load_audio(recording)
        if self._last is None or self._last[0] != recording.file:
            self._last = recording.file, open_audio(recording.file)
        sound = self._last[1]
        end = sound.seconds if recording.seconds is None else recording.start + recording.seconds
        return sound.segment(recording.start, end)


def length_of(recording: Recording) -> float:
    """Seconds by the file's header, so that batches hold equal lengths; unreadable files come first."""
    if isinstance(recording, Stretch) and recording.seconds is not None:
        return recording.seconds
    try:
        info: Any = soundfile.info(file_of(recording))
    except (OSError, RuntimeError):
        return 0.0
    length = float(info.frames / max(1, info.samplerate))
    return max(0.0, length - recording.start) if isinstance(recording, Stretch) else length
