"""MagnaTagATune: half minutes of music with 188 tags by players of a game."""

from __future__ import annotations

from functools import partial

from data_prep.readers import rows
from data_prep.readers.base import Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import Row, RowError
from data_prep.samples import Music, Sample

SPLITS = {"train": "train", "valid": "dev", "test": "test"}
_OWN = dict.fromkeys("0123456789ab", "train") | {"c": "valid"} | dict.fromkeys("def", "test")
"""Of a folder, as the field splits the set."""
_NOT_TAGS = ("clip_id", "mp3_path")


def _own_split(row: Row) -> str:
    place = row.text("mp3_path")
    if place[1:2] != "/" or place[0] not in _OWN:
        raise row.fault("mp3_path", "must begin with a folder from 0 to f")
    return _OWN[place[0]]


def _clip(source: Download, facts: dict[str, Row], row: Row) -> Sample:
    place, split = row.text("mp3_path"), _own_split(row)
    tags = tuple(name for name in row.values if name not in _NOT_TAGS and _is_one(row, name))
    clip = str(row.integer("clip_id"))
    fact = facts.get(clip, Row(row.where, {}))
    if not tags:
        raise RowError(rows.UNLABELLED, f"clip {clip} has no tag")
    return source.sample(
        clip,
        source.recording(place, f"mp3/{place}", f"MagnaTagATune/{place}"),
        SPLITS[split],
        group=fact.text("artist", "") or place.rpartition("/")[2].rpartition("-")[0].rpartition("-")[0],
        labels=tags,
        label_set="magnatagatune",
        music=Music(title=fact.text("title", ""), artist=fact.text("artist", "")),
    )


def _is_one(row: Row, name: str) -> bool:
    value = row.text(name)
    if value not in ("0", "1"):
        raise row.fault(name, "must be 0 or 1")
    return value == "1"


def _read(source: Download) -> Found:
    wanted = source.parts(SPLITS)
    form = {"delimiter": "\t", "need": ("clip_id",)}
    facts = source.lookup(source.find("clip_info_final.csv"), "clip_id", **form)
    path = source.place("annotations_final.csv")
    found = source.table(path, delimiter="\t", need=_NOT_TAGS)
    skipped = {folder for folder, own in _OWN.items() if own not in wanted}
    rest = (row for row in found if not isinstance(row, Row) or str(row.values.get("mp3_path"))[:1] not in skipped)
    yield from source.each(rest, partial(_clip, source, facts))


MAGNATAGATUNE = Source(
    name="magnatagatune",
    title="MagnaTagATune",
    licence="CC BY-NC-SA 3.0 (recordings by Magnatune)",
    home="https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
    how_to_get="annotations_final.csv, clip_info_final.csv and the joined and unpacked mp3.zip.001 to .003",
    size="25,863 clips of 29 s",
    tells=("labels", "music", "group"),
    layout="annotations_final.csv\nclip_info_final.csv (may be absent)\n0/ to f/, with the clips that the table names "
    "(also below mp3/)",
    read=reading("magnatagatune", "CC BY-NC-SA 3.0", _read),
    splits=tuple(SPLITS),
    benchmark=True,
)
