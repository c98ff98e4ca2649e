"""Damage to the lists of a download, and an account of every row that does not ask the readers."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from alm.errors import AlmError
from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.samples import Sample, sample_from_json, to_json
from tests.sound_sets import SoundSet

NASTY = (
    "", " ", "../../etc/passwd", "..\\..\\secret.wav", "/data/sls/audio/a.wav", "C:\\audio\\a.wav", "a\0b",
    "nan", "inf", "-1", "1e999", "9" * 400, "x" * 5000,
    "\u2028", "\udcff", "caf\u00e9", "'", '"', "#", "yes,no", "0", "{}", "[1]",
    "true", "two\nlines", "tab\there", "A" * 300 + ".wav", ".", "..", "0.0000001", "86401", "--4gqARaEJE",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *NASTY, None, True, -1, 10**30, 1e308, float("nan"), [], [[]], {}, {"a": {}}, ["x", 3], [None],
)  # fmt: skip
WITH_BREAKS = ("audiosetcaps", "audiocaps", "clotho", "freesound")
"""Sources whose quoted text may have line breaks."""
HEADLESS = (
    "audioset", "vggsound", "tut-scenes", "tut-sound-events", "tut-rare", "dcase-seld-2020", "dcase-seld-2021",
    "starss22", "starss23", "mediaeval-vsd",
)  # fmt: skip
LISTS = (".csv", ".tsv", ".json", ".txt", ".ann", ".parquet")
_BYTES = (b"\xff\xfe", b"\xed\xa0\x80", b'"', b"\n", b"\0", b"\r", b"\\", b"{")
NO_ROW = ("missing list", "bad metadata", "bad row of a fold", "unknown list")
"""Losses that stand for no row of a list."""


def lists(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def damage(folder: Path, one: SoundSet, chance: random.Random) -> tuple[Path, bool]:
    """Spoil one list, now and then one that is not counted; gives it, and whether bytes were spoilt and not rows."""
    counted = lists(folder, one.tables)
    there = sorted(p for p in folder.rglob("*") if p.suffix in LISTS)
    others = [p for p in there if p not in counted]
    path = chance.choice(others if others and chance.random() < 0.15 else counted)
    if chance.random() < 0.02:
        path.unlink()
        return path, False
    if chance.random() < 0.25:
        path.write_bytes(_raw(path.read_bytes(), chance))
        return path, True
    kinds: dict[str, Callable[[Path, random.Random], None]] = {".json": _json, ".parquet": _parquet}
    kinds.get(path.suffix, _text)(path, chance)
    return path, False


def _raw(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    kind = chance.randrange(5)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + chance.choice(_BYTES) + data[at:]
    if kind == 2:
        return data[:at] + bytes(chance.randrange(256) for _ in range(4)) + data[at + 4 :]
    if kind == 3:
        return data[:at] + data[at + chance.randrange(1, 40) :]
    return data.decode("latin-1").encode("utf-16")


def _text(path: Path, chance: random.Random) -> None:
    """Change cells and rows; what is written is again a table of that kind."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    mark = "\t" if "\t" in text else "," if "," in text else " "
    comments = [line for line in text.splitlines() if line.startswith("#")]
    body = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    rows = list(csv.reader(io.StringIO(body, newline=""), delimiter=mark, skipinitialspace=True))
    rows = [row for row in rows if row] or [[""]]
    for _ in range(chance.randrange(1, 4)):
        _row(rows, chance)
    stream = io.StringIO(newline="")
    if mark == ",":
        csv.writer(stream, lineterminator="\n").writerows(rows)
    else:
        stream.writelines(mark.join(row) + "\n" for row in rows)
    written = "".join(f"{line}\n" for line in comments) + stream.getvalue()
    path.write_bytes(written.encode("utf-8", "surrogateescape"))


def _row(rows: list[list[str]], chance: random.Random) -> None:
    first = 0 if chance.random() < 0.3 else min(1, len(rows) - 1)  # the header less often
    number = chance.randrange(first, len(rows))
    row, kind = rows[number], chance.randrange(10)
    place = chance.randrange(len(row)) if row else 0
    if kind < 6 and row:
        row[place] = chance.choice((*NASTY, chance.choice(chance.choice(rows) or [""])))
    elif kind == 6:
        del row[place : place + 1]
    elif kind == 7:
        row.insert(place, chance.choice(NASTY))
    elif kind == 8:
        rows.insert(chance.randrange(len(rows) + 1), list(row))
    elif len(rows) > 1:
        del rows[number]


def _json(path: Path, chance: random.Random) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(chance.randrange(1, 4)):
        node = value
        while isinstance(node, dict | list) and node:
            key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
            below = node[key]
            if isinstance(below, dict | list) and below and chance.random() < 0.8:
                node = below
                continue
            if isinstance(node, list) and chance.random() < 0.3:
                node.append(copy.deepcopy(chance.choice((below, *VALUES))))
            elif chance.random() < 0.25:
                del node[key]
            else:
                node[key] = copy.deepcopy(chance.choice(VALUES))
            break
    path.write_text(json.dumps(value), encoding="utf-8")


def _parquet(path: Path, chance: random.Random) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    for _ in range(chance.randrange(1, 3)):
        row = chance.choice(rows)
        row[chance.choice(list(row))] = chance.choice(VALUES)
    if chance.random() < 0.2:
        rows.append(dict(chance.choice(rows)))
    if chance.random() < 0.2:
        gone = chance.choice(list(rows[0]))
        rows = [{k: v for k, v in row.items() if k != gone} for row in rows]
    try:
        made = pa.Table.from_pylist(rows)
        pq.write_table(made, path)
    except (pa.ArrowException, OverflowError, UnicodeError):
        texts = [{k: None if v is None else ascii(v) for k, v in row.items()} for row in rows]
        pq.write_table(pa.Table.from_pylist(texts), path)


