"""Scenes and instruction records on a toy store: determinism, truth of answers, balance, and nothing across splits."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from data_prep_toys import CLASSES, ontology, toy_store

from data_prep import build, compose, scenes, signal, speech, turns
from data_prep.errors import CorpusError
from data_prep.heard import Context, clean_text, load_context
from data_prep.instructions import TASKS, make_record, make_records, task_counts
from data_prep.phrases import ANSWERS, QUESTIONS, enumeration, sequence
from data_prep.records import read_records
from data_prep.scenes import KINDS, Pool, make_pool, make_scene, rng_for
from data_prep.speech_texts import number_words, plain, spoken_sentence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy store with scenes of every split."""
    target = tmp_path_factory.mktemp("store")
    items = toy_store(target)
    for split, total in (("train", 40), ("dev", 20), ("test", 40)):
        compose.compose(make_pool(target, items, split, ontology()), total, 0)
    return target


def pool(folder: Path, split: str = "train") -> Pool:
    from data_prep.corpus import read_index

    return make_pool(folder, read_index(folder / "clips.jsonl"), split, ontology())


def context(folder: Path, split: str = "train", seed: int = 0) -> Context:
    return load_context(folder, split, seed, ontology())


@pytest.mark.parametrize("kind", KINDS)
def test_scene_is_a_function_of_its_key(folder: Path, kind: str) -> None:
    first, samples = make_scene(pool(folder), kind, 3, 0)
    again, same = make_scene(pool(folder), kind, 3, 0)
    assert first == again and np.array_equal(samples, same)
    _, other = make_scene(pool(folder), kind, 4, 0)
    _, seeded = make_scene(pool(folder), kind, 3, 1)
    assert not np.array_equal(samples, other) and not np.array_equal(samples, seeded), "the control"
    assert first.seconds <= scenes.MAX_SECONDS and np.isfinite(samples).all() and np.abs(samples).max() <= 0.951
    for event in first.events:
        assert 0 <= event.onset < event.offset <= first.seconds + 1e-3


def test_events_are_where_the_scene_says(folder: Path) -> None:
    """In a plain sequence the level is high inside of events and low between them."""
    for index in range(40):
        scene, samples = make_scene(pool(folder), "sequence", index, 5)
        if set(scene.effects) != {"level_db"}:
            continue
        rate = scenes.RATE_HZ
        mask = np.zeros(len(samples), dtype=bool)
        for event in scene.events:
            mask[round(event.onset * rate) : round(event.offset * rate)] = True
        assert np.abs(samples[~mask]).max(initial=0.0) < 1e-3 < np.abs(samples[mask]).max()
        return
    pytest.fail("no scene without reverberation and noise among forty")


def test_scene_sounds_cannot_be_confused(folder: Path) -> None:
    for kind in ("sequence", "mixture", "background"):
        for index in range(5):
            scene, _ = make_scene(pool(folder), kind, index, 2)
            names = [event.classes[0] for event in scene.events]
            for place, name in enumerate(names):
                assert not ontology().confusable(name) & set(names[place + 1 :])


def test_repetitions_count_one_to_five(folder: Path) -> None:
    counts = Counter(len(make_scene(pool(folder), "repetition", index, 0)[0].events) for index in range(40))
    assert set(counts) == {1, 2, 3, 4, 5}


def test_composing_goes_on_where_it_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(compose.read_scenes(compose.scene_list(folder, "train")))
    monkeypatch.setattr(compose, "make_scene", lambda *_: pytest.fail("composed again"))
    assert compose.compose(pool(folder), 40, 0) == before
    assert sum(scenes.scene_counts(997).values()) == 997


def test_unknown_kind_and_empty_pool(folder: Path) -> None:
    with pytest.raises(CorpusError, match="opera"):
        make_scene(pool(folder), "opera", 0, 0)
    empty = make_pool(folder, [], "train", ontology())
    with pytest.raises(CorpusError, match="too few"):
        make_scene(empty, "sequence", 0, 0)


