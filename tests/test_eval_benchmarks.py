"""Every benchmark's official lay-out becomes items; what is missing or wrong is counted or refused by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from bench_fixtures import BUILDERS, build
from bench_fixtures.sounds import sound

from alm.errors import ConfigError, RecordError
from eval.benchmarks import BENCHMARKS, benchmark, prepare
from eval.benchmarks.page import listing, page
from eval.benchmarks.preparing import prepare_benchmark
from eval.benchmarks.records import Benchmark
from eval.harness.items import LabelWant, OpenWant, PairWant, StructuredWant
from eval.harness.prepared import Prepared
from eval.judges.prompting import judge_prompt
from eval.official import OFFICIAL
from eval.rules import CHECKS

NAMES = sorted(BENCHMARKS)
Made = Callable[[str], Prepared]
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Prepared fixtures by name, each made once."""

    @cache
    def one(name: str) -> Prepared:
        folder = tmp_path_factory.mktemp(name)
        return prepare(name, build(name, folder / "download"), folder / "out", allow_lost=True)

    return one


def lost(prepared: Prepared) -> dict[str, int]:
    return {one.reason: one.count for one in prepared.card.lost}


def test_every_benchmark_has_a_fixture() -> None:
    assert sorted(BUILDERS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_download_becomes_items(name: str, made: Made) -> None:
    prepared, bench = made(name), BENCHMARKS[name]
    card = prepared.card
    assert len(prepared.items) == card.items == BUILDERS[name][1]
    assert (card.bench, card.version, card.split, card.licence) == (name, bench.version, bench.split, bench.licence)
    assert card.prompts == {key: text.template for key, text in bench.prompts.items()} and card.prompts
    assert {i.want.kind for i in prepared.items} <= set(bench.kinds)
    assert {i.official for i in prepared.items} - {""} <= set(bench.official)
    for item in prepared.items:
        for clip in item.audios:
            found = hashlib.sha256(prepared.place_of(clip).read_bytes()).hexdigest()
            assert found == clip.sha256 == card.files[clip.path]
        if isinstance(item.want, LabelWant):
            assert set(item.want.labels) <= set(prepared.around.label_sets[item.want.label_set].labels)
    heard = {c.path for i in prepared.items for c in i.audios}
    assert name in UNLISTED or set(card.files) - heard, "tables are hashed, too"


UNLISTED = ("ahelm-vocalsound", "ahelm-voice-jailbreak", "beijing-opera", "beijing-opera-two-tower", "gtzan")
"""No table names their recordings; only the official count tells that one is gone."""


@pytest.mark.parametrize("name", [n for n in NAMES if n != "ahelm-speech-robust-bench"])  # inside the table
def test_a_missing_recording_is_counted(name: str, made: Made, tmp_path: Path) -> None:
    whole = made(name)
    download = build(name, tmp_path / "download")
    gone = next(c.path for i in whole.items for c in i.audios)
    (download / gone).unlink()
    touched = sum(any(c.path == gone for c in i.audios) for i in whole.items)
    with pytest.raises(RecordError, match="recording missing|row missing"):
        prepare(name, download, tmp_path / "out")
    if touched < len(whole.items):
        prepared = prepare(name, download, tmp_path / "out", allow_lost=True)
        assert len(prepared.items) == len(whole.items) - touched
        assert lost(prepared).get("recording missing or empty", 0) == (0 if name in UNLISTED else touched)


@pytest.mark.parametrize("name", [n for n in NAMES if BENCHMARKS[n].splits[BENCHMARKS[n].split]])
def test_another_count_than_the_official_is_refused(name: str, tmp_path: Path) -> None:
    bench, download = BENCHMARKS[name], build(name, tmp_path / "download")
    with pytest.raises(RecordError, match="row missing in the official tables"):
        prepare(name, download, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    few = _count(bench, 1)
    if BUILDERS[name][1] > 1:
        with pytest.raises(RecordError, match="another version"):
            prepare_benchmark(few, download, tmp_path / "out", allow_lost=True)


def _count(bench: Benchmark, items: int) -> Benchmark:
    return replace(bench, splits=dict.fromkeys(bench.splits, items))


def test_the_official_count_passes(tmp_path: Path) -> None:
    """Rows that cannot be scored count as rows of the official table: 4 items and 1 without a key are 5."""
    download = build("mmau", tmp_path / "download")
    prepared = prepare_benchmark(_count(BENCHMARKS["mmau"], 5), download, tmp_path / "out")
    assert lost(prepared) == {"the key is none of the choices": 1} and len(prepared.items) == 4


@pytest.mark.parametrize(
    ("name", "split"), [(n, s) for n in NAMES for s in BENCHMARKS[n].splits if s != BENCHMARKS[n].split]
)
def test_every_split_can_be_prepared(name: str, split: str, tmp_path: Path) -> None:
    prepared = prepare(name, build(name, tmp_path / "in"), tmp_path / "out", split, allow_lost=True)
    assert prepared.items and prepared.card.split == split


def test_every_official_rule_exists() -> None:
    named = {rule for bench in BENCHMARKS.values() for rule in bench.official}
    assert named <= set(OFFICIAL) and len(named) > 30


def test_every_judge_and_constraint_exists(made: Made) -> None:
    wants = [i.want for n in NAMES for i in made(n).items]
    opened = [w for w in wants if isinstance(w, OpenWant)]
    specs = [w.judge for w in (*opened, *(w for w in wants if isinstance(w, PairWant))) if w.judge]
    assert {judge_prompt(s.prompt).scale for s in specs} == {s.scale for s in specs}
    assert all(judge_prompt(s.prompt).swap == s.swap and judge_prompt(s.prompt).scale == s.scale for s in specs)
    assert {r["rule"] for w in opened for r in w.rules} <= set(CHECKS)


def test_the_same_download_is_the_same_test(tmp_path: Path) -> None:
    """Wherever it lies; another word in a table is another test."""
    first = prepare("esc-50", build("esc-50", tmp_path / "a"), tmp_path / "one", allow_lost=True)
    second = prepare("esc-50", build("esc-50", tmp_path / "b"), tmp_path / "two", allow_lost=True)
    assert first.hash == second.hash and first.card.files == second.card.files
    table = tmp_path / "b/meta/esc50.csv"
    table.write_text(table.read_text().replace("rain", "wind"))
    assert prepare("esc-50", tmp_path / "b", tmp_path / "two", allow_lost=True).hash != first.hash


def test_rows_that_are_named_alike_are_told_apart(tmp_path: Path) -> None:
    folder = build("compa-r-test", tmp_path / "in")
    table = folder / "GAMA_Benchmark_new.json"
    table.write_text(table.read_text().replace("somewhere/1.wav", "somewhere/2.wav"))
    found = prepare("compa-r-test", folder, tmp_path / "out")
    assert [i.id for i in found.items] == ["2.wav-1", "2.wav-1#2", "2.wav-2"]


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mean mmau"):
        benchmark("mmua")
    with pytest.raises(RecordError, match="no split 'dev'; there are test-mini"):
        prepare("mmau", tmp_path, tmp_path / "out", "dev")
    with pytest.raises(RecordError, match="no such folder"):
        prepare("mmau", tmp_path / "nowhere", tmp_path / "out")


def test_hashing_tells_how_far_it_is(tmp_path: Path) -> None:
    steps: list[tuple[str, float]] = []
    prepare(
        "clotho", build("clotho", tmp_path / "in"), tmp_path / "out", allow_lost=True,
        progress=lambda step, done: steps.append((step, done)),
    )
    assert steps == [("hash recordings", 0.5), ("hash recordings", 1.0)]


def test_the_page_is_current() -> None:
    written = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert written == page(BENCHMARKS.values()), "run `python -m eval.benchmarks --write docs/benchmarks.md`"


def test_the_listing_names_all() -> None:
    rows = list(listing(BENCHMARKS.values()))
    assert [r[0] for r in rows] == list(BENCHMARKS) and all(all(r) for r in rows)
    assert {r[0]: r[4] for r in rows}["mmau-pro"] == "5,305"


# --- what single benchmarks ask and want ---


def test_choices_are_asked_with_their_texts(made: Made) -> None:
    first, music, speech, marked = made("mmau").items
    assert first.messages[0].content.startswith("<audio>\nWhich animal is heard last?\nOptions:\nDog\nOwl")
    assert (first.want.choices[first.want.answer], first.group) == ("Owl", "test-mini-audios/u1.wav")
    assert (music.tags["category"], speech.want.answer) == ("Reasoning", 2)
    assert "[audio] here" in marked.messages[0].content and marked.want.answer == 4
    one, two = made("air-foundation").items[:2]
    assert "A. happy\nB. sad\n" in one.messages[0].content and "None" not in one.messages[0].content
    assert two.audios[0].path.endswith(".flac")


def test_mmau_pro_takes_three_routes(made: Made) -> None:
    multi, closed, opened, limited, commas = made("mmau-pro").items
    assert len(multi.audios) == 2 and multi.official == closed.official == "mmau-pro"
    assert opened.want.judge.scale == (1.0, 5.0) and opened.official == "mmau-pro-open"
    assert limited.want.rules == ({"rule": "number-words-at-most", "N": 5},)
    assert commas.want.rules == ({"rule": "no-commas"},) and commas.official == "mmau-pro-if"


def test_long_recordings_keep_seconds(made: Made) -> None:
    events = [i.want for i in made("blab-event-duration").items]
    assert [w.answer for w in events] == [95.0, 754.0, 120.0] and events[2].options == {"asked_unit": "minutes"}
    speakers = [(i.want.form, i.want.answer) for i in made("blab-speaker-number-estimation").items]
    assert speakers == [("number", 3.0), ("range", [4.0, 6.0]), ("number", 2.0)]
    first, second = made("blab-emotion-ranking").items
    assert first.want.choices == ("joy, fear", "fear, joy") and (first.want.answer, second.want.answer) == (1, 0)
    spans = made("blab-named-entity-localization").items[0].want
    assert spans.answer == [{"text": "Rome", "start": 0.1, "end": 0.2}] and spans.options["words_end"] == 0.35


def test_closed_sets_are_asked_three_ways(made: Made) -> None:
    listed, opened, ranked = made("esc-50").items[3:6]
    assert [i.want.mode for i in (listed, opened, ranked)] == ["listed", "open", "loglik"]
    assert "chirping birds; dog; rain" in listed.messages[0].content
    assert "chirping" not in opened.messages[0].content and opened.official == "ltu-closed" and not listed.official
    assert made("esc-50").around.label_sets["esc-50"].labels["chirping birds"][0] == "chirping_birds"
    several = made("dcase2017").items[0].want
    assert several.multi and several.labels == ("Train horn", "Train")
    assert made("fsd50k").items[3].want.labels == ("Accelerating and revving and vroom",)
    assert made("audioset").items[3].want.labels == ("Air horn, truck horn",)
    assert made("vocalsound").items[0].tags["speaker"] == "female"
    tower = made("nsynth-two-tower").items[4].want
    assert tower.labels == ("This is a sound of synth lead",)


def test_pairs_are_asked_both_ways(made: Made) -> None:
    four = made("compa-order").items[:4]
    assert [(i.want.cell, i.want.answer, len(i.audios)) for i in four] == [
        ("audio0", 0, 1), ("audio1", 1, 1), ("text0", 0, 2), ("text1", 1, 2)
    ]
    assert len({i.group for i in four}) == 1 and "A cat, then a dog." in four[3].messages[0].content


def test_speech_keeps_who_speaks(made: Made) -> None:
    spoken = made("librispeech").items[0]
    assert (spoken.want.reference, spoken.group) == ("HE HOPED THERE WOULD BE STEW", "1089")
    assert made("ahelm-librispeech-fairness").items[0].tags["sex"] == "M"
    assert made("ahelm-covost2").items[0].want.reference == 'He said "hello'
    thai = made("ahelm-fleurs").items[0].want
    assert (thai.language, thai.metric, thai.normaliser) == ("fi", "wer", "whisper-basic")
    cut = made("slue-asr-voxceleb").items[0].audios[0]
    assert (cut.path, cut.start, cut.end) == ("test_raw/id1_a_1.flac", 0.1, 0.3)
    entities = [i.want.answer for i in made("slue-ner").items]
    assert entities == [[["PLACE", "france"]], [], [["LAW", "the law of two"]]]
    assert made("slue-nel").items[0].want.answer == [{"text": "france", "start": 0.2, "end": 0.4}]


def test_annotators_who_differ_are_counted_four_ways(made: Made, tmp_path: Path) -> None:
    single = made("clotho-aqa-aquanet").items
    assert [i.want.labels for i in single] == [("yes",)] * 4 + [("no",)] * 2
    words = prepare("clotho-aqa-aquanet", build("clotho-aqa-aquanet", tmp_path / "in"), tmp_path / "out", "single-word")
    assert [i.want.references for i in words.items] == [("cups",)] * 3 + [("people",), ("women",), ("people",)]
    agreed = made("clotho-aqa-unanimous").items
    assert [i.want.kind for i in agreed] == ["label", "open"]
    assert made("clotho-aqa-judge").items[3].want.references == ("people", "women")
    assert "<|" not in made("clotho-aqa-qwen").items[0].messages[0].content


def test_calls_are_asked_three_questions(made: Made) -> None:
    wants = [i.want for i in made("teleantifraud").items]
    assert [w.answer for w in wants] == [{"scene": "咨询客服"}, {"is_fraud": "fraud"}, {"fraud_type": "客服诈骗"}]
    assert all(isinstance(w, StructuredWant) and len(w.options["labels"]) == 1 for w in wants)


def test_the_table_of_tasks_decides_the_kind(made: Made) -> None:
    prepared = made("dynamic-superb")
    by_task = {i.tags["task"]: i for i in prepared.items}
    kinds = {t.partition("_")[0]: i.want.kind for t, i in by_task.items()}
    assert (kinds["SpeechDetection"], kinds["PhoneSegmentCounting"]) == ("open", "structured")
    assert (kinds["SuperbASR"], kinds["ChordClassification"]) == ("transcript", "open")
    assert len(by_task["SpeakerVerification_VCTK"].audios) == 2 and not by_task[
        "NBestCorrection_Librispeech-TestOther"
    ].audios
    assert lost(prepared) == {"task missing in the download": 254 - 7}


def test_recordings_inside_tables_are_unpacked(made: Made) -> None:
    item = made("ahelm-speech-robust-bench").items[0]
    assert item.audios[0].path.startswith("unpacked/") and item.want.reference == "hello"


def test_an_empty_recording_is_missing(tmp_path: Path) -> None:
    download = build("clotho", tmp_path / "in")
    (download / "evaluation" / "steps.wav").write_bytes(b"")
    prepared = prepare("clotho", download, tmp_path / "out", allow_lost=True)
    assert lost(prepared)["recording missing or empty"] == 1 and len(prepared.items) == 1
    sound(download / "evaluation" / "steps.wav")
    assert len(prepare("clotho", download, tmp_path / "out", allow_lost=True).items) == 2, "control"
