"""DAIC-WOZ and E-DAIC: clinical interviews with transcripts and questionnaires of health.

The scores are facts about people's health and stay in `extras`, where no maker asks for them by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading, sex
from data_prep.readers.rows import Row, RowError
from data_prep.samples import Event, Sample, Voice

SPLITS = {"train": "train", "dev": "dev", "test": "test"}
_SEX = {"0": "female", "1": "male"}
"""As the first corpus codes it."""
_SCORES = {
    "phq8_score": ("PHQ8_Score", "PHQ_Score"),
    "phq8_binary": ("PHQ8_Binary", "PHQ_Binary"),
    "pcl_c": ("PCL-C (PTSD)",),
    "ptsd_severity": ("PTSD Severity",),
}
_WOZ: dict[str, tuple[str, ...]] = {
    "train": ("train_split_Depression_AVEC2017.csv",),
    "dev": ("dev_split_Depression_AVEC2017.csv",),
    "test": ("full_test_split.csv", "test_split_Depression_AVEC2017.csv"),
}
_EXTENDED: dict[str, tuple[str, ...]] = {
    own: (f"labels/{own}_split.csv", f"{own}_split.csv") for own in SPLITS
}


def _participant(row: Row) -> str:
    """The column is written with a small p in one of the official tables."""
    name = "Participant_ID" if row.has("Participant_ID") else "participant_ID"
    return str(row.integer(name))


def _said(row: Row | Lost) -> Event:
    """One line of a transcript, of either corpus."""
    if isinstance(row, Lost):
        raise RowError(row.reason, f"{row.where}: {row.detail}")
    first = row.has("start_time")
    begin, end = ("start_time", "stop_time") if first else ("Start_Time", "End_Time")
    speaker = row.text("speaker", "") if first else ""
    words = row.text("value" if first else "Text", "")
    return Event("speech", row.number(begin), row.number(end), speaker=speaker, text=words)


def _events(source: Download, folder: str, number: str, ending: str, delimiter: str) -> tuple[Event, ...]:
    path = source.find(f"{folder}/{number}{ending}")
    if path is None:
        raise RowError(rows.MISSING, f"no transcript {folder}/{number}{ending}")
    form = {"delimiter": delimiter, "quoted": delimiter == ","}
    return tuple(_said(row) for row in source.table(path, **form))


def _session(source: Download, split: str, ending: str, delimiter: str, row: Row) -> Sample:
    number = _participant(row)
    below = next((f for f in (f"{number}_P", f"data/{number}_P") if source.find(f)), f"{number}_P")
    events = _events(source, below, number, ending, delimiter)
    named = any(event.speaker for event in events)
    words = [e.text for e in events if e.text and (not named or e.speaker == "Participant")]
    scores = {name: _first_number(row, columns) for name, columns in _SCORES.items()}
    return source.sample(
        number,
        source.recording(f"{below}/{number}_AUDIO.wav"),
        split,
        group=f"participant {number}",
        transcript=" ".join(words),
        language="en",
        events=events,
        voice=Voice(f"participant {number}", _SEX.get(row.text("Gender", ""), sex(row.text("Gender", "")))),
        extras={name: value for name, value in scores.items() if value is not None},
    )


def _first_number(row: Row, columns: tuple[str, ...]) -> float | None:
    return next((row.number(column) for column in columns if row.has(column)), None)


def _reader(tables: dict[str, tuple[str, ...]], ending: str, delimiter: str) -> Callable[[Download], Found]:
    def read(source: Download) -> Found:
        wanted = source.parts(SPLITS)
        there = {own: path for own in wanted if (path := source.find(*tables[own]))}
        if not there or (source.options.splits and len(there) < len(wanted)):
            source.place(*(name for own in wanted if own not in there for name in tables[own]))
        for own, path in there.items():
            make = partial(_session, source, wanted[own], ending, delimiter)
            yield from source.each(source.table(path), make)

    return read


_LICENCE = "DAIC agreement of USC: research, no passing on"
DAIC_WOZ = Source(
    name="daic-woz",
    title="DAIC-WOZ",
    licence=_LICENCE,
    home="https://dcapswoz.ict.usc.edu",
    how_to_get="sign the agreement on the page; unpack each NNN_P.zip into a folder NNN_P beside the tables of splits",
    size="189 interviews (107, 35, 47)",
    tells=("transcript", "events", "voice", "language", "group", "extras"),
    layout="train_split_Depression_AVEC2017.csv, dev_split_Depression_AVEC2017.csv, full_test_split.csv (or "
    "test_split_Depression_AVEC2017.csv)\nNNN_P/NNN_AUDIO.wav\nNNN_P/NNN_TRANSCRIPT.csv (tabs)",
    read=reading("daic-woz", _LICENCE, _reader(_WOZ, "_TRANSCRIPT.csv", "\t")),
    benchmark=True,
)
E_DAIC = Source(
    name="e-daic",
    title="E-DAIC (AVEC 2019)",
    licence=_LICENCE,
    home="https://dcapswoz.ict.usc.edu",
    how_to_get="sign the agreement on the page; unpack each NNN_P.tar.gz into data/NNN_P",
    size="275 interviews (163, 56, 56); transcripts are by a recogniser and name no speaker",
    tells=("transcript", "events", "voice", "language", "group", "extras"),
    layout="labels/train_split.csv, labels/dev_split.csv, labels/test_split.csv\ndata/NNN_P/NNN_AUDIO.wav\n"
    "data/NNN_P/NNN_Transcript.csv",
    read=reading("e-daic", _LICENCE, _reader(_EXTENDED, "_Transcript.csv", ",")),
    benchmark=True,
)
