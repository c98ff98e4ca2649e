"""DCASE SELD: the rules of 2019 and of 2020. The challenge scores frames; an answer's events are put into frames first,
as the published scripts put the reference's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from eval.harness.items import Item, StructuredWant
from eval.kinds.base import Measure, Row, Surroundings
from eval.kinds.forms.events import JOINT_FRAMES_PER_SECOND, SEGMENT, classes_of, gold_of, seconds_of
from eval.official.base import Official
from eval.official.tallied import Ruled, Tallied
from eval.scorers import seld
from eval.scorers.events import Event, Frames, in_frames, read_events, segment_parts
from eval.scorers.totals import Totals

FRAMES_PER_SECOND, GRID_DEGREES = 50, 10


def frames_2019(events: Sequence[Event], frames: int) -> list[Frames]:
    """Start rounded down, end rounded up and one frame more; directions on a grid of 10 degrees."""
    found = []
    for event in events:
        first = math.floor(event.start * FRAMES_PER_SECOND)
        end = min(frames, math.ceil(event.end * FRAMES_PER_SECOND) + 1)
        if end > first:
            found.append(Frames(event.label, first, end, _grid(event.azimuth), _grid(event.elevation)))
    return found


def _grid(degrees: float) -> float:
    return float(GRID_DEGREES * math.floor(degrees / GRID_DEGREES))


def parts_2019(gold: Sequence[Frames], said: Sequence[Frames], frames: int) -> dict[str, float]:
    """Classes in segments of a second, of which the script never looks at the last frame; directions in every frame."""
    second = FRAMES_PER_SECOND
    return segment_parts(gold, said, second, seen=second - 1) | seld.direction_parts(gold, said, frames)


def parts_2020(gold: Sequence[Frames], said: Sequence[Frames]) -> dict[str, float]:
    return seld.joint_parts(gold, said, JOINT_FRAMES_PER_SECOND, summed=True)


def _read(item: Item, text: str | None) -> tuple[StructuredWant, list[Event], list[Event]]:
    assert isinstance(item.want, StructuredWant)
    said = read_events(text or "", classes_of(item.want)).value or []
    return item.want, gold_of(item.want), said


def _tally_2019(item: Item, text: str | None) -> Ruled:
    want, gold, said = _read(item, text)
    frames = round(seconds_of(want) * FRAMES_PER_SECOND)
    parts = parts_2019(frames_2019(gold, frames), frames_2019(said, frames), frames)
    return Ruled(counted=text is not None, parts=parts)


def _tally_2020(item: Item, text: str | None) -> Ruled:
    want, gold, said = _read(item, text)
    end = round(seconds_of(want) * JOINT_FRAMES_PER_SECOND)
    ours, theirs = (in_frames(e, JOINT_FRAMES_PER_SECOND, end) for e in (gold, said))
    return Ruled(counted=text is not None, parts=parts_2020(ours, theirs))


def _together(names: Sequence[str], figures: Sequence[tuple[str, str, Any, str, int]]) -> Any:
    def together(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        totals = Totals(rows, [f"official_{n}" for n in names])

        def estimate(figure: Any) -> Any:
            return totals.estimate(lambda s: figure({k.removeprefix("official_"): v for k, v in s.items()}))

        return [Measure(k, f"benchmark's {label}", estimate(f), unit, better=b) for k, label, f, unit, b in figures]

    return together


RULES: tuple[Official, ...] = (
    Tallied(
        "seld-2019",
        "Error rate and F1 of classes in segments of a second (without their last frame), DOA error over the "
        "directions said, frame recall; the score is the mean of the four errors.",
        together=_together(
            (*SEGMENT, "doa_degrees", "doa_said", "frames_right", "frames"),
            (
                ("official", "SELD score (2019)", seld.seld_2019, "", -1),
                ("official_er", "error rate", lambda s: seld.error_rate_of(s, "segment"), "", -1),
                ("official_f", "F1", lambda s: seld.f1_of(s, "segment"), "%", 1),
                ("official_doa", "DOA error", seld.doa_error, "°", -1),
                ("official_fr", "frame recall", seld.frame_recall, "%", 1),
            ),
        ),
        tally=_tally_2019,
    ),
    Tallied(
        "seld-2020",
        "A class in a second is hit where it is said within 20° on average; localisation error and F1 of the classes "
        "found; the score is the mean of the four errors.",
        together=_together(
            ("joint_hits", "joint_gold", "joint_said", "joint_errors", "joint_degrees", "joint_found"),
            (
                ("official", "SELD score (2020)", seld.seld_2020, "", -1),
                ("official_er_20", "error rate within 20°", lambda s: seld.error_rate_of(s, "joint"), "", -1),
                ("official_f_20", "F1 within 20°", lambda s: seld.f1_of(s, "joint"), "%", 1),
                ("official_le_cd", "localisation error", seld.localisation_error, "°", -1),
                ("official_lf_cd", "localisation F1", seld.localisation_f1, "%", 1),
            ),
        ),
        tally=_tally_2020,
    ),
)
