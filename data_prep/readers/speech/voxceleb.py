"""VoxCeleb 1 and 2: interviews of celebrities, by speaker."""

from __future__ import annotations

from pathlib import Path

from data_prep.readers.base import Source
from data_prep.readers.download import Download, Found, reading, sex
from data_prep.readers.rows import Row, RowError
from data_prep.samples import Sample, Voice

SPLITS = {"dev": "train", "test": "test"}
"""`dev` is what is trained on."""
_ENRICHED = ("final_dataframe_extended.csv", "voxceleb_enrichment_age_gender/dataset/final_dataframe_extended.csv")


def _speakers(source: Download, version: int) -> dict[str, Row]:
    """The official table: tabs in the first, commas with blanks in the second."""
    path = source.place(f"vox{version}_meta.csv")
    with path.open("rb") as stream:
        delimiter = "\t" if b"\t" in stream.readline(4096) else ","
    key = f"VoxCeleb{version} ID"
    return source.lookup(path, key, delimiter=delimiter, quoted=False, need=(key, "Gender", "Set"))


def _ages(source: Download) -> dict[tuple[str, str], float]:
    """Years by speaker and video, where somebody has put the enrichment of Hechmi and others beside the download."""
    path = source.find(*_ENRICHED)
    found = {}
    for row in source.table(path, need=("VoxCeleb_ID", "video_id", "speaker_age")) if path else ():
        if isinstance(row, Row) and row.has("speaker_age"):
            key = (row.text("VoxCeleb_ID", ""), row.text("video_id", ""))
            found[key] = row.number("speaker_age")
    return found


def _utterance(
    source: Download, speakers: dict[str, Row], ages: dict[tuple[str, str], float], place: str
) -> Sample:
    speaker, video, file = place.split("/")[-3:]
    if speaker not in speakers:
        raise RowError("unknown speaker", f"{speaker!r} is not in the table of speakers")
    row = speakers[speaker]
    own = row.text("Set").lower()
    if own not in SPLITS:
        raise row.fault("Set", "must be dev or test")
    return source.sample(
        f"{speaker}/{video}/{Path(file).stem}",
        source.recording(place),
        SPLITS[own],
        group=speaker,
        voice=Voice(speaker, sex(row.text("Gender")), age=ages.get((speaker, video))),
        extras={"nationality": row.text("Nationality", ""), "video": video},
    )


def _reader(version: int, folders: tuple[str, ...], ending: tuple[str, ...]) -> object:
    def read(source: Download) -> Found:
        wanted = source.parts(SPLITS)
        speakers, ages = _speakers(source, version), _ages(source)
        source.place(*folders)
        for folder in (source.root / name for name in folders if (source.root / name).is_dir()):
            for path in source.files(folder, *ending):
                place = source.name(path)
                row = speakers.get(place.split("/")[-3] if place.count("/") >= 2 else "")
                if row is None or str(row.values.get("Set")).strip().lower() in (*wanted, *_others(row)):
                    yield source.one(place, _utterance, source, speakers, ages, place)

    return read


def _others(row: Row) -> tuple[str, ...]:
    """A value that is no split, so that its recordings are counted as faults."""
    value = str(row.values.get("Set")).strip().lower()
    return () if value in SPLITS else (value,)


def _source(version: int, size: str, folders: tuple[str, ...], ending: tuple[str, ...], how: str) -> Source:
    name, licence = f"voxceleb{version}", "CC BY 4.0 (lists); recordings of YouTube"
    return Source(
        name=name,
        title=f"VoxCeleb{version}",
        licence=licence,
        home=f"https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox{version}.html",
        how_to_get=how,
        size=size,
        tells=("voice", "group", "extras"),
        layout=f"vox{version}_meta.csv\n{' or '.join(folders)}/SPEAKER/VIDEO/00001{ending[0]}\n"
        "final_dataframe_extended.csv (ages; may be absent)",
        read=reading(name, licence, _reader(version, folders, ending)),  # type: ignore[arg-type]
        splits=tuple(SPLITS),
        benchmark=True,
    )


_AGES = "; for ages final_dataframe_extended.csv of github.com/hechmik/voxceleb_enrichment_age_gender beside it"
VOXCELEB1 = _source(
    1, "352 hours, 153,516 utterances, 1,251 speakers", ("wav", "dev/wav", "test/wav"), (".wav",),
    f"vox1_dev_wav and vox1_test_wav, unpacked, and vox1_meta.csv{_AGES}",
)  # fmt: skip
VOXCELEB2 = _source(
    2, "2,442 hours, 1,128,246 utterances, 6,112 speakers", ("aac", "dev/aac", "test/aac"), (".m4a", ".wav"),
    f"vox2_dev_aac and vox2_test_aac, unpacked, and vox2_meta.csv{_AGES}",
)  # fmt: skip
