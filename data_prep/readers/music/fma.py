"""FMA: the Free Music Archive, with genres, artists and a licence for each track."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, first_texts, reading
from data_prep.readers.rows import Row, RowError
from data_prep.samples import Music, Sample

SPLITS = {"training": "train", "validation": "dev", "test": "test"}
SUBSETS = {
    "fma_small": ("small",),
    "fma_medium": ("small", "medium"),
    "fma_large": ("small", "medium", "large"),
    "fma_full": ("small", "medium", "large", "full"),
}
"""Folders, and the values of `set.subset` whose tracks they hold."""
_NEED = ("set.split", "set.subset", "track.genres")


def _tracks(source: Download, path: Path) -> Iterator[Row | Lost]:
    """Rows below a header of three lines: group, field, and the name of the first column."""
    name = source.name(path)
    header: list[list[str]] = []
    for line in rows.cells(path, name, ",", True):
        if isinstance(line, Lost):
            yield line
        elif len(header) < 3:
            header.append(line[1])
            if len(header) == 3:
                columns = ["track_id", *(f"{a}.{b}" for a, b in zip(header[0][1:], header[1][1:], strict=False))]
                if absent := [one for one in _NEED if one not in columns]:
                    raise CorpusError(f"{name}: has no column {', '.join(absent)}; the first three lines name them")
        elif len(line[1]) > len(columns):
            yield Lost(rows.BAD_ROW, line[0], f"has {len(line[1])} cells, the table {len(columns)} columns")
        else:
            yield Row(line[0], dict(zip(columns, line[1], strict=False)))
    if len(header) < 3:
        raise CorpusError(f"{name}: has no header of three lines; download it again")


def _track(source: Download, folder: str, genres: dict[str, Row], row: Row) -> Sample:
    track = row.integer("track_id")
    if row.text("set.split") not in SPLITS:
        raise row.fault("set.split", f"must be one of {', '.join(SPLITS)}")
    if row.text("set.subset") not in SUBSETS[folder]:
        raise RowError("not in this subset", f"{folder} does not hold track {track}")
    codes = [str(Row(row.where, {"genre": code}).integer("genre")) for code in row.entries("track.genres")]
    if unknown := [code for code in codes if code not in genres]:
        raise RowError(rows.UNKNOWN, f"genre {unknown[0]} is not in genres.csv")
    named = first_texts([row.text("track.genre_top", ""), *(genres[code].text("title") for code in codes)])
    number = f"{track:06d}"
    return source.sample(
        number,
        source.recording(f"{folder}/{number[:3]}/{number}.mp3"),
        SPLITS[row.text("set.split")],
        licence=row.text("track.license", ""),
        group=f"artist {row.text('artist.id', number)}",
        seconds=row.maybe_number("track.duration") if folder == "fma_full" else None,
        labels=named,
        label_set="fma",
        language=row.text("track.language_code", ""),
        music=Music(genre=named, title=row.text("track.title", ""), artist=row.text("artist.name", "")),
    )


def _read(source: Download) -> Found:
    folder = next((f for f in reversed(SUBSETS) if source.find(f) or source.options.audio_root), "")
    if source.options.audio_root:
        folder = next((f for f in reversed(SUBSETS) if f in source.options.audio_root.parts), folder)
    if not folder:
        source.place(*SUBSETS)
    genres = source.lookup(source.place("fma_metadata/genres.csv"), "genre_id", need=("genre_id", "title"))
    wanted = source.parts(SPLITS)

    def chosen(row: Row) -> bool:
        return row.values.get("set.split") in wanted or row.values.get("set.split") not in SPLITS

    found = _tracks(source, source.place("fma_metadata/tracks.csv"))
    rest = (row for row in found if isinstance(row, Lost) or chosen(row))
    yield from source.each(rest, partial(_track, source, folder, genres))


FMA = Source(
    name="fma",
    title="FMA, a data set for music analysis",
    licence="per recording",
    home="https://github.com/mdeff/fma",
    how_to_get="fma_metadata.zip and one of fma_small.zip, fma_medium.zip, fma_large.zip, fma_full.zip, unpacked side "
    "by side",
    size="106,574 tracks; small 8,000, medium 25,000, large 106,574 clips of 30 s; full 343 days",
    tells=("labels", "music", "group", "language", "licence"),
    layout="fma_metadata/tracks.csv\nfma_metadata/genres.csv\nfma_SUBSET/000/000002.mp3",
    read=reading("fma", "per recording", _read),
    splits=tuple(SPLITS),
    benchmark=True,
)
