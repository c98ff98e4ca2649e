"""Readers of sets of sounds: official layouts give the samples that they must, and no row is lost in silence."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep.errors import CorpusError
from data_prep.readers.base import Lost, ReadOptions, ReadReport, Source
from data_prep.readers.sounds import SOUNDS
from data_prep.readers.sounds import reading as reading_module
from data_prep.readers.sounds.licences import short_licence
from data_prep.readers.sounds.tables import MAX_ENTRY_LETTERS, Row, json_entries, table
from data_prep.samples import Sample
from tests import sound_fuzz
from tests.sound_sets import SETS, A, B, C, D, E, lines

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {source.name: source for source in SOUNDS}
QUICK, SLOW = 12, 2_000


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every set in a folder of its name."""
    folder = tmp_path_factory.mktemp("sets")
    for name, one in SETS.items():
        one.build(folder / name)
    return folder


def read(downloads: Path, name: str, **options: object) -> tuple[dict[str, Sample], list[Lost]]:
    found = list(SOURCES[SETS[name].source].read(downloads / name, ReadOptions(**options)))  # type: ignore[arg-type]
    samples = {p.id: p for p in found if isinstance(p, Sample)}
    return samples, [p for p in found if isinstance(p, Lost)]


# --- all of them ---


def test_every_source_has_a_set_and_names_that_are_unlike() -> None:
    assert {one.source for one in SETS.values()} == set(SOURCES)
    assert len(SOURCES) == len(SOUNDS)


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_read_as_it_is(downloads: Path, name: str) -> None:
    one, report = SETS[name], ReadReport()
    pieces = list(SOURCES[one.source].read(downloads / name, ReadOptions()))
    for piece in pieces:
        report.count(piece)
    assert (dict(report.samples), dict(report.lost)) == (one.samples, one.lost), report.shown
    assert sound_fuzz.check(SOURCES[one.source], one, downloads / name) == len(pieces)


@pytest.mark.parametrize("source", SOUNDS, ids=lambda source: source.name)
def test_a_source_tells_what_it_says(downloads: Path, source: Source) -> None:
    samples = [s for n in SETS if SETS[n].source == source.name for s in read(downloads, n)[0].values()]
    for told in source.tells:
        empty = {field.name: field.default for field in dataclasses.fields(Sample)}[told]
        assert any(getattr(s, told) not in (empty, (), {}) for s in samples), told
    assert all((source.title, source.licence, source.home, source.how_to_get, source.size, source.layout))


@pytest.mark.parametrize("name", SETS)
def test_splits_are_read_alone_and_unknown_ones_refused(downloads: Path, name: str) -> None:
    source = SOURCES[SETS[name].source]
    every = read(downloads, name)[0]
    alone: dict[str, Sample] = {}
    for split in source.splits:
        try:
            alone |= read(downloads, name, splits=(split,))[0]
        except CorpusError as fault:
            assert "no " in str(fault)
    assert alone == every
    with pytest.raises(CorpusError, match="no split 'other'"):
        read(downloads, name, splits=("other",))
    with pytest.raises(CorpusError, match="no such folder"):
        list(source.read(downloads / "nowhere", ReadOptions()))


@pytest.mark.parametrize("name", SETS)
def test_recordings_may_be_missing_or_elsewhere(downloads: Path, tmp_path: Path, name: str) -> None:
    """Without its recordings a download gives no sample; with them elsewhere, or unchecked, as many as before."""
    samples, lost = read(downloads, name)
    bare, moved = tmp_path / "bare", tmp_path / "moved"
    shutil.copytree(downloads / name, bare)
    for path in sorted(bare.rglob("*")):
        if path.suffix in reading_module.ENDINGS:
            place = moved / path.relative_to(bare)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    source = SOURCES[SETS[name].source]
    gone = list(source.read(bare, ReadOptions()))
    assert all(isinstance(p, Lost) for p in gone) and sum(p.reason == "missing file" for p in gone) >= len(samples)  # type: ignore[union-attr]
    there = {p.id for p in source.read(bare, ReadOptions(audio_root=moved)) if isinstance(p, Sample)}
    assert there == set(samples)
    unchecked = [p for p in source.read(bare, ReadOptions(check_files=False)) if isinstance(p, Sample)]
    assert len(unchecked) == len(samples) + sum(each.reason == "missing file" for each in lost)


