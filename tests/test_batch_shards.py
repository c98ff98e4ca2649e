"""Shards of a batch and their joining, and the settings that a batch is continued with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from batch_helpers import a_row, make_clips, must_not_load, read, run, write

from alm.errors import AlmError, ConfigError, RecordError
from alm.presets import load_preset
from serve.batch.index import Index, Shard, key_of
from serve.batch.journal import Entry
from serve.batch.manifest import BatchSettings, model_hashes
from serve.batch.sources import open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_clips(tmp_path)


def rows_of(count: int) -> list[dict[str, object]]:
    return [a_row(f"row {i}", f"<audio>Question {i}?") for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_share_out_the_rows(count: int, folder: Path) -> None:
    source = write(folder, rows_of(40))
    parts = []
    for number in range(1, count + 1):
        target = folder / f"part{number}.jsonl"
        outcome = run(source, target, shard=Shard(number, count))
        parts.append([row["id"] for row in read(target)])
        assert outcome.total == outcome.answered == len(parts[-1])
        assert len(parts[-1]) > 40 / count / 4, "and evenly"
    assert sorted(i for part in parts for i in part) == sorted(f"row {i}" for i in range(40))


def test_a_shard_depends_on_the_id_alone(folder: Path) -> None:
    """Neither on the place in the file nor on the other rows; halves of a half are quarters."""
    rows = rows_of(40)
    run(write(folder, rows), folder / "a.jsonl", shard=Shard(2, 3))
    run(write(folder, rows[::-2], "less.jsonl"), folder / "b.jsonl", shard=Shard(2, 3))
    every, less = ({row["id"] for row in read(folder / f"{name}.jsonl")} for name in "ab")
    assert less == every & {row["id"] for row in rows[::-2]}
    for identity in every:
        key = key_of(identity)
        assert Shard(1, 6).holds(key) != Shard(4, 6).holds(key) or not Shard(1, 3).holds(key)
        assert Shard(2, 6).holds(key) or Shard(5, 6).holds(key)


def test_an_output_may_be_sharded_anew(folder: Path) -> None:
    source, target = write(folder, rows_of(30)), folder / "out.jsonl"
    half = run(source, target, shard=Shard(1, 2)).answered
    third = run(source, target, shard=Shard(1, 3))
    assert third.total == third.already + third.answered and third.already > 0
    rest = run(source, target)
    assert rest.already == half + third.answered and len(read(target)) == 30
    assert len({row["id"] for row in read(target)}) == 30


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/2/3", "-1/2", "1/0"])
def test_half_a_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="give a part and their number"):
        Shard.parse(text)
    assert Shard.parse("2/8") == Shard(2, 8)


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_merged_shards_are_as_one_run(ending: str, folder: Path) -> None:
    source, parts = write(folder, rows_of(20)), [folder / f"part{i}{ending}" for i in (1, 2)]
    for number, part in enumerate(parts, start=1):
        run(source, part, shard=Shard(number, 2))
    whole, merged = folder / f"whole{ending}", folder / f"merged{ending}"
    run(source, whole)
    outcome = run(source, merged, load=must_not_load, merge=tuple(parts))
    assert outcome.already == 20 and merged.read_bytes() == whole.read_bytes()
    with pytest.raises(ConfigError, match="--merge begins a new output"):
        run(source, merged, load=must_not_load, merge=tuple(parts))


def test_tables_are_merged_into_another_kind_of_table(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    source = write(folder, rows_of(5))
    run(source, folder / "a.parquet")
    assert run(source, folder / "b.csv", load=must_not_load, merge=(folder / "a.parquet",)).already == 5
    run(source, folder / "c.csv")
    assert (folder / "b.csv").read_bytes() == (folder / "c.csv").read_bytes()


def test_what_the_shards_lack_is_answered_after_the_merge(folder: Path) -> None:
    source, part = write(folder, rows_of(20)), folder / "part.jsonl"
    done = run(source, part, shard=Shard(1, 2)).answered
    outcome = run(source, folder / "out.jsonl", merge=(part, part))
    assert (outcome.already, outcome.answered) == (done, 20 - done)
    assert len(read(folder / "out.jsonl")) == 20


def test_of_two_parts_the_answer_wins_over_the_error(folder: Path) -> None:
    source = write(folder, [a_row(1, audios=["late.wav"]), a_row(2)])
    failed, answered = folder / "failed.jsonl", folder / "answered.jsonl"
    run(source, failed)
    shutil.copy(folder / "clips" / "a.wav", folder / "late.wav")
    run(source, answered)
    for name, parts in (("x", (failed, answered)), ("y", (answered, failed))):
        assert run(source, folder / f"{name}.jsonl", load=must_not_load, merge=parts).failed_before == 0


def test_parts_that_do_not_belong_are_refused(folder: Path) -> None:
    source, part, target = write(folder, rows_of(4)), folder / "part.jsonl", folder / "out.jsonl"
    run(source, part)
    other = write(folder, rows_of(3), "other.jsonl")
    with pytest.raises(RecordError, match="holds the row 'row 3', which other"):
        run(other, folder / "new.jsonl", load=must_not_load, merge=(part,))
    with pytest.raises(ConfigError, match=r"part\.jsonl: begun with other settings \(seed was 0 and is 1\)"):
        run(source, target, must_not_load, BatchSettings(seed=1), merge=(part,))
    with pytest.raises(ConfigError, match="no output of a batch that"):
        run(source, folder / "new2.jsonl", load=must_not_load, merge=(folder / "none.jsonl",))
    with pytest.raises(ConfigError, match=r"that out\.csv can begin with"):
        run(source, folder / "out.csv", load=must_not_load, merge=(part,))


def test_of_two_entries_the_better_or_later_counts(folder: Path) -> None:
    with Index(open_source(write(folder, rows_of(1)))) as index:
        index.read_input()
        for failed, place, wanted in ((True, 1, 1), (False, 2, 2), (True, 3, 2), (False, 4, 4)):
            index.read_done([Entry("row 0", "00" * 32, failed, place)])
            assert list(index.done_places()) == [(0, wanted)]


# --- settings ---


def test_another_adapter_is_noticed_by_its_weights(folder: Path) -> None:
    shipped = load_preset("tiny").adapter
    assert shipped is not None
    copy = folder / "adapter"
    shutil.copytree(shipped, copy)
    before = model_hashes("tiny", copy)
    assert before == model_hashes("tiny", None), "where it lies does not count"
    source, target = write(folder, rows_of(2)), folder / "out.jsonl"
    run(source, target, settings=BatchSettings(adapter=str(copy), **before), limit_rows=1)

    moved = shutil.move(copy, folder / "moved")
    again = BatchSettings(adapter=str(moved), **model_hashes("tiny", Path(moved)))
    assert run(source, target, settings=again).answered == 1
    weights = Path(moved) / "hearing.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    changed = BatchSettings(adapter=str(moved), **model_hashes("tiny", Path(moved)))
    with pytest.raises(ConfigError, match=r"adapter_sha256 was '[0-9a-f]{12}\.\.\.' and is"):
        run(source, target, must_not_load, changed)
    with pytest.raises(AlmError, match="no preset is called"):
        model_hashes("none", None)


def test_damaged_settings_are_refused(folder: Path) -> None:
    source, target = write(folder, rows_of(2)), folder / "out.jsonl"
    run(source, target, limit_rows=1)
    settings = folder / "out.jsonl.settings.json"
    assert json.loads(settings.read_text())["preset"] == "tiny"
    settings.write_text("[")
    with pytest.raises(ConfigError, match="damaged; remove it"):
        run(source, target, load=must_not_load)