def test_signal_operations_keep_length_and_sanity() -> None:
    rng = rng_for("x")
    samples = signal.as_float(0.3 * rng.standard_normal(9001))
    for changed in (
        signal.tilt(samples, 16_000, 2.0),
        signal.band_limit(samples, 16_000, 4000.0),
        signal.reverberate(samples, 16_000, 0.3, 0.3, rng),
        signal.fade_ends(samples, 16_000),
        signal.to_level(samples, 16_000, -20),
    ):
        assert changed.shape == samples.shape and changed.dtype == np.float32 and np.isfinite(changed).all()
    assert abs(len(signal.change_speed(samples, 16_000, 1.1)) - 9001 / 1.1) < 4
    high = np.abs(np.fft.rfft(signal.band_limit(samples, 16_000, 4000.0)))[2600:].sum()
    assert high < 0.02 * np.abs(np.fft.rfft(samples))[2600:].sum()
    assert signal.active_span(signal.as_float(np.zeros(100)), 16_000) == (0, 0)
    assert len(signal.fill(samples, 16_000, 40_000)) == 40_000


def test_records_are_the_same_for_the_same_seed(folder: Path) -> None:
    first = list(make_records(context(folder), 200))
    assert first == list(make_records(context(folder), 200))
    assert first != list(make_records(context(folder, seed=1), 200)), "the control"
    assert sum(task_counts(12345).values()) == 12345


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_task_makes_true_records(folder: Path, split: str) -> None:
    """The answer of a record follows from the events of its recordings."""
    here = context(folder, split)
    by_id = {item.id: item for item in here.items}
    for task in TASKS:
        if task.name == "about_speech":
            continue  # needs the speech engine
        made = [record for record in (make_record(here, task, index) for index in range(12)) if record]
        assert made, task.name
        for record in made:
            items = [by_id[name] for name in record.meta["recordings"]]
            assert record.audios == tuple(item.audio for item in items)
            present = {name for item in items for name in item.classes}
            answer, reply = record.meta.get("answer"), record.messages[-1].content
            if task.name == "yes_no":
                assert (record.meta["class"] in present) == (answer == "yes") == reply.startswith("Yes")
            elif task.name in ("label", "instrument"):
                assert answer in present
            elif task.name == "choice":
                assert (
                    record.meta["options"][record.meta["correct"]] == answer and len(set(record.meta["options"])) == 4
                )
            elif task.name == "checklist":
                asked = zip(record.meta["options"], answer, strict=True)
                assert all((name in present) == (word == "yes") for name, word in asked)
                assert [part.rpartition(": ")[2] for part in reply.rstrip(".").split("; ")] == answer
            elif task.name == "count":
                assert answer == len(items[0].events)
            elif task.name == "absent":
                assert record.meta["class"] not in present
            elif task.name == "which":
                place = 0 if answer == "first" else 1
                assert (
                    record.meta["class"] in items[place].classes
                    and record.meta["class"] not in items[1 - place].classes
                )
            elif task.name == "same":
                assert (answer == "yes") == (items[0].classes[0] == items[1].classes[0])
            elif task.name == "dialogue":
                assert len(record.messages) >= 4


def test_yes_and_no_are_balanced_and_negatives_varied(folder: Path) -> None:
    here = context(folder)
    task = next(task for task in TASKS if task.name == "yes_no")
    made = [make_record(here, task, index) for index in range(120)]
    answers = Counter(record.meta["answer"] for record in made if record)
    assert answers == {"yes": 60, "no": 60}
    negatives = Counter(record.meta.get("negative") for record in made if record)
    assert set(turns.NEGATIVES) <= set(negatives)


def test_correct_option_is_everywhere(folder: Path) -> None:
    here = context(folder)
    task = next(task for task in TASKS if task.name == "choice")
    places = Counter(
        record.meta["correct"] for record in (make_record(here, task, index) for index in range(120)) if record
    )
    assert set(places) == {0, 1, 2, 3} and max(places.values()) < 60


def test_order_questions_name_the_first_sound_in_either_place(folder: Path) -> None:
    here = context(folder)
    task = next(task for task in TASKS if task.name == "order")
    places: Counter[int] = Counter()
    for index in range(0, 90, 3):
        record = make_record(here, task, index)
        if record is not None:
            places[record.meta["options"].index(record.meta["answer"])] += 1
    assert set(places) == {0, 1}


