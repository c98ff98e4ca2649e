"""MusicCaps: ten seconds of music from AudioSet with a caption by a musician."""

from __future__ import annotations

from functools import partial

from data_prep.readers.base import Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import Row
from data_prep.samples import Sample

SPLITS = {"train": "train", "eval": "test"}
_NEED = ("ytid", "start_s", "end_s", "caption", "is_audioset_eval")
_FOLDERS = ("audio/", "wav/", "musiccaps/", "")
_ENDS = (".wav", ".flac", ".mp3", ".m4a", ".opus", ".webm")


def _names(video: str, start: int, end: int) -> list[str]:
    """Names that the usual downloaders give to a clip."""
    stems = (video, f"{video}_{start}", f"{video}_{start}_{end}", f"[{video}]-[{start}-{end}]", f"Y{video}")
    return [f"{folder}{stem}{ending}" for folder in _FOLDERS for stem in stems for ending in _ENDS]


def _clip(source: Download, names: dict[str, Row], row: Row) -> Sample:
    video, start, end = row.text("ytid"), row.integer("start_s"), row.integer("end_s")
    if end <= start:
        raise row.fault("end_s", f"must be after the start at {start} s")
    codes = [code.strip() for code in row.text("audioset_positive_labels", "").split(",") if code.strip()]
    known = [names[code].text("display_name") for code in codes if code in names]
    return source.sample(
        f"{video}_{start}",
        source.recording(*_names(video, start, end)),
        SPLITS["eval" if _evaluated(row) else "train"],
        group=video,
        seconds=float(end - start),
        labels=tuple(dict.fromkeys(known)),
        label_set="audioset" if known else "",
        captions=(row.text("caption"),),
        extras={"aspects": list(row.texts("aspect_list")), "audioset": codes, "author": row.text("author_id", "")},
    )


def _evaluated(row: Row) -> bool:
    said = row.text("is_audioset_eval").lower()
    if said not in ("true", "false"):
        raise row.fault("is_audioset_eval", "must be True or False")
    return said == "true"


def _read(source: Download) -> Found:
    wanted = source.parts(SPLITS)
    skipped = {"true": "eval" not in wanted, "false": "train" not in wanted}
    names = source.lookup(source.find("class_labels_indices.csv"), "mid", need=("mid", "display_name"))
    found = source.table(source.place("musiccaps-public.csv"), need=_NEED)
    rest = (r for r in found if not isinstance(r, Row) or not skipped.get(r.text("is_audioset_eval", "").lower()))
    yield from source.each(rest, partial(_clip, source, names))


MUSICCAPS = Source(
    name="musiccaps",
    title="MusicCaps",
    licence="CC BY-SA 4.0 (captions)",
    home="https://www.kaggle.com/datasets/googleai/musiccaps",
    how_to_get="musiccaps-public.csv from the page, the clips that you have from YouTube in audio/, cut to the ten "
    "seconds; class_labels_indices.csv of AudioSet beside it gives labels in words",
    size="5,521 clips of 10 s (2,663 train, 2,858 eval)",
    tells=("captions", "labels", "seconds", "group", "extras"),
    layout="musiccaps-public.csv\naudio/YTID.wav (or YTID_START.wav, YTID_START_END.wav, [YTID]-[START-END].wav)\n"
    "class_labels_indices.csv (may be absent)",
    read=reading("musiccaps", "CC BY-SA 4.0 (captions)", _read),
    splits=tuple(SPLITS),
    benchmark=True,
)
