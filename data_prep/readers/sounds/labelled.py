"""Clips with labels of a closed set: VGGSound, FSD50K, ESC-50, UrbanSound8K."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.readers.sounds.licences import FREESOUND, YOUTUBE, short_licence
from data_prep.readers.sounds.reading import Reading, Recordings, unknown_label
from data_prep.readers.sounds.tables import Row, good_rows, json_object, table
from data_prep.readers.sounds.youtube import clip_names, freesound_group, group, video_id
from data_prep.samples import Sample


def in_words(label: str) -> str:
    """`dog bark` for `dog_bark`."""
    return " ".join(label.replace("_", " ").split())


# --- VGGSound ---

_VGG = {"train": "train", "test": "test"}


def read_vggsound(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row of the wanted parts."""
    reading = Reading("vggsound", root, options, _VGG)
    path = reading.need("vggsound.csv", "data/vggsound.csv")
    clips = reading.recordings("audio", "video", "audio/train", "audio/test", "train", "test", "*/")
    rows = table(path, columns=("video", "start", "label", "part"))
    wanted = (row for row in rows if isinstance(row, Lost) or _wanted(row, reading))
    yield from reading.each(wanted, partial(_vgg, clips=clips))


def _wanted(row: Row, reading: Reading) -> bool:
    """A part that is none of the two is looked at, too, and refused there."""
    part = row.values.get("part")
    return part not in _VGG or reading.wants(part)


def _vgg(row: Row, clips: Recordings) -> Sample:
    video, start, part = video_id(row, "video"), row.number("start"), row.text("part")
    if part not in _VGG:
        raise row.fault("part", "must be train or test")
    return Sample(
        id=f"{video}_{start:06.0f}",
        audio=clips.named(*clip_names(video, start, start + 10.0)),
        source="vggsound",
        split=_VGG[part],
        licence=f"{YOUTUBE} (labels CC-BY-4.0)",
        group=group(video),
        labels=(row.text("label"),),
        label_set="VGGSound",
        extras={"video_start": start},
    )


# --- FSD50K ---

_FSD = {"train": "train", "val": "dev", "eval": "test"}


