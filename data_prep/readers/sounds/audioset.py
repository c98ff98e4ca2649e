"""AudioSet: labels of whole clips (weak), of events in them (strong), and generated captions (AudioSetCaps)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.readers.sounds.licences import YOUTUBE
from data_prep.readers.sounds.ontology import SoundOntology, read_ontology
from data_prep.readers.sounds.reading import Group, Reading, Recordings, drop_empty, gather, unknown_label
from data_prep.readers.sounds.tables import Row, good_rows, table
from data_prep.readers.sounds.youtube import check_video, clip_names, group, video_id
from data_prep.samples import Event, Sample

CLIP_SECONDS = 10.0
_LABELS = f"{YOUTUBE} (labels CC-BY-4.0)"
_CAPS_LICENCE = f"{YOUTUBE} (captions as their page says)"
_WEAK = {"balanced_train": "train", "unbalanced_train": "train", "eval": "test"}
_STRONG = {"train": "train", "eval": "test"}


def _folders(part: str) -> tuple[str, ...]:
    """Where the clips of a part may be; the large one is often cut into numbered folders."""
    long = f"{part}_segments"
    places = ("audio", f"audio/{part}", f"audio/{long}", part, long)
    return *places, f"{long}/*/", f"{part}/*/", f"audio/{long}/*/", f"audio/{part}/*/"


def _named(codes: tuple[str, ...], known: SoundOntology) -> tuple[str, ...]:
    for code in codes:
        if code not in known.names:
            raise unknown_label(code, "the lists of names")
    return tuple(dict.fromkeys(known.names[code] for code in codes))


def _facts(codes: tuple[str, ...], known: SoundOntology) -> dict[str, Any]:
    above = known.above(codes)
    return {"mids": list(codes)} | ({"above": list(above)} if above else {})


def read_weak(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row of the three lists."""
    reading = Reading("audioset", root, options, _WEAK)
    known = read_ontology(root)
    columns = ("video", "start", "end", "labels")
    for found in reading.tables({split: (f"{split}_segments.csv",) for split in _WEAK}):
        if isinstance(found, Lost):
            yield found
            continue
        split, path = found
        clips = reading.recordings(*_folders(split))
        make = partial(_weak, split=split, known=known, clips=clips)
        yield from reading.each(table(path, columns=columns, comment="#"), make)


def _weak(row: Row, split: str, known: SoundOntology, clips: Recordings) -> Sample:
    video, start = video_id(row, "video"), row.number("start")
    end = row.number("end", low=start)
    codes = tuple(code.strip() for code in row.text("labels").split(","))
    labels = _named(codes, known)
    return Sample(
        id=f"{video}_{start * 1000:.0f}",
        audio=clips.named(*clip_names(video, start, end)),
        source="audioset",
        split=_WEAK[split],
        licence=_LABELS,
        group=group(video),
        seconds=end - start,
        labels=labels,
        label_set="AudioSet",
        extras={"part": split, "video_start": start, **_facts(codes, known)},
    )


