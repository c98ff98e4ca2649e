"""Pieces of YouTube videos, which no data set may ship: people's downloaders name them in many ways."""

from __future__ import annotations

import re

from data_prep.readers.sounds.tables import Row

_VIDEO = re.compile(r"[\w-]{11}", re.ASCII)


def video_id(row: Row, name: str) -> str:
    """The id of a video in this field.

    Raises:
        CorpusError: it is none.
    """
    if not _VIDEO.fullmatch(video := row.text(name)):
        raise row.fault(name, "must be the id of a video: 11 letters, digits, '-' or '_'")
    return video


def check_video(video: str, where: str) -> str:
    """The same for an id that was found within something else."""
    return video_id(Row(where, {"video": video}), "video")


def clip_names(video: str, start: float, end: float) -> tuple[str, ...]:
    """Names without endings that a piece of a video may have, the most exact first.

    Args:
        start: Seconds, as is `end`.
    """
    whole, exact, thousandths = f"{video}_{start:.0f}", f"{video}_{start:.3f}", f"{video}_{start * 1000:.0f}"
    stems = (
        f"{exact}_{end:.3f}", f"{whole}_{end:.0f}", f"{thousandths}_{end * 1000:.0f}", exact, thousandths,
        f"{video}_{start:06.0f}", whole, video,
    )  # fmt: skip
    return tuple(name for stem in stems for name in (stem, f"Y{stem}"))


def group(video: str) -> str:
    """Pieces of one video are one group, whatever the source."""
    return f"youtube:{video}"


def freesound_group(sound: str) -> str:
    """The same for pieces of one sound of Freesound."""
    return f"freesound:{sound}"
