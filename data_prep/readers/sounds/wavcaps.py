"""Large collections with weak descriptions: WavCaps, SoundBible as WavCaps has it, Freesound as LAION lists it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from data_prep.errors import CorpusError
from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.readers.rows import RowError
from data_prep.readers.sounds.licences import FREESOUND, YOUTUBE, short_licence
from data_prep.readers.sounds.reading import Reading, Recordings
from data_prep.readers.sounds.tables import Row, json_entries, json_file, json_object, table
from data_prep.readers.sounds.youtube import freesound_group, group
from data_prep.samples import Sample

# --- WavCaps ---

_PARTS = {
    "AudioSet_SL": ("as_final.json", f"{YOUTUBE} (captions for academic use)"),
    "BBC_Sound_Effects": ("bbc_final.json", "BBC RemArc (personal, educational, research)"),
    "FreeSound": ("fsd_final.json", FREESOUND),
    "SoundBible": ("sb_final.json", "SoundBible, per recording"),
}
_BLACKLIST = "json_files/blacklist"


def read_wavcaps(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every entry of the four lists that is on none of the blacklists."""
    return _read(Reading("wavcaps", root, options, dict.fromkeys(_PARTS, "train")))


def read_soundbible(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """The part SoundBible alone."""
    return _read(Reading("soundbible", root, options, {"SoundBible": "train"}))


def _read(reading: Reading) -> Iterator[Sample | Lost]:
    barred = _barred(reading.root / _BLACKLIST)
    names = {part: _PARTS[part][0] for part in reading.splits}
    lists = {part: (f"json_files/{part}/{name}", f"Zip_files/{part}/{name}") for part, name in names.items()}
    for found in reading.tables(lists):
        if isinstance(found, Lost):
            yield found
            continue
        part, path = found
        folders = (f"audio/{part}", f"waveforms/{part}_flac", part, f"{part}_flac", f"Zip_files/{part}/**/")
        clips = reading.recordings(*folders)
        make = partial(_described, source=reading.source, part=part, barred=barred, clips=clips)
        yield from reading.each(json_entries(path, "data"), make)


def _barred(folder: Path) -> Mapping[str, frozenset[str]]:
    """Clips that are in other sets as well, of all blacklists that are there: by its name for each collection.

    Raises:
        CorpusError: a blacklist is not what it must be: without it, a test clip would go into training.
    """
    found: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.json")):
        for name, ids in json_object(path).items():
            if not isinstance(ids, list):
                raise CorpusError(f"{path}, field {name[:40]!a}: must be a list of ids; download it again")
            found.setdefault(name, set()).update(str(one).partition(".")[0] for one in ids)
    return {name: frozenset(ids) for name, ids in found.items()}


def _described(row: Row, source: str, part: str, barred: Mapping[str, frozenset[str]], clips: Recordings) -> Sample:
    name = row.text("id").removesuffix(".wav")
    if name in barred.get(part.removesuffix("_SL"), ()):
        raise RowError("on the blacklist", f"{name} is in another set as well")
    if not (captions := row.texts("caption")):
        raise RowError("no caption", f"{name} has none")
    names = ("title", "description", "author", "category", "download_link")
    facts = {field: text for field in names if (text := row.text(field, ""))}
    return Sample(
        id=f"{part}/{name}",
        audio=clips.named(name),
        source=source,
        split="train",
        licence=_PARTS[part][1],
        group=_group(part, name),
        seconds=row.number("duration") if row.has("duration") else None,
        captions=captions,
        extras={"part": part, "generated": True, "tags": list(row.texts("tags")), **facts},
    )


def _group(part: str, name: str) -> str:
    if part == "AudioSet_SL" and name.startswith("Y"):
        return group(name[1:12])
    return freesound_group(name) if part == "FreeSound" else f"{part.lower()}:{name}"


# --- Freesound as LAION lists it ---

_FREESOUND = {"train": "train", "test": "test"}


def read_freesound(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row of the list, or, where there is no list, for every pair of a recording and a JSON file."""
    reading = Reading("freesound", root, options, _FREESOUND)
    if path := reading.find("freesound_no_overlap_meta.csv", "freesound_meta.csv"):
        clips = reading.recordings("audio", "freesound_no_overlap/**/", "freesound/**/")
        rows = table(path, needs=("caption1", "freesound_id", "license"), row_lines=20)
        wanted = (row for row in rows if isinstance(row, Lost) or reading.wants(_side(row)))
        yield from reading.each(wanted, partial(_listed, clips=clips))
        return
    pairs = sorted(path for path in root.rglob("*.json") if path.name != "sizes.json")
    if not pairs:
        raise CorpusError(f"{root}: no freesound_no_overlap_meta.csv and no pairs of .flac and .json files")
    for path in pairs:
        if reading.wants(_side_of(path.relative_to(root).parts)):
            yield reading.one(str(path), partial(_paired, path, root, options))


def _file(row: Row) -> str:
    return row.text("audio_filename", "") or f"{row.text('freesound_id')}.flac"


def _side(row: Row) -> str:
    written = row.values.get("audio_filename")
    return _side_of(PurePosixPath(written.replace("\\", "/")).parts if isinstance(written, str) else ())


def _side_of(parts: tuple[str, ...]) -> str:
    return "test" if "test" in parts[:-1] else "train"


def _listed(row: Row, clips: Recordings) -> Sample:
    captions = tuple(text for name in ("caption1", "caption2") if (text := row.text(name, "")))
    if not captions:
        raise RowError("no caption", f"{row.text('freesound_id')} has none")
    written, number = _file(row), row.text("freesound_id")
    try:
        audio = clips.path(written, f"audio/{written}", f"freesound_no_overlap/{written}", f"freesound/{written}")
    except RowError as fault:
        if fault.reason == "bad path":
            raise
        audio = clips.named(number)
    return Sample(
        id=written,
        audio=audio,
        source="freesound",
        split=_side(row),
        licence=short_licence(row.text("license", "")),
        group=freesound_group(number),
        captions=captions,
        extras={"username": row.text("username", "")},
    )


def _paired(path: Path, root: Path, options: ReadOptions) -> Sample:
    """The recording of that name beside the JSON file, or in the same place below `audio_root`."""
    place = path.relative_to(root)
    clips = Recordings(root, options, (place.parent.as_posix(),))
    told = Row(str(path), found if isinstance(found := json_file(path), Mapping) else {})
    original = told.values.get("original_data")
    about = Row(f"{path}, field 'original_data'", original if isinstance(original, Mapping) else {})
    if not (captions := told.texts("text")):
        raise RowError("no caption", f"{place} has none")
    number = about.text("id", "") or about.text("freesound_id", "")
    side = _side_of(place.parts)
    return Sample(
        id=place.with_suffix("").as_posix(),
        audio=clips.named(path.stem),
        source="freesound",
        split=side,
        licence=short_licence(about.text("license", "")),
        group=freesound_group(number) if number else place.with_suffix("").as_posix(),
        captions=captions,
        extras=_some(about) | {"tags": list(told.texts("tag"))},
    )


def _some(about: Row) -> dict[str, Any]:
    facts = {name: about.text(name, "") for name in ("title", "description", "username", "uploader")}
    return {name: text for name, text in facts.items() if text}


WAVCAPS = Source(
    name="wavcaps",
    title="WavCaps",
    licence="per part; captions for academic use",
    home="https://huggingface.co/datasets/cvssp/WavCaps",
    how_to_get="json_files/ with the blacklists, and the archives of Zip_files/, unpacked",
    size="7,567 hours, 403,050 clips",
    tells=("captions", "group", "seconds"),
    layout="\n".join((*(f"json_files/{part}/{name}" for part, (name, _) in _PARTS.items()),
                      f"{_BLACKLIST}/*.json (clips that other sets have: left out, and counted)",
                      "Zip_files/PART/ with the unpacked .flac files, or audio/PART/")),
    read=read_wavcaps,
    splits=tuple(_PARTS),
)  # fmt: skip
SOUNDBIBLE = Source(
    name="soundbible",
    title="SoundBible, as WavCaps has it",
    licence="SoundBible, per recording; captions for academic use",
    home="https://huggingface.co/datasets/cvssp/WavCaps",
    how_to_get="the part SoundBible of WavCaps; not together with `wavcaps`, which has it as well",
    size="4 hours, 1,232 clips",
    tells=("captions", "seconds"),
    layout="json_files/SoundBible/sb_final.json\nZip_files/SoundBible/ with the unpacked .flac files",
    read=read_soundbible,
    splits=("SoundBible",),
)
FREESOUND_LAION = Source(
    name="freesound",
    title="Freesound, as LAION-Audio-630K lists it",
    licence=f"per recording ({FREESOUND.split(',')[0]})",
    home="https://github.com/LAION-AI/audio-dataset",
    how_to_get="the list without overlap (it leaves out ESC-50, FSD50K, UrbanSound8K and Clotho), and the recordings",
    size="2,817 hours, 460,801 clips (without overlap)",
    tells=("captions", "group"),
    layout="""freesound_no_overlap_meta.csv (or freesound_meta.csv)
audio/ with the recordings by the list's file name or by their number at Freesound
or, without a list: NAME.flac beside NAME.json (text, tag, original_data), in folders train and test""",
    read=read_freesound,
    splits=tuple(_FREESOUND),
)