def test_phrasings_of_test_are_not_those_of_train() -> None:
    for name, pool_ in QUESTIONS.items():
        assert len(set(pool_.train)) >= 8 and len(set(pool_.test)) >= 3, name
        assert not set(pool_.train) & set(pool_.test), name
    assert all(len(set(forms)) == len(forms) for forms in ANSWERS.values())
    assert enumeration(["a", "b", "c"]) == "a, b and c" and sequence(["a", "b", "c"]) == "a, then b, and finally c"


def test_built_files_hold_and_do_not_leak(folder: Path) -> None:
    onto = ontology()
    for split, total in (("train", 150), ("dev", 40), ("test", 80)):
        build.build_split(folder, split, total, 0, onto, lambda done: None)
    by_split = build.check_files(folder)
    report = build.write_report(folder, 0, by_split)
    assert abs(report["splits"]["train"]["yes"] - report["splits"]["train"]["no"]) <= 1
    sums = build.write_checksums(folder, by_split).read_text().splitlines()
    assert len(sums) > 100 and all(build.file_sha256(folder / line[66:]) == line[:64] for line in sums[:5])
    sides = {split: {path for record in rows for path in record.audios} for split, rows in by_split.items()}
    assert not sides["train"] & sides["test"] and not sides["train"] & sides["dev"]
    before = (folder / "train.jsonl").read_bytes()
    build.build_split(folder, "train", 150, 0, onto, lambda done: None)
    assert (folder / "train.jsonl").read_bytes() == before


def test_a_leak_is_found(folder: Path) -> None:
    """The control of the test above: one record moved to the other side."""
    records = [
        record for split in ("train", "test") for record in read_records(folder / f"{split}.jsonl", absolute=False)
    ]
    from data_prep.corpus import read_index

    clips = {item.clip.id: item for item in read_index(folder / "clips.jsonl")}
    build.check_no_leak(records, clips)
    moved = dataclasses.replace(records[0], split="test", id="moved")
    with pytest.raises(CorpusError, match="used by"):
        build.check_no_leak([*records, moved], clips)
    (folder / records[0].audios[0]).rename(folder / "away.flac")
    with pytest.raises(CorpusError, match="not in"):
        build.check_files(folder)
    (folder / "away.flac").rename(folder / records[0].audios[0])


def test_only_classes_of_train_are_asked_for(folder: Path) -> None:
    here = dataclasses.replace(context(folder, "test"), seen=frozenset({"dog bark", "rain", "piano", "siren", "bell"}))
    for task in TASKS:
        if task.name in ("label", "instrument"):
            made = [make_record(here, task, index) for index in range(20)]
            assert {record.meta["answer"] for record in made if record} <= here.seen
    assert len(CLASSES) > 5


def test_sentences_hold_their_facts() -> None:
    for split in ("train", "test"):
        for index in range(150):
            spoken = spoken_sentence(rng_for("s", split, index), split)
            assert len(spoken.facts) >= 1 and spoken.text[-1] in ".?" and "{" not in spoken.text
            for fact in spoken.facts:
                assert fact.question.endswith("?") and fact.answer.endswith(".")
                assert "{" not in fact.question + fact.answer
                heard = fact.short in (spoken.topic, "yes", "no") or plain(fact.short) in plain(spoken.text)
                assert heard, (fact, spoken.text)
    assert number_words(1234) == "one thousand two hundred thirty-four" and number_words(20) == "twenty"
    with pytest.raises(ValueError, match="10000"):
        number_words(10000)
    assert clean_text("slash [/]") == "" and clean_text("Please  enter.") == "Please enter."


def test_engines_stay_apart_and_absence_is_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = {split: {voice.engine for voice in speech.VOICES[split]} for split in speech.VOICES}
    assert not engines["train"] & engines["test"] and not engines["dev"] & engines["test"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not speech.available("train")
    with pytest.raises(CorpusError, match="espeak-ng"):
        speech.speak(tmp_path, "train", 0, 0)
    assert list(speech.read_utterances(speech.speech_list(tmp_path, "train"))) == []


@pytest.mark.skipif(not speech.available("train"), reason="espeak-ng is not installed")
def test_spoken_sentences_are_kept(tmp_path: Path) -> None:
    made = speech.speak_all(tmp_path, "train", 3, 0)
    assert [item.seconds > 0.5 for item in made] == [True] * 3
    assert list(speech.read_utterances(speech.speech_list(tmp_path, "train"))) == made
    assert speech.speak_all(tmp_path, "train", 3, 0) == made
