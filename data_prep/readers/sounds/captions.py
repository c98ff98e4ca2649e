"""Clips that people described or asked about: AudioCaps, Clotho, Clotho-AQA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.readers.rows import RowError
from data_prep.readers.sounds.licences import FREESOUND, YOUTUBE, short_licence
from data_prep.readers.sounds.reading import Group, Reading, Recordings, drop_empty, gather
from data_prep.readers.sounds.tables import Row, table
from data_prep.readers.sounds.youtube import clip_names, freesound_group, group, video_id
from data_prep.samples import Asked, Sample

# --- AudioCaps ---

_CAPS = {"train": "train", "val": "dev", "test": "test"}
_MANY_LINES = 20


def read_audiocaps(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every clip, with all its captions; a list has one row a caption."""
    reading = Reading("audiocaps", root, options, _CAPS)
    names = {part: (f"{part}.csv", f"dataset/{part}.csv", f"dataset2.0/{part}.csv") for part in _CAPS}
    for found in reading.tables(names):
        if isinstance(found, Lost):
            yield found
            continue
        part, path = found
        groups: dict[tuple[str, float], Group[tuple[str, str]]] = {}
        rows = table(path, needs=("audiocap_id", "youtube_id", "start_time", "caption"), row_lines=_MANY_LINES)
        yield from gather(rows, _clip, lambda row: (row.text("audiocap_id"), row.text("caption")), groups)
        clips = reading.recordings("audio", part, f"audio/{part}", "wav_files", f"wav_files/{part}")
        yield from reading.grouped(path, drop_empty(groups), partial(_audiocaps, part=part, clips=clips))


def _clip(row: Row) -> tuple[str, float]:
    return video_id(row, "youtube_id"), row.number("start_time")


def _audiocaps(key: tuple[str, float], told: Group[tuple[str, str]], part: str, clips: Recordings) -> Sample:
    video, start = key
    numbers = [number for number, _ in told.items]
    return Sample(
        id=f"{video}_{start:g}",
        audio=clips.named(*clip_names(video, start, start + 10.0), *numbers),
        source="audiocaps",
        split=_CAPS[part],
        licence=f"{YOUTUBE} (captions MIT)",
        group=group(video),
        captions=tuple(caption for _, caption in told.items),
        extras={"audiocap_ids": numbers, "video_start": start},
    )


# --- Clotho ---

_CLOTHO = {"development": "train", "validation": "dev", "evaluation": "test"}
_META = ("file_name", "keywords", "sound_id", "sound_link", "start_end_samples", "manufacturer", "license")


