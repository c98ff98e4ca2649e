"""Playlists of somebody's own music: M3U, PLS, XSPF and cue sheets."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from data_prep.errors import CorpusError
from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import RowError
from data_prep.samples import Chapter, Music, Sample

LICENCE = "not stated"
ENDINGS = (".m3u", ".m3u8", ".pls", ".xspf", ".cue")
CUE_FRAMES = 75
"""Of one second, by the standard of audio CDs."""
_XSPF = "{http://xspf.org/ns/0/}"
_XSPF_FACTS = ("location", "title", "creator", "album")


@dataclass(frozen=True)
class Entry:
    """One recording of a playlist, or one track of a recording."""

    where: str
    path: str
    title: str = ""
    artist: str = ""
    album: str = ""
    seconds: float | None = None
    start: float | None = None
    tracks: tuple[Entry, ...] = ()
    """Of a cue sheet's file."""


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    return ((n, line.strip()) for n, line in enumerate(text.split("\n"), start=1) if line.strip())


def _m3u(text: str, name: str) -> Iterator[Entry | Lost]:
    told = Entry("", "")
    for number, line in _numbered(text):
        if found := re.fullmatch(r"#EXTINF:\s*(-?[\d.]+)[^,]*,(.*)", line):
            artist, dash, title = found[2].partition(" - ")
            told = Entry("", "", title if dash else found[2], artist if dash else "", seconds=_positive(found[1]))
        elif not line.startswith("#"):
            yield replace(told, where=f"{name}, line {number}", path=line, title=told.title.strip())
            told = Entry("", "")


def _positive(text: str) -> float | None:
    """Seconds; players write -1 for a length that they do not know."""
    try:
        return float(text) if 0 < float(text) < 1e6 else None
    except ValueError:
        return None


def _pls(text: str, name: str) -> Iterator[Entry | Lost]:
    facts: dict[str, dict[str, tuple[int, str]]] = {}
    for number, line in _numbered(text):
        if found := re.fullmatch(r"(File|Title|Length)(\d{1,9})\s*=(.*)", line, re.IGNORECASE):
            facts.setdefault(found[2], {})[found[1].lower()] = (number, found[3].strip())
    for index, fact in facts.items():
        if "file" not in fact:
            yield Lost(rows.BAD_ROW, f"{name}, entry {index}", "has a title or a length, but no file")
            continue
        number, path = fact["file"]
        seconds = _positive(fact.get("length", (0, ""))[1])
        yield Entry(f"{name}, line {number}", path, fact.get("title", (0, ""))[1], seconds=seconds)


def _xspf(text: str, name: str) -> Iterator[Entry | Lost]:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CorpusError(f"{name}: declares entities, which no playlist needs; take the declaration out")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as fault:
        raise CorpusError(f"{name}: is no XML ({fault})") from fault
    for number, track in enumerate(root.iter(f"{_XSPF}track"), start=1):
        where = f"{name}, track {number}"
        fact = {key: (track.findtext(f"{_XSPF}{key}") or "").strip() for key in _XSPF_FACTS}
        milliseconds = _positive(track.findtext(f"{_XSPF}duration") or "")
        if not fact["location"]:
            yield Lost(rows.BAD_ROW, where, "has no location")
            continue
        seconds = None if milliseconds is None else milliseconds / 1000
        yield Entry(where, fact["location"], fact["title"], fact["creator"], fact["album"], seconds)


def _cue(text: str, name: str) -> Iterator[Entry | Lost]:
    """A file with its tracks; each ends where the next one begins."""
    album, performer, file = "", "", Entry("", "")
    tracks: list[Entry] = []
    for number, line in _numbered(text):
        word, _, rest = line.partition(" ")
        match word.upper():
            case "FILE":
                yield from _finished(file, tracks)
                path = re.fullmatch(r'"([^"]*)"\s*\w*|(\S+)(?:\s+\w+)?', rest.strip())
                written = (path[1] or path[2] or "") if path else rest
                file, tracks = Entry(f"{name}, line {number}", written, album, performer), []
            case "TRACK":
                tracks.append(Entry(f"{name}, line {number}", file.path, album=album, artist=performer))
            case "TITLE" if tracks:
                tracks[-1] = replace(tracks[-1], title=rest.strip(' "'))
            case "TITLE":
                album = rest.strip(' "')
            case "PERFORMER" if tracks:
                tracks[-1] = replace(tracks[-1], artist=rest.strip(' "'))
            case "PERFORMER":
                performer = rest.strip(' "')
            case "INDEX" if tracks and (found := re.fullmatch(r"0*1\s+(\d{1,4}):(\d{2}):(\d{2})", rest.strip())):
                at = int(found[1]) * 60 + int(found[2]) + int(found[3]) / CUE_FRAMES
                tracks[-1] = replace(tracks[-1], start=at)
    yield from _finished(file, tracks)


