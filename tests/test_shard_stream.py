"""The stream out of shards: order, splitting over consumers, resuming; and other programs that read the same tars."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest
from shards_toys import toy_records, write_tones

from alm.errors import ConfigError
from data_prep.records import Record
from data_prep.shards import ShardSettings, ShardStream, write_shards

WINDOW = 40


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return toy_records(write_tones(tmp_path_factory.mktemp("downloads"), 40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> Path:
    base = tmp_path_factory.mktemp("shards")
    write_tones(base, 40)
    write_shards(records, base / "made", ShardSettings(megabytes=0.02), recordings=base)
    return base / "made"


def ids(stream: Iterator[object] | ShardStream) -> list[str]:
    return [item.record.id for item in stream]  # type: ignore[attr-defined]


def test_order_is_a_function_of_seed_and_epoch(folder: Path) -> None:
    stream = ShardStream(folder, window_records=WINDOW)
    first, second = ids(stream), ids(stream)
    assert first != second and sorted(first) == sorted(second) and len(first) == len(stream) == len(set(first))
    again = ShardStream(folder, window_records=WINDOW)
    assert [ids(again), ids(again)] == [first, second]
    assert ids(ShardStream(folder, seed=1, window_records=WINDOW)) != first
    neighbours = sum(a.split("-")[1] == b.split("-")[1] for a, b in pairwise(first))
    assert neighbours < len(first) / 4, "rows on one recording do not come together"


def test_rare_kinds_come_all_through_the_epoch(folder: Path) -> None:
    order = ids(ShardStream(folder, window_records=WINDOW))
    half = len(order) // 2
    for kind in ("two", "none"):
        parts = [sum(name.startswith(kind) for name in part) for part in (order[:half], order[half:])]
        assert min(parts) >= 1, (kind, parts)


@pytest.mark.parametrize(("world", "workers"), [(1, 3), (2, 2), (3, 1), (50, 4)])
def test_consumers_share_an_epoch_without_overlap(folder: Path, world: int, workers: int) -> None:
    """Whatever their number, together they give the one order of the epoch."""
    whole = ids(ShardStream(folder, window_records=WINDOW))
    places = [(rank, worker) for rank in range(world) for worker in range(workers)]
    parts = [
        ids(ShardStream(folder, rank=rank, world=world, worker=worker, workers=workers, window_records=WINDOW))
        for rank, worker in places
    ]
    assert [parts[at % len(parts)][at // len(parts)] for at in range(len(whole))] == whole
    assert sum(map(len, parts)) == len(whole)


def test_even_consumers_get_as_many(folder: Path) -> None:
    parts = [ids(ShardStream(folder, rank=rank, world=7, even=True)) for rank in range(7)]
    total = ShardStream(folder).records
    assert total % 7 and {len(part) for part in parts} == {total // 7}
    assert len({name for part in parts for name in part}) == total - total % 7


def test_a_stream_goes_on_at_the_very_next_record(folder: Path) -> None:
    """Stopped after many numbers of records, also at the end of an epoch, and resumed by another process' state."""
    settings = {"rank": 1, "world": 2, "window_records": WINDOW}
    straight = ShardStream(folder, **settings)
    wanted = ids(straight) + ids(straight)
    for stop in (*range(0, len(wanted), 19), len(straight) - 1, len(straight), len(straight) + 1):
        stream = ShardStream(folder, **settings)
        begun: list[str] = []
        while len(begun) < stop:
            begun += ids(islice(stream, stop - len(begun)))
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = ShardStream(folder, **settings)
        resumed.load_state_dict(state)
        rest = ids(resumed)
        rest += ids(resumed) if len(begun) + len(rest) < len(wanted) else []
        assert begun + rest == wanted, stop