# --- the account ---


def check(source: Source, one: SoundSet, folder: Path, spoilt: Path | None = None, raw: bool = False) -> int:
    """Read the download and account for it; gives the number of pieces, 0 where it was refused with a typed error."""
    try:
        pieces = list(source.read(folder, ReadOptions()))
    except AlmError as fault:
        assert str(folder) in str(fault), f"the error names no file: {fault}"
        return 0
    samples = [p for p in pieces if isinstance(p, Sample)]
    lost = [p for p in pieces if isinstance(p, Lost)]
    for sample in samples:
        path = Path(sample.audio)
        assert path.is_relative_to(folder) and ".." not in path.parts and path.is_file(), sample.audio
        assert sample.source == source.name
        assert sample_from_json(json.loads(json.dumps(to_json(sample)))) == sample
    assert len({s.id for s in samples}) == len(samples)
    if not (raw and (source.name in WITH_BREAKS or spoilt is None or spoilt.suffix in (".json", ".parquet"))):
        _account(source, one, folder, samples, lost)
    return len(pieces)


def _account(source: Source, one: SoundSet, folder: Path, samples: Sequence[Sample], lost: Sequence[Lost]) -> None:
    tables = lists(folder, one.tables)
    rows = [row_count(p, source.name) for p in tables]
    if None in rows or any(each.reason == "unknown list" for each in lost):
        return
    gone = sum(lost_rows(each) for each in lost if each.reason not in NO_ROW and not each.where.endswith(", mic"))
    kept = sum(held_rows(s) for s in samples if s.channels != "mic")
    unseen = sum(unseen_rows(p, source.name, samples, lost) for p in tables)
    total = sum(n or 0 for n in rows)
    assert total == gone + kept + unseen, f"{total} rows, but {kept} kept, {gone} lost, {unseen} silent: {lost}"


def lost_rows(each: Lost) -> int:
    found = re.search(r"\((\d+) rows\)$", each.detail)
    return int(found[1]) if found else 1


def held_rows(sample: Sample) -> int:
    """Rows that stand behind a sample."""
    match sample.source:
        case "audioset-strong" | "tut-sound-events" | "dcase-seld-2019":
            return len(sample.events)
        case "audiocaps":
            return len(sample.captions)
        case "clotho-aqa":
            return sum(len(given) for given in sample.extras["answers"].values())
        case "mediaeval-vsd":
            return len(sample.events) + sum(len(v) for v in sample.extras.get("violent_scenes", {}).values())
        case "birdset" if not sample.id.endswith(("_005.ogg", "_015.ogg")) and "XC" not in sample.id:
            return len(sample.events)
        case name if name.startswith(("dcase", "starss")):
            return round(sum((e.offset or 0) - (e.onset or 0) for e in sample.events) / 0.1)
    return 1


def unseen_rows(path: Path, source: str, samples: Sequence[Sample], lost: Sequence[Lost]) -> int:
    """Rows that were used, but leave nothing that could be counted in a sample."""
    bad = {each.where for each in lost}
    ids = {sample.id for sample in samples}
    if source == "mediaeval-vsd" and any(i.endswith(f"/{path.stem.rpartition('_')[0]}") for i in ids):
        good = [line for n, line in enumerate(path.read_bytes().split(b"\n"), start=1) if f"{path}:{n}" not in bad]
        return sum(line.split()[2:3] in ([b"(nothing)"], [b"nothing"]) for line in good)
    if source == "birdset" and path.name.endswith("_test.parquet"):
        import pyarrow.parquet as pq

        rows = enumerate(pq.read_table(path).to_pylist(), start=1)
        names = {i.rpartition("/")[2] for i in ids}
        silent = [r for n, r in rows if f"{path}, row {n}" not in bad and not str(r.get("ebird_code") or "").strip()]
        return sum(str(r.get("filepath", "")).strip().replace("\\", "/").rpartition("/")[2] in names for r in silent)
    if source.startswith(("dcase-seld-202", "starss")):
        lines = enumerate(path.read_bytes().split(b"\n"), start=1)
        good = [line for n, line in lines if line.strip() and f"{path}:{n}" not in bad]
        good = good[1:] if source not in HEADLESS else good
        whole = not any(each.where.startswith(f"{path}, ") for each in lost)
        keys = [tuple(float(cell) for cell in line.replace(b'"', b"").split(b",")[:3]) for line in good]
        return len(keys) - len(set(keys)) if whole else 0
    return 0


def row_count(path: Path, source: str) -> int | None:
    """Rows of a list, counted without the reader; None: nobody can say."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)
    if path.suffix == ".json":
        if source == "freesound":
            return 1
        data = json.loads(path.read_text(encoding="utf-8"))
        data = data.get("data") if isinstance(data, dict) else None
        return len(data) if isinstance(data, list) else None
    head = 0 if source in HEADLESS and path.name != "meta.csv" else 1
    if source in WITH_BREAKS:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        found = csv.reader(io.StringIO(text, newline=""))
        blank = re.compile(r"[ \t\r\n\x0b\x0c]+")  # a line of nothing else is no row
        return sum(len(row) > 1 or (len(row) == 1 and not blank.fullmatch(row[0])) for row in found) - head
    lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    lines = [line for line in lines if not (source == "audioset" and line.startswith(b"#"))]
    return len(lines) - head