def _finished(file: Entry, tracks: list[Entry]) -> Iterator[Entry | Lost]:
    if not file.where and not tracks:
        return
    good = [track for track in tracks if track.start is not None and file.path]
    timed = [replace(track, seconds=_until(track, follower)) for track, follower in zip_longest(good, good[1:])]
    yield from (Lost(rows.BAD_ROW, one.where, "has no INDEX 01 or no file") for one in tracks if one not in good)
    if file.path:
        yield replace(file, tracks=tuple(timed))
    yield from timed


def _until(track: Entry, follower: Entry | None) -> float | None:
    """Seconds until the next track begins; the last one goes on to the end of the file."""
    if follower is None or follower.start is None or track.start is None or follower.start <= track.start:
        return None
    return follower.start - track.start


_READERS = {".m3u": _m3u, ".m3u8": _m3u, ".pls": _pls, ".xspf": _xspf, ".cue": _cue}


def _local(written: str, folder: str) -> str:
    """The path of an entry, relative to the download or absolute.

    Raises:
        RowError: it is an address of a server.
    """
    scheme = urlsplit(written).scheme if "://" in written else ""
    if scheme == "file":
        return unquote(urlsplit(written).path)
    if scheme:
        raise RowError("remote recording", f"{scheme}:// is not fetched; download it and name the file")
    if written.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", written):
        return written
    return posixpath.normpath(posixpath.join(folder, written.replace("\\", "/")))


def _path(source: Download, entry: Entry, folder: str, decoded: bool) -> str:
    if "\0" in entry.path:
        raise RowError(rows.BAD_TEXT, "a path must not have zero bytes")
    if any(entry.path.startswith(begin) for begin in source.options.path_map if begin):
        return source.recording(entry.path)
    return source.recording(_local(unquote(entry.path) if decoded else entry.path, folder))


def _sample(source: Download, entry: Entry, folder: str, decoded: bool) -> Sample:
    chapters = tuple(
        Chapter(track.start, track.title or f"Track {n}", track.artist)
        for n, track in enumerate(entry.tracks, start=1)
        if track.start is not None
    )
    audio = _path(source, entry, folder, decoded)
    return source.sample(
        entry.where,
        audio,
        "train",
        group=audio,
        start=entry.start,
        seconds=entry.seconds,
        chapters=chapters,
        music=Music(title=entry.title, artist=entry.artist),
        extras={"album": entry.album} if entry.album else {},
    )


def _read(source: Download) -> Found:
    source.parts({"all": "train"})
    found = 0
    for path in source.files(source.root, *ENDINGS):
        found += 1
        name, ending = source.name(path), path.suffix.lower()
        folder = posixpath.dirname(name)
        try:
            for entry in _READERS[ending](_text(path, name), name):
                if isinstance(entry, Lost):
                    yield entry
                else:
                    yield source.one(entry.where, _sample, source, entry, folder, ending == ".xspf")
        except CorpusError as fault:
            yield Lost("damaged playlist", name, str(fault))
    if not found:
        raise CorpusError(f"{source.root}: has no playlist ({', '.join(ENDINGS)})")


def _text(path: Path, name: str) -> str:
    """UTF-8, or what Windows players write."""
    rows.check_size(path, name, rows.MAX_WHOLE_BYTES)
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


PLAYLISTS = Source(
    name="playlists",
    title="Playlists of your own music",
    licence="not stated: yours to know",
    home="https://www.xspf.org/spec",
    how_to_get="a folder with playlists (M3U, PLS, XSPF, cue sheets) and the recordings that they name",
    size="as many as there are",
    tells=("music", "chapters", "start", "seconds", "group", "extras"),
    layout="any folder: NAME.m3u, NAME.m3u8, NAME.pls, NAME.xspf, NAME.cue, with paths relative to the playlist",
    read=reading("playlists", LICENCE, _read),
    splits=("all",),
)
