"""Podcast episodes with chapters.

PODTILE's own data are not public; what its model reads and writes is: title, description and numbered sentences of an
episode, and chapters that begin at a sentence. `episodes.jsonl` holds just that, by names of our own. Where there is
none, the chapters files of Podcasting 2.0 beside the recordings are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import Row, RowError
from data_prep.samples import Chapter, Event, Sample

SPLITS = {"train": "train", "dev": "dev", "test": "test"}
_CHAPTERS = (".chapters.json", "_chapters.json")
_ENDS = (".mp3", ".m4a", ".wav", ".flac", ".ogg", ".opus")
_MOST_SENTENCES = 100_000


def _sentences(row: Row) -> tuple[Event, ...]:
    found = row.rows("transcript")
    if len(found) > _MOST_SENTENCES:
        raise row.fault("transcript", f"may have {_MOST_SENTENCES} sentences, not {len(found)}")
    return tuple(
        Event(
            "speech",
            one.number("start"),
            one.maybe_number("end"),
            speaker=one.text("speaker", ""),
            text=one.text("text"),
        )
        for one in found
    )


def _chapters(row: Row, sentences: tuple[Event, ...]) -> tuple[Chapter, ...]:
    """In order of time; one that begins at a sentence begins when that sentence does."""
    found = []
    for one in row.rows("chapters"):
        if one.has("sentence"):
            number = one.integer("sentence")
            if not 0 <= number < len(sentences):
                raise one.fault("sentence", f"must be from 0 to {len(sentences) - 1}")
            onset = sentences[number].onset
        else:
            onset = one.number("start")
        found.append(Chapter(onset or 0.0, one.text("title"), one.text("summary", "")))
    return _in_order(found, row)


def _in_order(found: Iterable[Chapter], row: Row) -> tuple[Chapter, ...]:
    ordered = tuple(sorted(found, key=lambda chapter: chapter.onset))
    if not ordered:
        raise RowError(rows.UNLABELLED, "has no chapter with a title")
    if any(a.onset == b.onset for a, b in pairwise(ordered)):
        raise row.fault("chapters", "must not have two that begin at the same time")
    return ordered


def _episode(source: Download, row: Row) -> Sample:
    own, audio = row.text("split", "train"), row.text("audio")
    if own not in SPLITS:
        raise row.fault("split", f"must be one of {', '.join(SPLITS)}")
    sentences = _sentences(row)
    return source.sample(
        row.text("id"),
        source.recording(audio, f"audio/{audio}"),
        SPLITS[own],
        licence=row.text("licence", row.text("license", "")),
        group=row.text("show", row.text("id")),
        seconds=row.maybe_number("duration"),
        transcript=" ".join(event.text for event in sentences),
        language=row.text("language", ""),
        events=sentences,
        chapters=_chapters(row, sentences),
        extras={"title": row.text("title", ""), "description": row.text("description", "")},
    )


def _listed(source: Download, path: Path, wanted: dict[str, str]) -> Iterator[Row | Lost]:
    """Rows of the splits that are asked for, and those whose split is a fault."""
    for row in rows.json_lines(path, source.name(path)):
        own = str(row.values.get("split") or "train").strip() if isinstance(row, Row) else ""
        if own not in SPLITS or own in wanted:
            yield row


def _beside(source: Download, path: Path) -> Sample:
    """An episode by its file of chapters alone: `{"version": .., "chapters": [{"startTime": 0, "title": ".."}]}`."""
    name = source.name(path)
    try:
        found = json.loads(rows.whole_text(path, name))
    except (ValueError, RecursionError) as fault:
        raise RowError(rows.BAD_ROW, f"is not JSON ({str(fault)[:120]})") from fault
    row = rows.as_row(found, name)
    if isinstance(row, Lost):
        raise RowError(row.reason, row.detail)
    stem = next(name.removesuffix(ending) for ending in _CHAPTERS if name.endswith(ending))
    listed = [one for one in row.rows("chapters") if one.has("title") and one.values.get("toc") is not False]
    chapters = [Chapter(one.number("startTime"), one.text("title")) for one in listed]
    return source.sample(
        stem,
        source.recording(*(f"{stem}{ending}" for ending in _ENDS)),
        "train",
        group=row.text("podcastName", stem),
        chapters=_in_order(chapters, row),
        extras={"title": row.text("title", ""), "description": row.text("description", "")},
    )


def _read(source: Download) -> Found:
    wanted = source.parts(SPLITS)
    if path := source.find("episodes.jsonl"):
        yield from source.each(_listed(source, path, wanted), partial(_episode, source))
        return
    found = 0
    for path in source.files(source.root, *_CHAPTERS):
        found += 1
        if "train" in wanted:
            yield source.one(source.name(path), _beside, source, path)
    if not found:
        raise CorpusError(f"{source.root}: has neither episodes.jsonl nor NAME{_CHAPTERS[0]}")


PODCASTS = Source(
    name="podcasts",
    title="Podcast chapters, in the terms of PODTILE",
    licence="not stated: each podcast's own",
    home="https://arxiv.org/abs/2410.16148",
    how_to_get="episodes that you may use; PODTILE's data are not public. Feeds of Podcasting 2.0 name their files "
    "of chapters (podcastindex.org/namespace/1.0)",
    size="as many as there are",
    tells=("chapters", "transcript", "events", "language", "seconds", "group", "extras"),
    layout='episodes.jsonl: {"id", "audio", "title", "description", "show", "language", "duration", "split",\n'
    '  "licence", "transcript": [{"start", "end", "text", "speaker"}],\n'
    '  "chapters": [{"start" or "sentence", "title", "summary"}]}\n'
    "or NAME.chapters.json (Podcasting 2.0) beside NAME.mp3",
    read=reading("podcasts", "not stated", _read),
)
