"""Sound events with times, and with directions or speakers where `options` say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from eval.harness.items import StructuredWant
from eval.kinds.base import Measure, Row, Table
from eval.kinds.forms.base import Marks, Taken, want_of
from eval.metrics import mean
from eval.scorers import seld
from eval.scorers.diarisation import diarisation_parts
from eval.scorers.events import AZIMUTH, Event, event_of, event_tally, in_frames, read_events, segment_parts
from eval.scorers.records import field_of
from eval.scorers.totals import TALLY, Totals, f1, over

FRAMES_PER_SECOND = 50
JOINT_FRAMES_PER_SECOND = 10
SEGMENT = ("segment_hits", "segment_gold", "segment_said", "segment_errors")
PLACE = (
    "doa_degrees", "doa_said", "frames_right", "frames", "joint_hits", "joint_gold", "joint_said", "joint_errors",
    "joint_degrees", "joint_found",
)  # fmt: skip
SPEAKERS = ("speech", "missed_speech", "extra_speech", "confused")


class Events:
    """Segments of a second and events with a collar; where the key has directions, both DCASE rules, too.

    `options.classes` are the classes, `options.seconds` is how long the recording is; with `options.speakers` the
    classes are speakers whose names do not matter.
    """

    def read(self, want: StructuredWant, text: str) -> Taken:
        found = read_events(text, classes_of(want))
        return Taken(None if found.value is None else [asdict(e) for e in found.value], found.rule)

    def mark(self, want: StructuredWant, value: Any) -> Marks:
        gold, said, seconds = gold_of(want), [Event(**e) for e in value or ()], seconds_of(want)
        if want.options.get("speakers"):
            return _speakers(gold, said, want.collar or 0.0)
        frames = round(seconds * FRAMES_PER_SECOND)
        ours, theirs = in_frames(gold, FRAMES_PER_SECOND, frames), in_frames(said, FRAMES_PER_SECOND, frames)
        parts = segment_parts(ours, theirs, FRAMES_PER_SECOND)
        parts |= event_tally(gold, said, 0.2 if want.collar is None else want.collar).parts()
        if placed(want):
            parts |= seld.direction_parts(ours, theirs, frames)
            slow = JOINT_FRAMES_PER_SECOND
            last = round(seconds * slow)
            parts |= seld.joint_parts(in_frames(gold, slow, last), in_frames(said, slow, last), slow)
        total = parts["segment_gold"] + parts["segment_said"]
        own = 2 * parts["segment_hits"] / total if total else 1.0
        return Marks(0.0 if value is None else own, parts)

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        if all(want_of(r).options.get("speakers") for r in rows):
            return _speaker_measures(rows)
        directions = any(placed(want_of(r)) for r in rows)
        totals = Totals(rows, (*SEGMENT, *TALLY, *(PLACE if directions else ())))
        own = mean([r.scored.robust or 0.0 for r in rows], [r.item.cluster for r in rows])
        found = [
            Measure("robust", "segment F1 (1 s)", totals.estimate(lambda s: seld.f1_of(s, "segment"))),
            _less("segment_er", "segment error rate", totals, lambda s: seld.error_rate_of(s, "segment"), ""),
            Measure("event_f1", "event F1 (collar)", totals.estimate(f1())),
            Measure("item_mean", "segment F1, mean of items", own),
        ]
        return [*found, *place_measures(totals)] if directions else found

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        return []

    def baselines(self, want: StructuredWant) -> dict[str, str]:
        return {"none": "[]"}


def gold_of(want: StructuredWant) -> list[Event]:
    """The wanted events; those of a benchmark are whole, or preparing it failed."""
    found = [event_of(e) if isinstance(e, Mapping) else Event(*e) for e in want.answer]
    assert all(found), "a wanted event has no class or no times"
    return [e for e in found if e]


def classes_of(want: StructuredWant) -> tuple[str, ...]:
    return tuple(map(str, want.options.get("classes", ())))


def placed(want: StructuredWant) -> bool:
    """Whether the key says where the events are."""
    return any(isinstance(e, Mapping) and field_of(e, AZIMUTH) is not None for e in want.answer)


def seconds_of(want: StructuredWant) -> float:
    """How long the recording is; where nobody said, up to the end of the last wanted event."""
    return float(want.options.get("seconds") or max((e.end for e in gold_of(want)), default=0.0))


def _speakers(gold: Sequence[Event], said: Sequence[Event], collar: float) -> Marks:
    parts = diarisation_parts(gold, said, collar)
    parts["missed_speech"], parts["extra_speech"] = parts.pop("missed"), parts.pop("extra")
    wrong = parts["missed_speech"] + parts["extra_speech"] + parts["confused"]
    return Marks(max(0.0, 1 - wrong / parts["speech"]) if parts["speech"] else float(not said), parts)


def _speaker_measures(rows: Sequence[Row]) -> list[Measure]:
    totals, sources = Totals(rows, SPEAKERS), [r.item.cluster for r in rows]
    own = mean([r.scored.robust or 0.0 for r in rows], sources)
    collars = sorted({want_of(r).collar or 0.0 for r in rows})
    note = f"collar {', '.join(f'{c:g}' for c in collars)} s, overlapping speech included"

    def wrong(s: seld.Sums) -> Any:
        return over(s["missed_speech"] + s["extra_speech"] + s["confused"], s["speech"], 0.0)

    return [
        Measure("robust", "speech given to the right speaker, mean of items", own),
        Measure("der", "diarisation error rate", totals.estimate(wrong), note=note, better=-1),
    ]


def place_measures(totals: Totals, key: str = "") -> list[Measure]:
    """The figures of both DCASE rules; `key` is put before their names."""
    return [
        _less(f"{key}doa_error", "DOA error (2019)", totals, seld.doa_error, "°"),
        Measure(f"{key}frame_recall", "frame recall (2019)", totals.estimate(seld.frame_recall)),
        _less(f"{key}seld_2019", "SELD score (2019)", totals, seld.seld_2019, ""),
        _less(f"{key}er_20", "error rate within 20°", totals, lambda s: seld.error_rate_of(s, "joint"), ""),
        Measure(f"{key}f_20", "F1 within 20°", totals.estimate(lambda s: seld.f1_of(s, "joint"))),
        _less(f"{key}le_cd", "localisation error of found classes", totals, seld.localisation_error, "°"),
        Measure(f"{key}lr_cd", "localisation recall", totals.estimate(seld.localisation_recall)),
        _less(f"{key}seld_2020", "SELD score (2020)", totals, seld.seld_2020, ""),
    ]


def _less(key: str, label: str, totals: Totals, figure: Any, unit: str) -> Measure:
    return Measure(key, label, totals.estimate(figure), unit, better=-1)
