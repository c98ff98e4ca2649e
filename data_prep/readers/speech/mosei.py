"""CMU-MOSEI: opinions in videos, with sentiment and strengths of six emotions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.errors import CorpusError
from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import Row
from data_prep.samples import Sample, Voice

SPLITS = {"train": "train", "valid": "dev", "test": "test"}
_FOLDS = {f"standard_{own}_fold": own for own in SPLITS}
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
"""In the order of the labels, after sentiment."""
_MOST_SEGMENTS = 10_000
_NEED = ("file", "index", "start", "end", "split")


def _folds(source: Download, path: Path) -> dict[str, str]:
    """Own split by video, from the lists of the toolkit; the file is parsed, never run.

    Raises:
        CorpusError: it has no such lists.
    """
    name = source.name(path)
    found: dict[str, str] = {}
    try:
        for node in ast.parse(rows.whole_text(path, name)).body:
            targets = [t.id for t in getattr(node, "targets", ()) if isinstance(t, ast.Name)]
            for own in (_FOLDS[t] for t in targets if t in _FOLDS):
                found |= {str(video): own for video in ast.literal_eval(node.value)}  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as fault:
        raise CorpusError(f"{name}: is no list of folds ({str(fault)[:120]})") from fault
    if not found:
        raise CorpusError(f"{name}: names none of {', '.join(_FOLDS)}")
    return found


def _texts(source: Download, video: str) -> dict[int, str]:
    """Words by number of the segment: `VIDEO___NUMBER___START___END___TEXT` a line."""
    folders = ("Transcript/Segmented/Combined", "Raw/Transcript/Segmented/Combined")
    path = source.find(*(f"{folder}/{video}.txt" for folder in folders))
    found = {}
    for line in rows.lines(path, source.name(path)) if path and path.is_file() else ():
        if not isinstance(line, Lost) and len(parts := line[1].strip().split("___", 4)) == 5 and parts[1].isdecimal():
            found[int(parts[1][:9])] = parts[4]
    return found


def _from_csd(source: Download, path: Path, folds: dict[str, str]) -> Iterator[Row | Lost]:
    """Segments out of the official file of labels, which is HDF5.

    Raises:
        CorpusError: it is none, or h5py is not installed.
    """
    name = source.name(path)
    try:
        import h5py
    except ImportError:
        raise CorpusError(f"{name}: needs h5py; install it with `pip install alm[data]`") from None
    try:
        with h5py.File(path, "r") as file:
            data = file["All Labels"]["data"]
            for video in data:
                yield from _segments(name, str(video), data, folds, h5py)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as fault:
        raise CorpusError(f"{name}: is no file of labels of CMU-MOSEI ({str(fault)[:120]})") from fault


def _segments(name: str, video: str, data: Any, folds: dict[str, str], h5py: Any) -> Iterator[Row | Lost]:
    where = f"{name}, {rows.shown(video)}"
    if video not in folds:
        yield Lost("in no fold", where, "the standard folds leave this video out")
        return
    group = data[video] if isinstance(data.get(video, getlink=True), h5py.HardLink) else {}
    parts: list[Any] = [group.get(key) for key in ("features", "intervals")]
    if not all(isinstance(p, h5py.Dataset) and not p.is_virtual and not p.external for p in parts):
        yield Lost(rows.BAD_ROW, where, "must have 'features' and 'intervals' of its own")
        return
    features, intervals = parts
    count = features.shape[0] if features.shape else 0
    if features.shape != (count, 7) or intervals.shape != (count, 2) or not 0 < count <= _MOST_SEGMENTS:
        yield Lost(rows.BAD_ROW, where, f"has labels of shape {features.shape} and times of shape {intervals.shape}")
        return
    for index, (scores, times) in enumerate(zip(features[:].tolist(), intervals[:].tolist(), strict=True)):
        facts = dict(zip(("sentiment", *EMOTIONS), scores, strict=True))
        yield Row(
            f"{where}, segment {index}",
            {"file": video, "index": index, "start": times[0], "end": times[1], "split": folds[video], **facts},
        )


def _segment(source: Download, texts: dict[int, str], row: Row) -> Sample:
    video, index, own = row.text("file"), row.integer("index"), row.text("split")
    own = {"0": "train", "1": "valid", "2": "test"}.get(own, own)
    if own not in SPLITS:
        raise row.fault("split", "is no standard fold", "in no fold")
    start, end = max(0.0, row.number("start")), row.number("end")
    if end <= start:
        raise row.fault("end", f"must be after the start at {start:g} s")
    scores = {name: value for name in ("sentiment", *EMOTIONS) if (value := row.maybe_number(name)) is not None}
    strongest = max(EMOTIONS, key=lambda name: scores.get(name, 0.0))
    return source.sample(
        f"{video}_{index}",
        source.recording(f"Audio/Full/WAV_16000/{video}.wav", f"Raw/Audio/Full/WAV_16000/{video}.wav"),
        SPLITS[own],
        group=video,
        start=start,
        seconds=round(end - start, 6),
        transcript=Row(row.where, {"text": texts.get(index, "")}).text("text", ""),
        language="en",
        voice=Voice(emotion=strongest if scores.get(strongest, 0.0) > 0 else "", emotion_scores=scores),
        extras={"sentiment_of_three": row.maybe_integer("label2b")} if row.has("label2b") else {},
    )


def _rows(source: Download) -> Iterator[Row | Lost]:
    labels = source.place("CMU_MOSEI_Labels.csd", "labels/CMU_MOSEI_Labels.csd", "CMU_MOSEI_Labels.csv")
    if labels.suffix == ".csv":
        yield from source.table(labels, need=_NEED)
    else:
        folds = _folds(source, source.place("cmu_mosei_std_folds.py"))
        yield from _from_csd(source, labels, folds)


def _read(source: Download) -> Found:
    wanted = source.parts(SPLITS)
    names = {"0": "train", "1": "valid", "2": "test"}
    skipped = {code for code, own in names.items() if own not in wanted} | set(SPLITS).difference(wanted)
    texts: tuple[str, dict[int, str]] = ("", {})
    for row in _rows(source):
        if isinstance(row, Lost):
            yield row
            continue
        if str(row.values.get("split")).strip() in skipped:
            continue
        video = str(row.values.get("file"))
        if texts[0] != video:
            texts = (video, _texts(source, video) if _is_name(video) else {})
        yield source.one(row.where, _segment, source, texts[1], row)


def _is_name(video: str) -> bool:
    return len(video) < 100 and not set(video) & set("/\\\0") and video not in ("", ".", "..")


MOSEI = Source(
    name="mosei",
    title="CMU-MOSEI",
    licence="research, by the page; recordings of YouTube",
    home="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    how_to_get="CMU_MOSEI.zip (folder Raw/), CMU_MOSEI_Labels.csd, and cmu_mosei_std_folds.py of the toolkit "
    "github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK; or CMU_MOSEI_Labels.csv of s3prl instead of the last two",
    size="65 hours, 23,259 segments of 3,228 videos",
    tells=("voice", "transcript", "language", "start", "seconds", "group", "extras"),
    layout="Raw/Audio/Full/WAV_16000/VIDEO.wav (also without Raw/)\nRaw/Transcript/Segmented/Combined/VIDEO.txt\n"
    "CMU_MOSEI_Labels.csd and cmu_mosei_std_folds.py, or CMU_MOSEI_Labels.csv",
    read=reading("mosei", "research, by the page", _read),
    splits=tuple(SPLITS),
    benchmark=True,
)
