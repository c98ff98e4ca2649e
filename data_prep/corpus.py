"""The corpus by name: `Clip`, the manifests that list clips, and the audio store that holds them.

A manifest is a gzip CSV of `Clip` rows; every `*_clips.csv.gz` and `clips.csv.gz` in `data_prep/manifest/` counts.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.atomic import write_bytes, write_text
from data_prep.errors import CorpusError

MANIFEST_DIR = Path(__file__).parent / "manifest"
SPLITS = ("train", "dev", "test")
KINDS = ("sfx", "instrument", "music", "speech", "render")


@dataclass(frozen=True)
class Clip:
    """One labelled recording of a published package; nothing of the recording itself."""

    id: str
    """Unique name, also the file name in the store."""
    origin: str
    """Where packages of this kind come from: `debian`, `npm`, `pypi`, `git`, `soundfont`."""
    package: str
    """Package or repository name; the unit of the train/dev/test split."""
    version: str
    """Version or commit."""
    path: str
    """Path in the package; `outer!inner` when inside a container."""
    labels: tuple[str, ...]
    """Fine labels."""
    classes: tuple[str, ...]
    """Classes of `classes.csv`."""
    description: str
    """What is heard, in plain English."""
    seconds: float
    rate: int
    """Sampling rate of the original in Hz."""
    licence: str
    split: str
    kind: str
    language: str = ""
    """ISO code, for speech."""
    transcript: str = ""
    speaker: str = ""
    sex: str = ""
    """`female`, `male` or '' when not known."""
    sha: str = ""
    """First 16 hex digits of SHA-1 over the mono 16-bit samples at the original rate."""
    dup_group: str = ""
    """Clips of one group are near copies of each other."""
    flag: str = ""


FIELDS = tuple(field.name for field in dataclasses.fields(Clip))
LISTS = ("labels", "classes")


def clip_id(package: str, path: str) -> str:
    """A stable, file-system-safe name for `path` in `package`."""
    safe = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in package)
    return f"{safe}-{hashlib.sha1(path.encode()).hexdigest()[:10]}"


def clip_to_row(clip: Clip) -> dict[str, str]:
    """Manifest row: lists joined by '|', everything as text."""
    row = {name: getattr(clip, name) for name in FIELDS}
    row.update({name: "|".join(row[name]) for name in LISTS})
    return {name: str(value) for name, value in row.items()}


def clip_from_row(row: dict[str, str], where: str) -> Clip:
    """`Clip` of a manifest row; raises `CorpusError` naming `where` and the field."""
    missing = [name for name in FIELDS if row.get(name) is None]
    if missing:
        raise CorpusError(f"{where}: no field {', '.join(missing)}; the columns must be {', '.join(FIELDS)}")
    values: dict[str, Any] = {name: row[name] for name in FIELDS}
    try:
        values["seconds"], values["rate"] = float(row["seconds"]), int(row["rate"])
    except ValueError as fault:
        raise CorpusError(f"{where}: seconds and rate must be numbers ({fault})") from fault
    for name in LISTS:
        values[name] = tuple(part for part in row[name].split("|") if part)
    for name, allowed in (("split", SPLITS), ("kind", KINDS)):
        if values[name] not in allowed:
            raise CorpusError(f"{where}: {name} is '{values[name]}', it must be one of {', '.join(allowed)}")
    if not values["id"] or set(values["id"]) & set("/\\\0"):
        raise CorpusError(f"{where}: id '{values['id']}' is empty or not usable as a file name")
    return Clip(**values)


def write_manifest(clips: Iterable[Clip], path: Path) -> None:
    """Gzip CSV, sorted by id, the same bytes for the same clips."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(clip_to_row(clip) for clip in sorted(clips, key=lambda clip: clip.id))
    write_bytes(path, gzip.compress(text.getvalue().encode(), 9, mtime=0))


def read_manifest(path: Path) -> list[Clip]:
    """Clips of one manifest file; raises `CorpusError` naming the file and line."""
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, UnicodeDecodeError) as fault:
        raise CorpusError(f"{path}: cannot read the manifest ({fault})") from fault
    rows = csv.DictReader(io.StringIO(text))
    return [clip_from_row(row, f"{path}:{line}") for line, row in enumerate(rows, start=2)]


def manifest_files(folder: Path = MANIFEST_DIR) -> list[Path]:
    """The manifests of `folder`: the first corpus and every extra one, sorted by name."""
    return sorted(path for path in folder.glob("*clips.csv.gz"))


