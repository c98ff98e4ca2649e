"""Downloads of music and speech made wrong in 2,000 ways each: an error that says so, a loss, or a good sample."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from data_prep.errors import CorpusError
from data_prep.readers import SOURCES
from data_prep.readers.base import Lost, ReadOptions
from data_prep.samples import Sample, sample_from_json, to_json
from tests.download_fuzzing import Variant, change_bytes, changed, changes_of
from tests.voice_sets import SETS, Built

QUICK, ALL, SEED = 8, 2000, 20261126
HEADERS = {"fma_metadata/tracks.csv": 3}
UNQUOTED = ("slue-", "cv-corpus", "303_P")
RECORDINGS = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".mp4", ".au")
MOST_SECONDS = 10.0


def units(one: Sample | Lost) -> int:
    """Rows that a sample or a loss stands for: MusicQA has a row a question."""
    return len(one.questions) if isinstance(one, Sample) and one.source == "musicqa" else 1


def read(built: Built, folder: Path) -> list[Sample | Lost]:
    return list(SOURCES[built.source].read(folder, ReadOptions()))


def check(reading: Callable[[], list[Sample | Lost]], folder: Path, rows: int, variant: Variant) -> str:
    """Read a changed download; says what came of it."""
    began = time.monotonic()
    try:
        found = reading()
    except CorpusError as fault:
        assert str(fault) and len(str(fault)) < 3000, "an error is to be read"
        return "error"
    assert time.monotonic() - began < MOST_SECONDS, variant
    samples = [one for one in found if isinstance(one, Sample)]
    assert len({one.id for one in samples}) == len(samples), f"{variant}: an id twice"
    for one in samples:
        assert Path(one.audio).resolve().is_relative_to(folder) and Path(one.audio).stat().st_size, variant
        row = json.dumps(to_json(one), ensure_ascii=False, allow_nan=False).encode()
        assert sample_from_json(json.loads(row)) == one, variant
    assert all(one.reason and one.where and len(one.detail) < 1000 for one in found if isinstance(one, Lost)), variant
    if variant.more is not None:
        assert sum(map(units, found)) == rows + variant.more, f"{variant}: {found}"
    return "lost" if len(samples) < len(found) else "samples"


def vary(built: Built, folder: Path, count: int) -> set[str]:
    rows = sum(map(units, read(built, folder)))
    draw, came = random.Random(SEED), set()
    ways = {}
    for name in built.lists:
        quoted = name.endswith(".csv") and not name.startswith(UNQUOTED)
        header = 0 if name.endswith(".txt") else HEADERS.get(name, 1)
        ways[name] = changes_of(folder / name, header, quoted)
    recordings = sorted(p for p in folder.rglob("*") if p.suffix in RECORDINGS)
    for _ in range(count):
        if draw.random() < 0.05:
            path, data = draw.choice(recordings), draw.choice((b"", None))
            variant = Variant(f"recording {path.name}", 0 if built.lists else None)
        else:
            name = draw.choice([*built.lists, *built.lists, *built.others] or ["."])
            if name == ".":
                path, data, variant = draw.choice(recordings), None, Variant("recording gone", None)
            else:
                path = folder / name
                data, variant = draw.choice(ways.get(name, [change_bytes]))(draw, path.read_bytes())
        with changed(path, data):
            came.add(check(partial(read, built, folder), folder, rows, variant))
    assert sum(map(units, read(built, folder))) == rows, "the download is as it was"
    return came


@pytest.mark.parametrize("name", SETS)
def test_a_few_wrong_downloads(name: str, tmp_path: Path) -> None:
    SETS[name].build(tmp_path)
    assert vary(SETS[name], tmp_path.resolve(), QUICK)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SETS)
def test_many_wrong_downloads(name: str, tmp_path: Path) -> None:
    SETS[name].build(tmp_path)
    came = vary(SETS[name], tmp_path.resolve(), ALL)
    assert came >= ({"error", "lost"} if SETS[name].lists else {"lost"}), "the changes change something"


def test_the_check_sees_what_is_wrong(tmp_path: Path) -> None:
    """Controls: a sample outside the download, an id twice, a row that vanished, an error without a type."""
    built, folder = SETS["librispeech"], tmp_path.resolve()
    built.build(folder)
    good = read(built, folder)
    first = next(one for one in good if isinstance(one, Sample))
    assert check(lambda: good, folder, 6, Variant("", 0)) == "samples"
    wrong: list[list[Sample | Lost]] = [
        [replace(first, audio=__file__), *good[1:]],
        [first, *good[:-1]],
        good[:-1],
    ]
    for found in wrong:
        with pytest.raises(AssertionError):
            check(lambda found=found: found, folder, 6, Variant("", 0))  # type: ignore[misc]
    with pytest.raises(ZeroDivisionError):
        check(lambda: 1 // 0, folder, 6, Variant("", 0))  # type: ignore[arg-type,return-value]