def read_strong(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample with its events for every clip; a list has one row an event."""
    reading = Reading("audioset-strong", root, options, _STRONG)
    known = read_ontology(root)
    needs = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
    for found in reading.tables({split: (f"audioset_{split}_strong.tsv",) for split in _STRONG}):
        if isinstance(found, Lost):
            yield found
            continue
        split, path = found
        groups: dict[str, Group[tuple[float, float, str]]] = {}
        rows = table(path, needs=needs, delimiter="\t")
        yield from gather(rows, _segment, partial(_strong_event, known=known), groups)
        clips = reading.recordings(
            *_folders(f"{split}_strong"), *_folders(f"audioset_{split}_strong"),
            *(f for part in _WEAK if _WEAK[part] == _STRONG[split] for f in _folders(part)),
        )  # fmt: skip
        make = partial(_strong, split=split, known=known, clips=clips)
        yield from reading.grouped(path, drop_empty(groups), make)


_SEGMENT = re.compile(r"([\w-]{11})_(\d{1,8})", re.ASCII)


def _segment(row: Row) -> str:
    if not _SEGMENT.fullmatch(name := row.text("segment_id")):
        raise row.fault("segment_id", "must be the id of a video, '_' and thousandths of a second")
    return name


def _strong_event(row: Row, known: SoundOntology) -> tuple[float, float, str]:
    start = row.number("start_time_seconds", high=60.0)
    end = row.number("end_time_seconds", low=start, high=60.0)
    code = row.text("label")
    _named((code,), known)
    return start, end, code


def _strong(
    segment: str, found: Group[tuple[float, float, str]], split: str, known: SoundOntology, clips: Recordings
) -> Sample:
    video, thousandths = segment[:11], int(segment[12:])
    start = thousandths / 1000
    events = sorted(found.items)
    codes = tuple(dict.fromkeys(code for _, _, code in events))
    return Sample(
        id=segment,
        audio=clips.named(*clip_names(video, start, start + CLIP_SECONDS)),
        source="audioset-strong",
        split=_STRONG[split],
        licence=_LABELS,
        group=group(video),
        labels=_named(codes, known),
        label_set="AudioSet",
        events=tuple(Event(known.names[code], onset, offset) for onset, offset, code in events),
        complete=found.whole,
        extras={"part": split, "video_start": start, **_facts(codes, known)},
    )


_CAPS = {
    "AudioSet": "AudioSetCaps_caption.csv",
    "VGGSound": "VGGSound_AudioSetCaps_caption.csv",
    "YouTube-8M": "YouTube-8M_AudioSetCaps_caption.csv",
}


def read_captions(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row; what AudioSet or VGGSound test on is `test`, for which their lists are needed."""
    reading = Reading("audiosetcaps", root, options, dict.fromkeys(_CAPS, "train"))
    tested: set[str] | None = None
    for found in reading.tables({part: (name, f"Dataset/{name}") for part, name in _CAPS.items()}):
        if isinstance(found, Lost):
            yield found
            continue
        part, path = found
        tested = _tested(reading) if tested is None else tested
        clips = reading.recordings(part, f"audio/{part}", "audio", f"{part}/*/", f"audio/{part}/*/")
        make = partial(_captioned, part=part, tested=tested, clips=clips)
        yield from reading.each(table(path, needs=("id", "caption"), row_lines=20), make)


def _tested(reading: Reading) -> set[str]:
    """Videos of the test parts of AudioSet and VGGSound.

    Raises:
        CorpusError: a list is missing, or not good throughout.
    """
    weak, vgg = reading.need("eval_segments.csv"), reading.need("vggsound.csv")
    found = set()
    rows = (table(weak, columns=("video", "start", "end", "labels"), comment="#"),
            table(vgg, columns=("video", "start", "label", "part")))  # fmt: skip
    for row in good_rows(chain(*rows), "without it, a test clip could go into training"):
        if row.text("part", "test") == "test":
            found.add(row.text("video"))
    return found


_CAPTIONED = {
    "AudioSet": re.compile(r"Y?([\w-]{11})(?:_(\d{1,6})(?:_(\d{1,6}))?)?", re.ASCII),
    "VGGSound": re.compile(r"([\w-]{11})_(\d{6})", re.ASCII),
    "YouTube-8M": re.compile(r"-?([\w-]{11})_(\d{1,6})_(\d{1,6})", re.ASCII),
}


def _captioned(row: Row, part: str, tested: set[str], clips: Recordings) -> Sample:
    name = row.text("id")
    if not (found := _CAPTIONED[part].fullmatch(name)):
        raise row.fault("id", f"is no id of the part {part}")
    video = check_video(found[1], row.where)
    start = float(found[2]) if found[2] else None
    stems = (name, f"Y{name}", *(clip_names(video, start or 0.0, (start or 0.0) + CLIP_SECONDS)))
    return Sample(
        id=f"{part}/{name}",
        audio=clips.named(*stems),
        source="audiosetcaps",
        split="test" if video in tested else "train",
        licence=_CAPS_LICENCE,
        group=group(video),
        captions=(row.text("caption"),),
        extras={"part": part, "generated": True},
    )


_HOME = "https://research.google.com/audioset/download"
_PARTS = """class_labels_indices.csv
audio/ with the clips as VIDEO.wav, YVIDEO.wav, VIDEO_START.wav or VIDEO_START_END.wav (seconds or thousandths)
ontology.json (optional: what is a kind of what)"""
WEAK = Source(
    name="audioset",
    title="AudioSet, labels of clips",
    licence=_LABELS,
    home=f"{_HOME}.html",
    how_to_get="the three lists of segments and the list of labels; clips are fetched from YouTube by the user",
    size="5,800 hours, 2.1 million clips of 10 s, 527 labels",
    tells=("labels", "group", "seconds"),
    layout=f"balanced_train_segments.csv, unbalanced_train_segments.csv, eval_segments.csv\n{_PARTS}",
    read=read_weak,
    splits=tuple(_WEAK),
    benchmark=True,
)
STRONG = Source(
    name="audioset-strong",
    title="AudioSet, events in clips",
    licence=_LABELS,
    home=f"{_HOME}_strong.html",
    how_to_get="the two lists of events and mid_to_display_name.tsv; clips are fetched from YouTube by the user",
    size="120,000 clips of 10 s, 1.07 million events, 456 labels",
    tells=("labels", "events", "complete", "group"),
    layout=f"audioset_train_strong.tsv, audioset_eval_strong.tsv\nmid_to_display_name.tsv\n{_PARTS}",
    read=read_strong,
    splits=tuple(_STRONG),
    benchmark=True,
)
CAPTIONS = Source(
    name="audiosetcaps",
    title="AudioSetCaps, captions by language models",
    licence=_CAPS_LICENCE,
    home="https://huggingface.co/datasets/baijs/AudioSetCaps",
    how_to_get="the captions in Dataset/; eval_segments.csv of AudioSet and vggsound.csv of VGGSound beside them",
    size="6.1 million clips of 10 s, 17,000 hours",
    tells=("captions", "group"),
    layout="\n".join((*(f"Dataset/{name}" for name in _CAPS.values()), "eval_segments.csv, vggsound.csv",
                      "audio/AudioSet/, audio/VGGSound/, audio/YouTube-8M/ with the clips by their ids")),
    read=read_captions,
    splits=tuple(_CAPS),
)  # fmt: skip
