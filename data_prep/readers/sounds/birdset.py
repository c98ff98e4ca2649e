"""BirdSet: single calls from Xeno-Canto to train on, and soundscapes in which people marked every call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.errors import CorpusError
from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.readers.rows import RowError
from data_prep.readers.sounds.licences import short_licence
from data_prep.readers.sounds.reading import (
    Group,
    Reading,
    Recordings,
    drop_empty,
    gather,
    unknown_label,
)
from data_prep.readers.sounds.tables import Row, good_rows, parquet_rows, table
from data_prep.samples import Event, Sample

_PARTS = ("PER", "NES", "UHH", "HSN", "NBP", "POW", "SSW", "SNE", "XCM", "XCL")
_VALIDATION = "POW"
"""Its soundscapes are the official validation part of the large sets."""
_SPLITS = {"train": "train", "test": "test", "test_5s": "test"}


def read(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """Calls and soundscapes of every part that is there; soundscapes whole (`test`) and cut (`test_5s`)."""
    reading = Reading("birdset", root, options, _SPLITS)
    names = _species(root)
    found = list(_lists(root))
    if not found:
        raise CorpusError(f"{root}: no PART/PART_metadata_train.parquet (PART is {', '.join(_PARTS)})")
    for part, split, path in found:
        if reading.wants(split):
            yield from _part(reading, part, split, path, names)


def _lists(root: Path) -> Iterator[tuple[str, str, Path]]:
    for part in _PARTS:
        for split in _SPLITS:
            files = [f"{part}_metadata_{split}.parquet", *([f"{part}_metadata.parquet"] if split == "train" else [])]
            places = [root / folder / file for file in files for folder in (part, f"{part}/metadata", ".")]
            if path := next((place for place in places if place.is_file()), None):
                yield part, split, path


def _species(root: Path) -> Mapping[str, str]:
    """Common names of eBird's codes, which BirdSet itself does not tell.

    Raises:
        CorpusError: there is no list of them, or it is another list.
    """
    path = next(iter(sorted(root.glob("*[Tt]axonomy*.csv"))), None)
    if path is None:
        raise CorpusError(f"{root}: no eBird taxonomy (eBird_taxonomy_v2021.csv): codes as acafly have no names")
    names: dict[str, str] = {}
    rows = table(path, fallback="latin-1", row_lines=5)
    for row in good_rows(rows, "without a name, every recording of the species is lost"):
        code, name = (row.text(a, "") or row.text(b, "") for a, b in (_CODE, _NAME))
        if code and name:
            names[code] = name
    if not names:
        columns = " and ".join(" or ".join(pair) for pair in (_CODE, _NAME))
        raise CorpusError(f"{path}:1: no columns {columns}; is it eBird's taxonomy?")
    return names


_CODE, _NAME = ("SPECIES_CODE", "species_code"), ("PRIMARY_COM_NAME", "COMMON_NAME")


def _part(reading: Reading, part: str, split: str, path: Path, names: Mapping[str, str]) -> Iterator[Sample | Lost]:
    short = split.replace("_", "")
    clips = reading.recordings(f"{part}/{short}", f"{part}/**/", "audio", f"audio/{part}/**/")
    facts = _Facts(part, "dev" if part == _VALIDATION and split != "train" else _SPLITS[split], names, clips)
    if split == "test":
        groups: dict[str, Group[tuple[Event | None, str]]] = {}
        yield from gather(parquet_rows(path), _file, partial(_call, names=names), groups)
        yield from reading.grouped(path, drop_empty(groups), facts.soundscape)
    else:
        yield from reading.each(parquet_rows(path), facts.call if split == "train" else facts.cut)


def _file(row: Row) -> str:
    """The name of the file; the lists hold it as a column or as their index."""
    name = row.text("filepath", "") or row.text("__index_level_0__")
    return name.replace("\\", "/").rpartition("/")[2]


def _name(code: str, names: Mapping[str, str]) -> str:
    if code not in names:
        raise unknown_label(code, "the taxonomy")
    return names[code]


def _call(row: Row, names: Mapping[str, str]) -> tuple[Event | None, str]:
    """One marked call, and the licence; a row without a species says that nothing was marked."""
    licence = row.text("license", "")
    if not (code := row.text("ebird_code", "")):
        return None, licence
    onset = row.number("start_time")
    return Event(_name(code, names), onset, row.number("end_time", low=onset)), licence


class _Facts:
    """What the samples of one list share."""

    def __init__(self, part: str, split: str, names: Mapping[str, str], clips: Recordings) -> None:
        self._part, self._split, self._names, self._clips = part, split, names, clips

    def call(self, row: Row) -> Sample:
        """A recording of Xeno-Canto: its species, and others that the recordist heard in it."""
        name = _file(row)
        species = (row.text("ebird_code"), *row.texts("ebird_code_secondary"))
        more = ("call_type", "sex", "quality", "local_time", "recordist", "genus", "species_group", "order")
        facts: dict[str, Any] = {field: text for field in more if (text := row.text(field, ""))}
        for field in ("lat", "long"):
            if row.has(field):
                facts[field] = row.number(field, -180.0, 180.0)
        return self._sample(
            name,
            licence=short_licence(row.text("license", ""), "Xeno-Canto, per recording"),
            group=f"xeno-canto:{name.rpartition('.')[0].removeprefix('XC')}",
            seconds=row.number("length") if row.has("length") else None,
            labels=self._labels(species),
            extras=facts,
        )

    def cut(self, row: Row) -> Sample:
        """Five seconds of a soundscape; an empty list of species says that there is none."""
        name = _file(row)
        if row.values.get("ebird_code_multilabel") is None:
            raise row.fault("ebird_code_multilabel", "must be a list of codes, empty where no bird is heard")
        return self._sample(
            name,
            licence=short_licence(row.text("license", ""), "as the page of the part says"),
            group=f"birdset:{name.rpartition('.')[0].rsplit('_', 2)[0]}",
            seconds=5.0,
            labels=self._labels(row.texts("ebird_code_multilabel")),
            complete=True,
        )

    def soundscape(self, name: str, told: Group[tuple[Event | None, str]]) -> Sample:
        """A whole soundscape with all its calls."""
        calls = sorted((e for e, _ in told.items if e is not None), key=lambda e: (e.onset or 0.0, e.label))
        return self._sample(
            name,
            licence=short_licence(next((text for _, text in told.items if text), ""), "as the page of the part says"),
            group=f"birdset:{name.rpartition('.')[0]}",
            labels=tuple(dict.fromkeys(event.label for event in calls)),
            events=tuple(calls),
            complete=told.whole,
        )

    def _labels(self, codes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_name(code, self._names) for code in codes))

    def _sample(self, name: str, **told: Any) -> Sample:
        if "." not in name:
            raise RowError("bad path", f"{name[:80]!a} has no ending")
        return Sample(
            id=f"{self._part}/{name}",
            audio=self._clips.file(name),
            source="birdset",
            split=self._split,
            label_set="eBird",
            **told,
        )


BIRDSET = Source(
    name="birdset",
    title="BirdSet",
    licence="per recording (Xeno-Canto: CC variants); soundscapes as the pages of the parts say",
    home="https://huggingface.co/datasets/DBD-research-group/BirdSet",
    how_to_get="the metadata and the archives of the parts wanted, unpacked; eBird's taxonomy from its own page",
    size="6,800 hours of single calls, 9,734 species; 400 hours of soundscapes",
    tells=("labels", "events", "complete", "group", "seconds"),
    layout="""PART/PART_metadata_train.parquet, PART_metadata_test.parquet, PART_metadata_test_5s.parquet
PART/... with the unpacked .ogg files; PART is PER, NES, UHH, HSN, NBP, POW, SSW, SNE, XCM or XCL
eBird_taxonomy_v2021.csv (codes and common names)""",
    read=read,
    splits=tuple(_SPLITS),
    benchmark=True,
)