def test_with_another_number_of_consumers_it_goes_on_without_loss(folder: Path) -> None:
    whole = ids(ShardStream(folder, window_records=WINDOW))
    begun = [ShardStream(folder, rank=rank, world=2, window_records=WINDOW) for rank in range(2)]
    parts = [ids(islice(stream, 15)) for stream in begun]
    rest = []
    for rank in range(3):
        stream = ShardStream(folder, rank=rank, world=3, window_records=WINDOW)
        stream.load_state_dict(begun[0].state_dict())
        rest.append(ids(stream))
    assert sorted(name for part in (*parts, *rest) for name in part) == sorted(whole)
    assert [rest[at % 3][at // 3] for at in range(len(whole) - 30)] == whole[30:]


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"shards": "0"}, {"taken": -1}, {"epoch": "1"}, {"consumers": None}, {"window_records": 9}]
)
def test_a_state_of_something_else_is_refused(folder: Path, change: dict[str, object]) -> None:
    stream = ShardStream(folder)
    stream.load_state_dict(stream.state_dict())
    with pytest.raises(ConfigError, match=next(iter(change))):
        stream.load_state_dict(stream.state_dict() | change)


@pytest.mark.parametrize("wrong", [{"rank": 2, "world": 2}, {"worker": -1}, {"window_records": 0}, {"split": "dev"}])
def test_impossible_streams_are_refused(folder: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ShardStream(folder, **wrong)  # type: ignore[arg-type]


def test_a_loader_of_torch_reads_it_with_workers(folder: Path) -> None:
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    class Rows(IterableDataset[str]):
        def __iter__(self) -> Iterator[str]:
            info = get_worker_info()
            assert info is not None
            yield from ids(ShardStream(folder, worker=info.id, workers=info.num_workers))

    found = list(DataLoader(Rows(), batch_size=None, num_workers=2))
    assert len(found) == len(set(found)) == ShardStream(folder).records


@pytest.mark.slow
def test_other_programs_read_the_same_tars(folder: Path, records: list[Record], tmp_path: Path) -> None:
    """`webdataset` and `datasets`, the latter by the head of the card; in a process of their own, offline."""
    code = """
import json, sys
from pathlib import Path
import datasets, webdataset
folder = Path(sys.argv[1])
tars = sorted(str(path) for path in (folder / "train" / "flac").glob("*.tar"))
samples = list(webdataset.WebDataset(tars, shardshuffle=False))
rows = [row for sample in samples for row in json.loads(sample["json"])["records"]]
found = {"webdataset": [row["id"] for row in rows], "flac": all(s["flac"][:4] == b"fLaC" for s in samples)}
for kind, field in (("flac", "flac"), ("flacx2", "1.flac"), ("text", None)):
    data = datasets.load_dataset(str(folder), kind, split="train")
    found[kind + " rows"] = [row["id"] for sample in data for row in sample["json"]["records"]]
    found[kind + " audio"] = field is None or all(sample[field][:4] == b"fLaC" for sample in data)
print(json.dumps(found))
"""
    environment = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    train = [record for record in records if record.split == "train"]
    by_count = {n: sorted(r.id for r in train if len(r.audios) == n) for n in range(3)}
    assert sorted(found["webdataset"]) == by_count[1] and found["flac"]
    for kind, count in (("flac", 1), ("flacx2", 2), ("text", 0)):
        assert sorted(found[f"{kind} rows"]) == by_count[count] and found[f"{kind} audio"]


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """Of 60,000 records little more is kept than of 5,000."""
    code = """
import sys
from pathlib import Path
sys.path[:0] = ["tests", "."]
from bench.memory import peak_mebibytes
from shards_toys import a_record, write_tones
from data_prep.shards import write_shards, ShardStream
folder, count = Path(sys.argv[1]), int(sys.argv[2])
names = write_tones(folder, 200)
rows = (a_record(f"r{n}", (names[n % 200],), meta={"text": "x" * 500}) for n in range(count))
write_shards(rows, folder / "made", recordings=folder)
assert sum(1 for _, _ in zip(ShardStream(folder / "made"), range(500))) == 500
print(round(peak_mebibytes()))
"""
    peaks = []
    for count in (5_000, 60_000):
        command = [sys.executable, "-c", code, str(tmp_path / str(count)), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=Path(__file__).parent.parent)
        assert done.returncode == 0, done.stderr[-2000:]
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 60, peaks