def shared_clips(folder: Path = MANIFEST_DIR) -> dict[str, str]:
    """Clips of train and dev that packages of test hold, too, under another name: id to the id in test.

    Found by sound (`alm data copies`), which hears through other levels and pitches than hashes do.
    """
    path = folder / "shared_clips.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["id"]: row["same_as"] for row in csv.DictReader(stream)}


def load_clips(folder: Path = MANIFEST_DIR) -> list[Clip]:
    """All clips of all manifests, sorted by id, but those that are shared with test.

    Raises `CorpusError` for two clips with one id, and for near copies on two sides of the split.
    """
    clips: dict[str, Clip] = {}
    groups: dict[str, str] = {}
    shared = shared_clips(folder)
    for path in manifest_files(folder):
        for clip in read_manifest(path):
            if clip.id in clips:
                raise CorpusError(f"{path}: the id '{clip.id}' is taken twice; ids must be unique over all manifests")
            if clip.id in shared:
                continue
            clips[clip.id] = clip
            if clip.dup_group and groups.setdefault(clip.dup_group, clip.split) != clip.split:
                raise CorpusError(f"{path}: near copies of group '{clip.dup_group}' lie on two sides of the split")
    return [clips[key] for key in sorted(clips)]


@dataclass(frozen=True)
class StoredClip:
    """A clip with its file in an audio store."""

    clip: Clip
    audio: str
    """Path of the FLAC file, relative to the store."""
    seconds: float
    rate: int
    """Rate of the FLAC file in Hz."""
    sha_match: bool
    """Whether the decoded samples are those that the manifest names."""


def audio_path(clip_id_text: str, sha: str) -> str:
    """Relative path of a clip in a store."""
    return f"audio/{(sha or hashlib.sha1(clip_id_text.encode()).hexdigest())[:2]}/{clip_id_text}.flac"


def stored_to_row(stored: StoredClip) -> dict[str, Any]:
    """JSON-able row of `clips.jsonl`: the clip's fields, and `audio`, `stored_seconds`, `stored_rate`, `sha_match`."""
    row = dataclasses.asdict(stored.clip)
    row.update(audio=stored.audio, stored_seconds=stored.seconds, stored_rate=stored.rate, sha_match=stored.sha_match)
    return row


def write_index(stored: Iterable[StoredClip], path: Path) -> None:
    """`clips.jsonl` of a store, atomically."""
    rows = (json.dumps(stored_to_row(item), ensure_ascii=False) for item in stored)
    write_text(path, "".join(row + "\n" for row in rows))


def read_index(path: Path) -> Iterator[StoredClip]:
    """Rows of `clips.jsonl`; raises `CorpusError` naming file and line."""
    if not path.is_file():
        raise CorpusError(f"{path}: no index of an audio store; run `python -m data_prep fetch --out {path.parent}`")
    with path.open(encoding="utf-8") as stream:
        for line, text in enumerate(stream, start=1):
            try:
                row = json.loads(text)
                values: dict[str, Any] = {name: row[name] for name in FIELDS}
                clip = Clip(**{**values, **{name: tuple(row[name]) for name in LISTS}})
                facts = (row["audio"], float(row["stored_seconds"]), int(row["stored_rate"]), bool(row["sha_match"]))
            except (ValueError, KeyError, TypeError, OverflowError) as fault:
                raise CorpusError(f"{path}:{line}: not a row of a store index ({fault!r}); fetch again") from fault
            yield StoredClip(clip, *facts)


def merge_index(folder: Path, stored: Iterable[StoredClip], clips: Iterable[Clip]) -> list[StoredClip]:
    """Bring `stored` into `clips.jsonl` of a store and give all its rows, sorted by id.

    Rows of earlier runs stay as long as `clips` lists them and their file is there; they take over what `clips`
    says now, so that a better label needs no new decoding.
    """
    path = folder / "clips.jsonl"
    facts = {item.clip.id: item for item in (read_index(path) if path.is_file() else ())}
    facts |= {item.clip.id: item for item in stored}
    rows = [
        dataclasses.replace(facts[clip.id], clip=clip)
        for clip in sorted(clips, key=lambda clip: clip.id)
        if clip.id in facts and (folder / facts[clip.id].audio).is_file()
    ]
    write_index(rows, path)
    return rows
