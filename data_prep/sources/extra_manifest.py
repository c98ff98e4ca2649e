"""The manifest of extra clips: the columns of every manifest, and credit and place in the recording besides."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data_prep.atomic import write_bytes
from data_prep.corpus import FIELDS, MANIFEST_DIR, Clip, clip_from_row, clip_to_row
from data_prep.errors import CorpusError

EXTRA_MANIFEST = MANIFEST_DIR / "extra_clips.csv.gz"
EXTRA_COLUMNS = ("credit", "start", "end")


@dataclass(frozen=True)
class ExtraClip:
    """A clip of an extra source."""

    clip: Clip
    """Its path ends in `#START-END` when it is a part of a recording."""
    credit: str
    """Author and place of first publication."""
    start: float
    """Seconds from the start of the recording."""
    end: float
    """Seconds; 0 for all of the recording."""

    @property
    def file(self) -> str:
        """Path of the recording in the source."""
        return self.clip.path if not self.end else self.clip.path.rpartition("#")[0]

    def with_clip(self, **changes: object) -> ExtraClip:
        """The same with some fields of the clip changed."""
        return dataclasses.replace(self, clip=dataclasses.replace(self.clip, **changes))  # type: ignore[arg-type]


def write_extra(clips: Iterable[ExtraClip], path: Path = EXTRA_MANIFEST) -> None:
    """Gzip CSV sorted by id, the same bytes for the same clips."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*FIELDS, *EXTRA_COLUMNS), lineterminator="\n")
    writer.writeheader()
    for item in sorted(clips, key=lambda item: item.clip.id):
        extra = {"credit": item.credit, "start": f"{item.start:g}", "end": f"{item.end:g}"}
        writer.writerow(clip_to_row(item.clip) | extra)
    write_bytes(path, gzip.compress(text.getvalue().encode(), 9, mtime=0))


def read_extra(path: Path = EXTRA_MANIFEST) -> list[ExtraClip]:
    """Clips of the manifest; raises `CorpusError` naming file and line."""
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, UnicodeDecodeError) as fault:
        raise CorpusError(f"{path}: cannot read the manifest ({fault})") from fault
    clips: list[ExtraClip] = []
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        try:
            start, end = float(row["start"]), float(row["end"])
        except (KeyError, TypeError, ValueError) as fault:
            raise CorpusError(f"{path}:{line}: start and end must be numbers ({fault!r})") from fault
        clips.append(ExtraClip(clip_from_row(row, f"{path}:{line}"), row.get("credit") or "", start, end))
    return clips