# --- spoilt lists ---


def spoil(one_name: str, folder: Path, variants: int) -> int:
    one = SETS[one_name]
    kept = {p: p.read_bytes() for p in folder.rglob("*") if p.suffix in sound_fuzz.LISTS}
    pieces = 0
    for seed in range(variants):
        path, raw = sound_fuzz.damage(folder, one, random.Random(f"{one_name} {seed}"))
        try:
            pieces += sound_fuzz.check(SOURCES[one.source], one, folder, path, raw)
        except Exception as fault:
            raise AssertionError(f"{one_name}, variant {seed}, {path.name}: {fault}") from fault
        finally:
            path.write_bytes(kept[path])
    return pieces


@pytest.mark.parametrize("name", SETS)
def test_spoilt_lists_lose_no_row_in_silence(downloads: Path, name: str) -> None:
    assert spoil(name, downloads / name, QUICK)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SETS)
def test_two_thousand_spoilt_lists_lose_no_row_in_silence(downloads: Path, name: str) -> None:
    assert spoil(name, downloads / name, SLOW) > SLOW // 2


def test_a_row_that_is_dropped_in_silence_is_seen(downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the account."""

    def forgetful(self: reading_module.Reading, rows: Iterator[Row | Lost], make: object) -> Iterator[Sample | Lost]:
        yield from (p for p in whole(self, rows, make) if isinstance(p, Sample))  # type: ignore[arg-type]

    whole = reading_module.Reading.each
    monkeypatch.setattr(reading_module.Reading, "each", forgetful)
    with pytest.raises(AssertionError, match="rows, but"):
        sound_fuzz.check(SOURCES["vggsound"], SETS["vggsound"], downloads / "vggsound")


# --- what single sets say ---


def test_audioset_has_names_kinds_above_and_the_video(downloads: Path) -> None:
    samples, lost = read(downloads, "audioset")
    first = samples[f"{A}_30000"]
    assert first.labels == ("Speech", "Dog") and first.group == f"youtube:{A}" and first.seconds == 10.0
    assert first.extras["above"] == ["Domestic animals, pets"] and not first.complete
    assert samples[f"{C}_50000"].audio.endswith(f"{C}_50000_60000.flac") and samples[f"{C}_50000"].split == "test"
    assert {Path(each.where).name for each in lost} == {"eval_segments.csv:4", "unbalanced_train_segments.csv:5"}
    assert any(E in each.detail for each in lost)


def test_audioset_events_are_in_order_and_a_lost_row_makes_a_clip_incomplete(downloads: Path) -> None:
    samples, lost = read(downloads, "audioset_strong")
    first = samples[f"{A}_30000"]
    assert [(e.label, e.onset) for e in first.events] == [("Dog", 0.0), ("Speech", 2.627), ("Speech", 7.9)]
    assert first.labels == ("Dog", "Speech") and first.complete
    assert not samples[f"{C}_20000"].complete and "end_time_seconds" in lost[0].detail


def test_audiosetcaps_keeps_test_clips_of_others_out_of_training(downloads: Path, tmp_path: Path) -> None:
    samples, _ = read(downloads, "audiosetcaps")
    assert {i for i, s in samples.items() if s.split == "test"} == {
        f"AudioSet/Y{D}", f"VGGSound/{B}_000021", f"YouTube-8M/{D}_0_10",
    }  # fmt: skip
    assert samples[f"AudioSet/Y{D}"].captions == ("Speech\nin two lines.",)
    shutil.copytree(downloads / "audiosetcaps", tmp_path / "x")
    (tmp_path / "x/vggsound.csv").unlink()
    with pytest.raises(CorpusError, match=r"vggsound\.csv"):
        list(SOURCES["audiosetcaps"].read(tmp_path / "x", ReadOptions()))


def test_fsd50k_has_words_licences_and_is_complete_where_it_says_so(downloads: Path) -> None:
    samples, lost = read(downloads, "fsd50k")
    assert samples["37199"].labels == ("Accelerating and revving and vroom",) and samples["37199"].complete
    assert samples["64760"].licence == "CC-BY-3.0" and samples["37199"].licence == "CC-Sampling-Plus-3.0"
    assert samples["64760"].extras["tags"] == ["dog", "bark"] and not samples["64760"].complete
    assert samples["16399"].split == "dev" and samples["16399"].licence == "Freesound, per recording"
    assert "Meow" in lost[0].detail


def test_captions_of_one_clip_are_together(downloads: Path) -> None:
    samples, _ = read(downloads, "audiocaps")
    assert samples[f"{C}_0"].captions == tuple(f"Caption number {n}" for n in range(1, 6))
    assert samples[f"{C}_0"].audio.endswith("wav_files/1.wav") and samples[f"{C}_0"].split == "test"


def test_clotho_reads_old_encodings_and_both_ways_to_write_an_accent(downloads: Path) -> None:
    samples, _ = read(downloads, "clotho")
    accented = samples["development/caf\u00e9 0.wav"]
    assert accented.audio.endswith("cafe\u0301 0.wav") and accented.licence == "CC-BY" and len(accented.captions) == 5
    assert samples["development/rain 0.wav"].group == "freesound:01"
    assert samples["development/rain 0.wav"].extras["keywords"] == ["rain", "roof"]


def test_annotators_answers_are_kept_and_the_usual_one_is_the_answer(downloads: Path) -> None:
    samples, _ = read(downloads, "clotho_aqa")
    first = samples["train/street 0.wav"]
    rain, barks = first.questions
    assert (rain.answer, rain.accept, rain.task) == ("no", ("yes",), "yes or no")
    assert (barks.answer, barks.accept, barks.task) == ("dog", ("fox",), "word")
    assert first.extras["answers"]["Is it raining?"] == [["no", "yes"], ["yes", "yes"], ["no", "yes"]]
    assert (first.licence, first.group) == ("CC0-1.0", "freesound:7")


def test_wavcaps_leaves_out_the_blacklist_and_finds_unpacked_archives(downloads: Path, tmp_path: Path) -> None:
    samples, lost = read(downloads, "wavcaps")
    assert samples[f"AudioSet_SL/Y{A}"].group == f"youtube:{A}" and lost[0].reason == "on the blacklist"
    assert samples["FreeSound/180913"].group == "freesound:180913"
    shutil.copytree(downloads / "wavcaps", tmp_path / "x")
    shutil.rmtree(tmp_path / "x/json_files/blacklist")
    found = list(SOURCES["wavcaps"].read(tmp_path / "x", ReadOptions()))
    assert f"AudioSet_SL/Y{B}" in {p.id for p in found if isinstance(p, Sample)}, "the blacklist did not keep it out"


def test_freesound_by_list_and_by_pairs(downloads: Path) -> None:
    samples, _ = read(downloads, "freesound")
    assert samples["test/1.flac"].audio.endswith("audio/12.flac") and samples["test/1.flac"].split == "test"
    assert samples["train/1.flac"].licence == "CC-BY-NC-3.0" and len(samples["train/1.flac"].captions) == 2
    pairs, _ = read(downloads, "freesound_pairs")
    assert pairs["train_1/5"].group == "freesound:5" and pairs["train_1/5"].extras["tags"] == ["harp", "music"]


def test_paths_of_lists_are_mapped(downloads: Path, tmp_path: Path) -> None:
    at = tmp_path / "set"
    shutil.copytree(downloads / "tut_scenes/TUT-acoustic-scenes-2017-development", at)
    (at / "audio").rename(tmp_path / "elsewhere")
    lines(at / "meta.txt", "/disks/old/b00_0_10.wav\tbeach\tb00", "/etc/passwd\tbeach\tb01")
    options = ReadOptions(path_map={"/disks/old/": str(tmp_path / "elsewhere")})
    found, lost = SOURCES["tut-scenes"].read(at, options)
    assert isinstance(found, Sample) and found.audio == str(tmp_path / "elsewhere/b00_0_10.wav")
    assert isinstance(lost, Lost) and lost.reason == "bad path"


def test_scenes_and_their_first_fold(downloads: Path) -> None:
    samples, _ = read(downloads, "tut_scenes")
    development = "TUT-acoustic-scenes-2017-development"
    held = samples[f"{development}/audio/b01_0_10.wav"]
    assert (held.split, held.scene, held.group) == ("dev", "cafe/restaurant", f"{development}/b01")
    assert samples["TUT-acoustic-scenes-2017-evaluation/audio/1.wav"].scene == "city center"
    later = samples["TAU-urban-acoustic-scenes-2019-development/audio/airport-lisbon-1000-40000-a.wav"]
    assert later.group.endswith("/lisbon-1000") and later.extras == {"device": "a"}


def test_events_of_both_forms_of_lists(downloads: Path) -> None:
    samples, _ = read(downloads, "tut_events")
    first = samples["TUT-sound-events-2017-development/street/a001"]
    assert [(e.label, e.onset, e.offset) for e in first.events] == [("car", 0.5, 2.0), ("people walking", 1.5, 3.25)]
    assert samples["TUT-sound-events-2017-evaluation/street/b093"].labels == ("brakes squeaking",)
    rare = read(downloads, "tut_rare")[0].values()
    assert sorted(len(s.events) for s in rare) == [0, 0, 1, 1] and all(s.complete for s in rare)


def test_directions_of_sounds_that_stay_and_paths_of_those_that_move(downloads: Path) -> None:
    whole = read(downloads, "seld_2019")[0]["foa/split1_ir0_ov1_1@dev"]
    assert [(e.label, e.azimuth, e.elevation, e.distance) for e in whole.events] == [
        ("coughing", -10.0, -10.0, 2.0), ("keys dropping", 120.0, 20.0, 1.0),
    ]  # fmt: skip
    sample = read(downloads, "seld_2020")[0]["mic/fold3_room1_mix003_ov1@dev"]
    still, moving, again = sample.events
    assert (still.label, still.onset, still.offset, still.azimuth) == ("barking dog", 0.0, 0.5, 30.0)
    assert (moving.label, moving.azimuth, again.onset) == ("footsteps", None, 2.0)
    assert sample.extras["paths"]["1"][0] == [0.2, -50, 10, None] and len(sample.extras["paths"]["1"]) == 7
    assert (sample.channels, sample.split, sample.complete) == ("mic", "train", True)
    labels = [read(downloads, name)[0].popitem()[1].labels for name in ("seld_2021", "starss22", "seld_2025")]
    assert labels == [("barking dog", "male scream"), ("telephone", "music"), ("female speech",)]
    near = read(downloads, "starss23")[0].popitem()[1].events[0]
    assert near.distance == 1.52 and read(downloads, "seld_2025")[0].popitem()[1].events[0].elevation is None


def test_birds_have_names_and_soundscapes_all_calls(downloads: Path, tmp_path: Path) -> None:
    samples, _ = read(downloads, "birdset")
    call = samples["HSN/XC1234.ogg"]
    assert call.labels == ("Gray-crowned Rosy-Finch", "Sparrow") and call.group == "xeno-canto:1234"
    assert call.licence == "CC-BY-NC-SA-4.0" and call.seconds == 31.0 and not call.complete
    name = "HSN/HSN_001_20150708_061805"
    scape, quiet = samples[f"{name}.ogg"], samples[f"{name}_010_015.ogg"]
    assert [e.onset for e in scape.events] == [0.5, 1.0, 7.0] and scape.complete and scape.split == "test"
    assert quiet.labels == () and quiet.complete and quiet.group == scape.group
    shutil.copytree(downloads / "birdset", tmp_path / "x")
    (tmp_path / "x/eBird_taxonomy_v2021.csv").unlink()
    with pytest.raises(CorpusError, match="taxonomy"):
        list(SOURCES["birdset"].read(tmp_path / "x", ReadOptions()))


def test_sounds_of_films(downloads: Path) -> None:
    samples, _ = read(downloads, "vsd")
    film = samples["Hollywood-dev/Armageddon"]
    assert [e.label for e in film.events] == ["gunshot", "explosion", "shout of effort", "scream", "several gunshots"]
    assert film.extras["violent_scenes"] == {"violence": [[12.0, 24.0]]} and film.complete
    assert not samples["Hollywood-dev/Leon"].complete, "nobody listened for explosions"


def test_urban_sounds_say_where_they_are(downloads: Path) -> None:
    samples, _ = read(downloads, "urbansound")
    assert samples["900-0-0-9.wav"].extras["background"] and samples["900-0-0-9.wav"].seconds == 1.75
    assert read(downloads, "esc50")[0]["2-200-A-2.wav"].labels == ("chirping birds",)


# --- tables ---


def test_an_open_quotation_mark_spoils_its_own_row_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,"x\n2,y\n3,"one\ntwo"\n4,z\n', encoding="utf-8")
    rows = list(table(path, needs=("a", "b"), row_lines=3))
    assert [r.values["b"] if isinstance(r, Row) else r.where[-2:] for r in rows] == [":2", "y", "one\ntwo", "z"]
    alone = [r.where[-1] + (r.values.get("b", "short") if isinstance(r, Row) else "lost") for r in table(path)]
    assert alone == ["2lost", "3y", "4lost", "5short", "6z"]


@pytest.mark.parametrize("letter", ["\u2028", "\x0b", "\x1c", "\x85"])
def test_letters_that_end_lines_elsewhere_do_not_here(tmp_path: Path, letter: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n1{letter}2,3\n", encoding="utf-8")
    (row,) = table(path)
    assert isinstance(row, Row) and row.values == {"a": f"1{letter}2", "b": "3"}


def test_endless_lines_and_entries_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + b"x" * (3 << 20) + b"\n1,2\n")
    long, good = table(path)
    assert isinstance(long, Lost) and "longer" in long.detail and isinstance(good, Row)
    path = tmp_path / "t.json"
    path.write_text('{"n": 1, "data": [{"a": 1}, {"a": "' + "x" * (2 * MAX_ENTRY_LETTERS), encoding="utf-8")
    entries = json_entries(path, "data")
    assert isinstance(next(entries), Row)
    with pytest.raises(CorpusError, match=r"t\.json"):
        next(entries)


@pytest.mark.parametrize("rows", [0, 1, 50_000])
def test_entries_come_whole_out_of_any_window(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"n": 1, "data": [' + ", ".join(f'{{"id": "{n}", "c": "caf\u00e9"}}' for n in range(rows)) + "]}")
    assert [r.text("id") for r in json_entries(path, "data") if isinstance(r, Row)] == [str(n) for n in range(rows)]


def test_licences_have_short_names() -> None:
    written = {
        "http://creativecommons.org/publicdomain/zero/1.0/": "CC0-1.0", "Attribution Noncommercial": "CC-BY-NC",
        "https://creativecommons.org/licenses/by-nc/4.0/": "CC-BY-NC-4.0", "": "Freesound, per recording",
        "http://creativecommons.org/licenses/sampling+/1.0/": "CC-Sampling-Plus-1.0", "Other": "Other",
    }  # fmt: skip
    assert {text: short_licence(text) for text in written} == written