def read_clotho(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row of the lists of captions."""
    reading = Reading("clotho", root, options, _CLOTHO)
    for found in reading.tables({part: (f"clotho_captions_{part}.csv",) for part in _CLOTHO}):
        if isinstance(found, Lost):
            yield found
            continue
        part, path = found
        about: dict[str, Row] = {}
        if meta := reading.find(f"clotho_metadata_{part}.csv"):
            yield from _about(meta, about)
        folders = (part, f"clotho_audio_{part}/{part}", f"clotho_audio_{part}", f"audio/{part}", "audio")
        clips = reading.recordings(*folders)
        rows = table(path, needs=("file_name", "caption_1"), fallback="latin-1", row_lines=_MANY_LINES)
        yield from reading.each(rows, partial(_clotho, part=part, about=about, clips=clips))


def _about(path: Path, about: dict[str, Row]) -> Iterator[Lost]:
    """Take what is known of the recordings; a bad row of it costs its facts, no sample."""
    needs = [name for name in _META if name not in ("sound_id",)]
    for row in table(path, needs=needs, fallback="latin-1"):
        if isinstance(row, Lost):
            yield Lost("bad metadata", row.where, row.detail)
        elif row.has("file_name"):
            about.setdefault(str(row.values["file_name"]).strip(), row)


def _facts(about: Mapping[str, Row], name: str) -> tuple[str, str, list[str]]:
    """Licence, group and keywords of a recording of Freesound."""
    row = about.get(name, Row(name, {}))
    number = row.text("sound_id", "") or row.text("sound_link", "").rstrip("/").rpartition("/")[2]
    words = [word.strip() for word in row.text("keywords", "").split(";")]
    group = freesound_group(number) if number.isascii() and number.isdigit() else name
    return short_licence(row.text("license", "")), group, [word for word in words if word]


def _clotho(row: Row, part: str, about: Mapping[str, Row], clips: Recordings) -> Sample:
    name = row.text("file_name")
    captions = tuple(text for number in range(1, 6) if (text := row.text(f"caption_{number}", "")))
    if not captions:
        raise RowError("no caption", f"{name} has none")
    licence, group_of, words = _facts(about, name)
    return Sample(
        id=f"{part}/{name}",
        audio=clips.file(name),
        source="clotho",
        split=_CLOTHO[part],
        licence=licence,
        group=group_of,
        captions=captions,
        extras={"keywords": words},
    )


# --- Clotho-AQA ---

_AQA = {"train": "train", "val": "dev", "test": "test"}


def read_clotho_aqa(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every recording, with its questions; a list has one row for each annotator's answer."""
    reading = Reading("clotho-aqa", root, options, _AQA)
    about: dict[str, Row] = {}
    if meta := reading.find("clotho_aqa_metadata.csv", "metadata/clotho_aqa_metadata.csv"):
        yield from _about(meta, about)
    clips = reading.recordings("audio_files", "audio", ".")
    for found in reading.tables({p: (f"clotho_aqa_{p}.csv", f"metadata/clotho_aqa_{p}.csv") for p in _AQA}):
        if isinstance(found, Lost):
            yield found
            continue
        part, path = found
        groups: dict[str, Group[tuple[str, str, str]]] = {}
        rows = table(path, needs=("file_name", "QuestionText", "answer"), fallback="latin-1")
        yield from gather(rows, lambda row: row.text("file_name"), _answer, groups)
        yield from reading.grouped(path, drop_empty(groups), partial(_aqa, part=part, about=about, clips=clips))


def _answer(row: Row) -> tuple[str, str, str]:
    return row.text("QuestionText"), row.text("answer").lower(), row.text("confidence", "").lower()


def _aqa(
    name: str, told: Group[tuple[str, str, str]], part: str, about: Mapping[str, Row], clips: Recordings
) -> Sample:
    answers: dict[str, list[tuple[str, str]]] = {}
    for question, answer, sure in told.items:
        answers.setdefault(question, []).append((answer, sure))
    licence, group_of, words = _facts(about, name)
    return Sample(
        id=f"{part}/{name}",
        audio=clips.file(name),
        source="clotho-aqa",
        split=_AQA[part],
        licence=licence,
        group=group_of,
        questions=tuple(_asked(question, [answer for answer, _ in given]) for question, given in answers.items()),
        extras={"keywords": words, "answers": {q: [list(pair) for pair in given] for q, given in answers.items()}},
    )


def _asked(question: str, given: list[str]) -> Asked:
    """Most annotators' answer, or the first one's; the others count as well."""
    most = Counter(given).most_common(1)[0][0]
    others = tuple(dict.fromkeys(answer for answer in given if answer != most))
    kind = "yes or no" if set(given) <= {"yes", "no"} else "word"
    return Asked(question, most, accept=others, task=kind)


AUDIOCAPS = Source(
    name="audiocaps",
    title="AudioCaps, 1.0 or 2.0",
    licence=f"{YOUTUBE} (captions MIT, for academic use)",
    home="https://github.com/cdjkim/audiocaps",
    how_to_get="dataset/ (or dataset2.0/) of the repository; clips are fetched from YouTube by the user",
    size="1.0: 51,308 clips of 10 s, 57,188 captions; 2.0: 98,606 captions",
    tells=("captions", "group"),
    layout="train.csv, val.csv, test.csv\naudio/ with the clips as VIDEO_START.wav, VIDEO.wav or AUDIOCAP_ID.wav",
    read=read_audiocaps,
    splits=tuple(_CAPS),
    benchmark=True,
)
CLOTHO = Source(
    name="clotho",
    title="Clotho, 1 or 2",
    licence=f"per recording ({FREESOUND.split(',')[0]}); captions for non-commercial use",
    home="https://zenodo.org/records/4783391",
    how_to_get="the three lists of captions, the three of metadata, the three archives of audio",
    size="37 hours, 5,929 clips of 15 to 30 s, 29,645 captions",
    tells=("captions", "group"),
    layout="""clotho_captions_development.csv, clotho_captions_validation.csv, clotho_captions_evaluation.csv
clotho_metadata_development.csv, ... (optional: licences, keywords)
development/, validation/, evaluation/""",
    read=read_clotho,
    splits=tuple(_CLOTHO),
    benchmark=True,
)
CLOTHO_AQA = Source(
    name="clotho-aqa",
    title="Clotho-AQA",
    licence=f"per recording ({FREESOUND.split(',')[0]}); questions MIT",
    home="https://zenodo.org/records/6473207",
    how_to_get="the three lists of questions, the list of metadata, the archive of audio",
    size="12 hours, 1,991 clips, 35,838 answers to 6 questions a clip",
    tells=("questions", "group"),
    layout="""clotho_aqa_train.csv, clotho_aqa_val.csv, clotho_aqa_test.csv
clotho_aqa_metadata.csv (optional: licences, keywords)
audio_files/""",
    read=read_clotho_aqa,
    splits=tuple(_AQA),
    benchmark=True,
)