def read_fsd50k(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row of the two lists; which are for validation says the list `dev.csv`."""
    reading = Reading("fsd50k", root, options, _FSD)
    words = reading.need("FSD50K.ground_truth/vocabulary.csv", "vocabulary.csv")
    rows = table(words, columns=("index", "label", "mid"))
    known = frozenset(row.text("label") for row in good_rows(rows, "without a label, every clip with it is lost"))
    for part in ("dev", "eval"):
        if options.splits and not any(reading.wants(s) for s in _FSD if (s == "eval") == (part == "eval")):
            continue
        names = (f"FSD50K.ground_truth/{part}.csv", f"{part}.csv")
        if not (path := reading.find(*names)):
            yield Lost("missing list", str(root / names[0]), part)
            continue
        info = reading.find(f"FSD50K.metadata/{part}_clips_info_FSD50K.json", f"{part}_clips_info_FSD50K.json")
        clips = reading.recordings(f"FSD50K.{part}_audio", f"{part}_audio", f"audio/{part}")
        make = partial(_fsd, part=part, known=known, info=json_object(info) if info else {}, clips=clips)
        needs = ("fname", "labels", *(("split",) if part == "dev" else ()))
        wanted = (
            row
            for row in table(path, needs=needs)
            if isinstance(row, Lost) or part == "eval" or row.values.get("split") not in _FSD
            or reading.wants(row.values["split"])
        )  # fmt: skip
        yield from reading.each(wanted, make)


def _fsd(row: Row, part: str, known: frozenset[str], info: Mapping[str, Any], clips: Recordings) -> Sample:
    name, split = row.text("fname"), "eval" if part == "eval" else row.text("split")
    if split not in ("train", "val", "eval") or (split == "eval") != (part == "eval"):
        raise row.fault("split", "must be train or val")
    written = tuple(label.strip() for label in row.text("labels").split(","))
    for label in written:
        if label not in known:
            raise unknown_label(label, "vocabulary.csv")
    told = info.get(name)
    about = Row(f"clips_info, {name}", told if isinstance(told, Mapping) else {})
    facts = {field: about.text(field, "") for field in ("title", "description", "uploader")}
    return Sample(
        id=name,
        audio=clips.file(f"{name}.wav"),
        source="fsd50k",
        split=_FSD[split],
        licence=short_licence(about.text("license", "")),
        group=freesound_group(name),
        labels=tuple(dict.fromkeys(in_words(label) for label in written)),
        label_set="FSD50K",
        complete=part == "eval",
        extras={k: v for k, v in facts.items() if v} | {"tags": list(about.texts("tags")), "names": list(written)},
    )


# --- ESC-50 and UrbanSound8K ---

_ESC = {"1": "train", "2": "train", "3": "train", "4": "dev", "5": "test"}
_URBAN = {**{str(fold): "train" for fold in range(1, 9)}, "9": "dev", "10": "test"}


def _fold(row: Row, folds: Mapping[str, str]) -> str:
    if (fold := row.text("fold")) not in folds:
        raise row.fault("fold", f"must be one of {', '.join(folds)}")
    return fold


def _of_folds(reading: Reading, rows: Iterator[Row | Lost]) -> Iterator[Row | Lost]:
    for row in rows:
        if isinstance(row, Lost) or row.values.get("fold") not in reading.splits or reading.wants(row.values["fold"]):
            yield row


def read_esc50(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row."""
    reading = Reading("esc50", root, options, _ESC)
    path = reading.need("meta/esc50.csv", "ESC-50-master/meta/esc50.csv")
    clips = reading.recordings("audio", "ESC-50-master/audio")
    rows = table(path, needs=("filename", "fold", "category", "src_file"))
    yield from reading.each(_of_folds(reading, rows), partial(_esc, clips=clips))


def _esc(row: Row, clips: Recordings) -> Sample:
    name, fold = row.text("filename"), _fold(row, _ESC)
    return Sample(
        id=name,
        audio=clips.file(name),
        source="esc50",
        split=_ESC[fold],
        licence="CC-BY-NC-3.0",
        group=freesound_group(row.text("src_file")),
        seconds=5.0,
        labels=(in_words(row.text("category")),),
        label_set="ESC-50",
        extras={"fold": fold, "take": row.text("take", ""), "esc10": row.text("esc10", "") == "True"},
    )


def read_urbansound(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row."""
    reading = Reading("urbansound8k", root, options, _URBAN)
    path = reading.need("metadata/UrbanSound8K.csv", "UrbanSound8K/metadata/UrbanSound8K.csv")
    needs = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "class")
    clips = {
        fold: reading.recordings(f"audio/fold{fold}", f"UrbanSound8K/audio/fold{fold}", f"fold{fold}")
        for fold in _URBAN
    }
    yield from reading.each(_of_folds(reading, table(path, needs=needs)), partial(_urban, clips=clips))


def _urban(row: Row, clips: Mapping[str, Recordings]) -> Sample:
    name, fold = row.text("slice_file_name"), _fold(row, _URBAN)
    start = row.number("start")
    if (salience := row.text("salience")) not in ("1", "2"):
        raise row.fault("salience", "must be 1 (in front) or 2 (behind)")
    return Sample(
        id=name,
        audio=clips[fold].file(name),
        source="urbansound8k",
        split=_URBAN[fold],
        licence="CC-BY-NC-3.0",
        group=freesound_group(row.text("fsID")),
        seconds=row.number("end", low=start) - start,
        labels=(in_words(row.text("class")),),
        label_set="UrbanSound8K",
        extras={"fold": fold, "background": salience == "2"},
    )


VGGSOUND = Source(
    name="vggsound",
    title="VGGSound",
    licence=f"{YOUTUBE} (labels CC-BY-4.0)",
    home="https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
    how_to_get="vggsound.csv; clips are fetched from YouTube by the user",
    size="550 hours, 200,000 clips of 10 s, 309 labels",
    tells=("labels", "group"),
    layout="vggsound.csv\naudio/ with the clips as VIDEO_START.wav (START of six digits), VIDEO.wav, ...",
    read=read_vggsound,
    splits=tuple(_VGG),
    benchmark=True,
)
FSD50K = Source(
    name="fsd50k",
    title="FSD50K",
    licence=f"per recording ({FREESOUND.split(',')[0]}: CC0, CC BY, CC BY-NC, Sampling+)",
    home="https://zenodo.org/records/4060432",
    how_to_get="the archives of audio, ground truth and metadata",
    size="108 hours, 51,197 clips, 200 labels",
    tells=("labels", "complete", "group"),
    layout="""FSD50K.ground_truth/dev.csv, eval.csv, vocabulary.csv
FSD50K.metadata/dev_clips_info_FSD50K.json, eval_clips_info_FSD50K.json (optional: licences, titles, tags)
FSD50K.dev_audio/, FSD50K.eval_audio/""",
    read=read_fsd50k,
    splits=tuple(_FSD),
    benchmark=True,
)
ESC50 = Source(
    name="esc50",
    title="ESC-50",
    licence="CC-BY-NC-3.0",
    home="https://github.com/karolpiczak/ESC-50",
    how_to_get="the repository, unpacked",
    size="2.8 hours, 2,000 clips of 5 s, 50 labels",
    tells=("labels", "group", "seconds"),
    layout="meta/esc50.csv\naudio/",
    read=read_esc50,
    splits=tuple(_ESC),
    benchmark=True,
)
URBANSOUND = Source(
    name="urbansound8k",
    title="UrbanSound8K",
    licence="CC-BY-NC-3.0",
    home="https://urbansounddataset.weebly.com/urbansound8k.html",
    how_to_get="the archive, unpacked",
    size="8.75 hours, 8,732 clips of at most 4 s, 10 labels",
    tells=("labels", "group", "seconds"),
    layout="metadata/UrbanSound8K.csv\naudio/fold1/ to audio/fold10/",
    read=read_urbansound,
    splits=tuple(_URBAN),
    benchmark=True,
)
