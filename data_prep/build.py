"""Write the instruction records of all splits, a report on them, and the checksums of everything written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from data_prep.atomic import write_text
from data_prep.corpus import StoredClip, read_index
from data_prep.errors import CorpusError
from data_prep.heard import Context, load_context
from data_prep.instructions import make_records
from data_prep.ontology import Ontology
from data_prep.records import SPLITS, Record, read_records, write_records

HASH_BLOCK_BYTES = 2**20


def record_file(folder: Path, split: str) -> Path:
    """Where the records of a split lie."""
    return folder / f"{split}.jsonl"


def build_split(
    folder: Path, split: str, total: int, seed: int, ontology: Ontology, advance: Callable[[int], None]
) -> list[Record]:
    """Make and write the records of one split."""
    context: Context = load_context(folder, split, seed, ontology)
    records = list(make_records(context, total, advance))
    write_records(records, record_file(folder, split))
    return records


def check_no_leak(records: Iterable[Record], clips: dict[str, StoredClip]) -> None:
    """Raises `CorpusError` when a package or copy group is used by two splits, or a record is outside its split."""
    owner: dict[str, str] = {}
    for record in records:
        names = {f"package {name}" for name in record.source.split(" + ") if name != "synthetic"}
        stored = [clips[name] for name in record.meta["recordings"] if name in clips]
        names |= {f"copy group {item.clip.dup_group}" for item in stored if item.clip.dup_group}
        names |= {f"recording {path}" for path in record.audios}
        for name in names:
            # Synthetic voices of one engine serve train and dev; test has another engine.
            side = "train" if record.split == "dev" and name == "package espeak-ng" else record.split
            if owner.setdefault(name, side) != side:
                raise CorpusError(f"record '{record.id}': {name} is used by {owner[name]} and by {record.split}")


def summary(records: list[Record]) -> dict[str, Any]:
    """Counts of one split."""
    audios = {path: 0.0 for record in records for path in record.audios}
    for record in records:
        if len(record.audios) == 1:
            audios[record.audios[0]] = record.duration
    return {
        "records": len(records),
        "turns": sum(len(record.messages) // 2 for record in records),
        "recordings": len(audios),
        "hours_of_single_recordings": round(sum(audios.values()) / 3600, 3),
        "tasks": dict(sorted(Counter(record.task for record in records).items())),
        "classes": dict(Counter(name for record in records for name in record.meta["classes"]).most_common()),
        "licences": dict(Counter(name for record in records for name in record.licence.split(" AND ")).most_common()),
        "sources": dict(Counter(name for record in records for name in record.source.split(" + ")).most_common()),
        "yes": sum(record.meta.get("answer") == "yes" for record in records if record.task == "yes_no"),
        "no": sum(record.meta.get("answer") == "no" for record in records if record.task == "yes_no"),
    }


def corpus_summary(clips: Iterable[StoredClip]) -> dict[str, Any]:
    """Clips, hours and licences of the store by split and kind."""
    clips = list(clips)
    hours: Counter[str] = Counter()
    for item in clips:
        hours[f"{item.clip.split} {item.clip.kind}"] += round(item.seconds)
    return {
        "clips": len(clips),
        "clips_by_split_and_kind": dict(sorted(Counter(f"{i.clip.split} {i.clip.kind}" for i in clips).items())),
        "hours_by_split_and_kind": {name: round(seconds / 3600, 3) for name, seconds in sorted(hours.items())},
        "licences": dict(Counter(item.clip.licence for item in clips).most_common()),
        "fingerprint_mismatches": sum(not item.sha_match for item in clips),
    }


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def write_report(folder: Path, seed: int, by_split: dict[str, list[Record]]) -> dict[str, Any]:
    """`build_report.json`: what was made, out of what, with which seed."""
    clips = list(read_index(folder / "clips.jsonl"))
    report = {
        "seed": seed,
        "corpus": corpus_summary(clips),
        "splits": {split: summary(records) for split, records in by_split.items()},
    }
    write_text(folder / "build_report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return report


def write_checksums(folder: Path, by_split: dict[str, list[Record]]) -> Path:
    """`SHA256SUMS` over the lists, the records and every recording that a record uses; `sha256sum -c` checks it."""
    used = {path for records in by_split.values() for record in records for path in record.audios}
    lists = [
        path for pattern in ("*.jsonl", "*.json", "scenes/*.jsonl", "speech/*.jsonl") for path in folder.glob(pattern)
    ]
    names = sorted(used | {str(path.relative_to(folder)) for path in lists})
    target = folder / "SHA256SUMS"
    write_text(target, "".join(f"{file_sha256(folder / name)}  {name}\n" for name in names))
    return target


def check_files(folder: Path) -> dict[str, list[Record]]:
    """Read back every record file of a folder: rows, recordings and splits must hold. Raises a typed error."""
    clips = {item.clip.id: item for item in read_index(folder / "clips.jsonl")}
    by_split = {
        split: list(read_records(record_file(folder, split), absolute=False))
        for split in SPLITS
        if record_file(folder, split).is_file()
    }
    for records in by_split.values():
        for record in records:
            for path in record.audios:
                if not (folder / path).is_file():
                    raise CorpusError(f"record '{record.id}': recording {path} is not in {folder}; build again")
    check_no_leak([record for records in by_split.values() for record in records], clips)
    return by_split
