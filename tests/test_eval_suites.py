"""Generated benchmarks: the same seed gives the same test, answers follow from provenance, words alone tell nothing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import suite_corpus
from typer.testing import CliRunner

from alm.audio import load_audio
from alm.errors import RecordError
from eval.corpus import Corpus
from eval.harness.answers import Answered
from eval.harness.items import ChoiceWant, Item, LabelWant, PairWant, StructuredWant, TranscriptWant
from eval.harness.prepared import Prepared
from eval.harness.scoring import scored_rows
from eval.kinds.base import Table
from eval.suites import long_audio, registry, signal
from eval.suites.registry import SUITES
from eval.suites.studio import Order, file_sha256, provenance

ITEMS = {
    "corpus": 16, "hallucination": 24, "wording": 64, "robustness": 96, "two-clip": 40, "temporal": 44,
    "long-audio": 36, "fairness": 24,
}  # fmt: skip
"""Few, but so many that every suite is balanced."""
Parts = list[list[dict[str, Any]]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return suite_corpus.store(tmp_path_factory.mktemp("corpus"))


Make = Callable[[str], list[Prepared]]


@pytest.fixture(scope="module")
def made(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Each suite, made once."""
    out = tmp_path_factory.mktemp("prepared")

    @cache
    def make(name: str) -> list[Prepared]:
        return _make(name, Order(corpus, out, ITEMS[name]))

    return make


def _make(name: str, order: Order) -> list[Prepared]:
    return long_audio.make(order, 30) if name == "long-audio" else SUITES[name].make(order)


def items_of(prepared: Sequence[Prepared]) -> list[Item]:
    return [i for p in prepared for i in p.items]


def parts_of(prepared: Sequence[Prepared], item: Item) -> Parts:
    """What each of an item's recordings was made of."""
    rows = provenance(_root(prepared))
    return [rows[c.path]["parts"] for c in item.audios]


def _root(prepared: Sequence[Prepared]) -> Path:
    return (prepared[0].folder / prepared[0].card.data_root).resolve()


# --- every suite ---


@pytest.mark.parametrize("name", SUITES)
def test_the_same_seed_gives_the_same_test(name: str, corpus: Corpus, made: Make, tmp_path: Path) -> None:
    again = _make(name, Order(corpus, tmp_path, ITEMS[name]))
    assert [p.hash for p in again] == [p.hash for p in made(name)]
    assert [p.card for p in again] == [p.card for p in made(name)]
    other = _make(name, Order(corpus, tmp_path, ITEMS[name], seed=1))
    assert {p.hash for p in other} != {p.hash for p in again}, "control: another seed is another test"


@pytest.mark.parametrize("name", SUITES)
def test_recordings_are_of_the_test_split_and_their_origin_is_told(name: str, corpus: Corpus, made: Make) -> None:
    prepared = made(name)
    rows, root = provenance(_root(prepared)), _root(prepared)
    for one in prepared:
        assert one.card.bench.startswith(f"alm-{name}") and registry.suite_of(one.card.bench) == SUITES[name]
        assert one.items and one.card.licence == "CC0-1.0" and one.card.split == "test"
        for item in one.items:
            for clip in item.audios:
                assert file_sha256(one.place_of(clip)) == clip.sha256 == one.card.files[clip.path]
                assert rows[clip.path]["sha256"] == clip.sha256
    assert {p.name for p in (root / "audio").iterdir()} == {Path(r).name for r in rows}, "no leftovers"
    for part in (p for row in rows.values() for p in row["parts"]):
        clip = corpus.by_id[part["clip"]]
        assert clip.split == "test" and part["sha"] == clip.sha and part["class"] in clip.classes


def words_alone(items: Sequence[Item]) -> dict[str, tuple[float, float]]:
    """For each kind of question, the score of whoever knows the best answer to each wording, and that of chance.

    Wordings that differ in the order of their options or in a quoted sentence, whose events are drawn, are one.
    """
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    chances: dict[str, list[float]] = defaultdict(list)
    for item in items:
        want, plain = item.want, item.tags.get("wording", "plain") == "plain"
        if plain and isinstance(want, ChoiceWant | PairWant) and want.answer is not None:
            stem = re.sub(r'Options:.*|".*?"', "", item.messages[-1].content, flags=re.DOTALL)
            asked = f"{item.tags.get('task', '')}{item.tags.get('level', '')}{item.tags.get('asked', '')}"
            answers[asked, f"{stem}{sorted(want.choices)}"][want.choices[want.answer]] += 1
            chances[asked].append(1 / len(want.choices))
    found = {}
    for asked, own in chances.items():
        best = sum(max(c.values()) for (a, _), c in answers.items() if a == asked)
        found[asked] = (best / len(own), sum(own) / len(own))
    return found


@pytest.mark.parametrize("name", SUITES)
def test_the_words_of_a_question_tell_nothing(name: str, made: Make) -> None:
    items = items_of([p for p in made(name) if not p.card.bench.endswith("-order")])
    found = words_alone(items)
    assert found and all(best == pytest.approx(chance) for best, chance in found.values()), found


def test_words_that_tell_something_are_seen(made: Make) -> None:
    for name in ("hallucination", "two-clip", "temporal"):
        half = [i for i in items_of(made(name)) if getattr(i.want, "answer", None) == 0]
        assert any(best > chance for best, chance in words_alone(half).values())


@pytest.mark.parametrize("name", ["two-clip", "temporal", "corpus", "robustness", "long-audio"])
def test_the_right_option_is_in_every_place_equally_often(name: str, made: Make) -> None:
    places: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    for item in items_of(made(name)):
        want, kind = item.want, item.tags.get("asked", item.tags.get("level", item.tags.get("task", "")))
        if isinstance(want, ChoiceWant) and want.choices != ("yes", "no"):
            places[kind, len(want.choices)][want.answer] += 1
    assert places
    for (kind, count), found in places.items():
        assert set(found) == set(range(count)) and len(set(found.values())) == 1, (kind, found)


# --- answers from provenance ---


def classes(parts: list[dict[str, Any]]) -> list[str]:
    """What is heard, in order of onset."""
    return [p["class"] for p in sorted(parts, key=lambda p: p["onset"]) if not p["background"]]


def named(corpus: Corpus, phrase: str) -> str:
    return next(c.name for c in corpus.classes.by_name.values() if c.phrase == phrase)


def right_option(item: Item) -> str:
    want = item.want
    assert isinstance(want, ChoiceWant | PairWant) and want.answer is not None
    return want.choices[want.answer]


def test_hallucination_answers_follow_from_what_was_composed(corpus: Corpus, made: Make) -> None:
    items = items_of(made("hallucination"))
    for item in items:
        there = item.tags["class"] in classes(parts_of(made("hallucination"), item)[0])
        assert right_option(item) == ("yes" if there else "no")
        absent = corpus.classes.excluded((item.tags["class"],)) & set(classes(parts_of(made("hallucination"), item)[0]))
        assert there or not absent, "what is said to be absent could be taken for something that is there"
    kinds = Counter((i.tags["negatives"], right_option(i)) for i in items)
    assert len(kinds) == 6 and len(set(kinds.values())) == 1
    for item in (i for i in items if i.tags["negatives"] == "adversarial" and right_option(i) == "no"):
        heard = classes(parts_of(made("hallucination"), item)[0])
        assert item.tags["group"] in {corpus.classes.group(n) for n in heard}


def _two_clip_truth(corpus: Corpus, item: Item, parts: Parts) -> Any:
    """The answer to a two-clip question, from provenance alone."""
    one, two = (classes(p) for p in parts)
    text = item.messages[-1].content
    said = [c.name for c in corpus.classes.by_name.values() if re.search(rf"\b{re.escape(c.phrase)}\b", text)]
    task = item.tags["task"]
    if task == "longer":
        return "first" if sum(p["offset"] - p["onset"] for p in parts[0]) > sum(
            p["offset"] - p["onset"] for p in parts[1]
        ) else "second"
    if task == "louder":
        return "first" if parts[0][0]["level_db"] > parts[1][0]["level_db"] + 6 else "second"
    if task == "holds":
        return "first" if said[0] in one else "second"
    if task == "order":
        before = sorted(said, key=lambda n: text.index(corpus.classes.by_name[n].phrase))
        return "first" if one == before else "second"
    if task == "more-often":
        return "first" if one.count(said[0]) > two.count(said[0]) else "second"
    if task == "same-kind":
        assert {p["clip"] for p in parts[0]}.isdisjoint(p["clip"] for p in parts[1])
        return "yes" if one == two else "no"
    if task == "same-event":
        return "yes" if parts[0][0]["clip"] == parts[1][0]["clip"] else "no"
    if task == "count-both":
        return (one + two).count(said[0])
    if task == "only":
        mine, other = (one, two) if "the first recording but" in text else (two, one)
        return set(mine) - set(other)
    return set(one) & set(two)


def test_two_clip_answers_follow_from_what_was_composed(corpus: Corpus, made: Make) -> None:
    prepared = made("two-clip")
    seen = Counter[str]()
    for item in items_of(prepared):
        truth = _two_clip_truth(corpus, item, parts_of(prepared, item))
        seen[item.tags["task"]] += 1
        if isinstance(item.want, StructuredWant):
            assert item.want.answer == truth
        elif isinstance(item.want, LabelWant):
            assert {named(corpus, p) for p in item.want.labels} == truth
        elif item.tags["task"] == "common":
            assert {named(corpus, right_option(item))} == truth
        else:
            assert right_option(item).replace("the ", "").replace(" recording", "") == truth, item.id
    assert len(seen) == 10 and set(seen.values()) == {4, 6}


def test_longer_recordings_are_longer(made: Make) -> None:
    """In the files themselves, not only in what is told of them."""
    for item in (i for i in items_of(made("two-clip")) if i.tags["task"] == "longer"):
        lengths = [load_audio(made("two-clip")[0].place_of(c)).seconds for c in item.audios]
        assert (lengths[0] > lengths[1]) == (right_option(item) == "the first recording")


def _temporal_truth(corpus: Corpus, item: Item, parts: list[dict[str, Any]]) -> Any:
    heard, text, level = classes(parts), item.messages[-1].content, item.tags["level"][0]
    want = item.want
    if level in "1235":
        phrases = [corpus.classes.by_name[n].phrase for n in heard]
    if level == "1":
        assert isinstance(want, ChoiceWant)
        return next(c for c in want.choices if c in phrases)
    if level == "2":
        return phrases[0] if " first?" in text else phrases[-1]
    if level == "3":
        place = next(i for i, p in enumerate(phrases) if p in text.split("Options:")[0])
        return phrases[place + 1] if "right after" in text else phrases[place - 1]
    if level == "4":
        one, two = sorted(parts, key=lambda p: p["onset"])
        return "at the same time" if two["onset"] < one["offset"] else "one after the other"
    if level == "5":
        return f"first {phrases[0]}, then {phrases[1]}"
    asked = next(p for p in parts if corpus.classes.by_name[p["class"]].phrase in text)
    return asked["offset"] - asked["onset"] if level == "6" else asked["onset"]


def test_temporal_answers_follow_from_what_was_composed(corpus: Corpus, made: Make) -> None:
    levels = set()
    for item in items_of(made("temporal")):
        if len(item.audios) == 2:
            truths = [_temporal_truth(corpus, item, p) for p in parts_of(made("temporal"), item)]
            assert truths[0] != truths[1] and f'"{truths[item.want.answer]}"' in item.messages[-1].content
            continue
        truth = _temporal_truth(corpus, item, parts_of(made("temporal"), item)[0])
        levels.add(item.tags["level"])
        if isinstance(item.want, StructuredWant):
            assert item.want.answer == pytest.approx(truth, abs=0.002)
        else:
            assert right_option(item) == truth, item.id
    assert len(levels) == 7


def test_the_needle_is_where_it_is_said_to_be(corpus: Corpus, made: Make) -> None:
    prepared = made("long-audio")[0]
    by_asked = defaultdict(list)
    for item in prepared.items:
        needle = next(p for p in parts_of([prepared], item)[0] if not p["background"])
        seconds = float(item.tags["seconds"])
        by_asked[item.tags["asked"]].append(item)
        assert needle["onset"] / seconds == pytest.approx(float(item.tags["depth"]), abs=0.06)
        if isinstance(item.want, StructuredWant):
            assert item.want.answer == pytest.approx(needle["onset"], abs=0.001)
            recording = load_audio(prepared.place_of(item.audios[0]))
            assert recording.seconds == seconds
            loud = signal.levels(recording.samples, recording.rate)
            assert abs(loud.argmax() * signal.FRAME_SECONDS - needle["onset"]) < 0.6
        elif item.tags["asked"] == "what":
            assert named(corpus, right_option(item)) == needle["class"]
        else:
            third = int(3 * needle["onset"] / seconds)
            assert right_option(item) == long_audio.PARTS[third]
    assert {len(own) for own in by_asked.values()} == {12} and len(by_asked) == 3


def test_blocks_leave_no_trace(corpus: Corpus, made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long recordings are written block by block; their length changes nothing."""
    monkeypatch.setattr(long_audio, "BLOCK_SECONDS", 4)
    again = _make("long-audio", Order(corpus, tmp_path, ITEMS["long-audio"]))
    assert [p.hash for p in again] == [p.hash for p in made("long-audio")]


def test_spoiled_recordings_keep_their_question(corpus: Corpus, made: Make) -> None:
    rows = provenance(_root(made("robustness")))
    questions: dict[str, list[Item]] = defaultdict(list)
    for item in items_of(made("robustness")):
        questions[item.tags["question"]].append(item)
        row = rows[item.audios[0].path]
        assert named(corpus, right_option(item)) == row["parts"][0]["class"]
        assert bool(row["steps"]) == (item.tags["condition"] != "clean")
    for own in questions.values():
        assert len({i.tags["condition"] for i in own}) == len(own) == 23
        assert len({i.messages for i in own}) == 1 and len({i.audios[0].sha256 for i in own}) == len(own)


def test_wordings_ask_the_same(corpus: Corpus, made: Make) -> None:
    questions: dict[str, list[Item]] = defaultdict(list)
    for item in items_of(made("wording")):
        questions[item.tags["question"]].append(item)
        want = item.want
        assert isinstance(want, ChoiceWant)
        text = item.messages[-1].content.lower()
        assert all(c.lower() in text for c in want.choices) or item.tags["task"] == "presence"
    for own in questions.values():
        assert len({i.messages[-1].content for i in own}) == len(own) == 8
        assert len({(i.want, i.audios) for i in own}) == 1


def test_the_corpus_is_asked_in_every_way(corpus: Corpus, made: Make) -> None:
    found = {p.card.bench.removeprefix("alm-corpus-"): p for p in made("corpus")}
    assert set(found) == {
        "choice", "label-listed", "label-open", "label-loglik", "presence", "order", "count", "transcript", "caption",
    }  # fmt: skip
    for name, one in found.items():
        for item in one.items:
            parts = parts_of([one], item)[0]
            if isinstance(item.want, LabelWant):
                assert [named(corpus, w) for w in item.want.labels] == classes(parts)
                assert set(item.want.labels) <= set(one.around.label_sets[item.want.label_set].labels)
            elif name == "choice":
                assert named(corpus, right_option(item)) == parts[0]["class"]
            elif name == "presence":
                assert (right_option(item) == "yes") == (item.tags["class"] in classes(parts))
            elif isinstance(item.want, StructuredWant):
                assert item.want.answer == len(parts)
            elif isinstance(item.want, TranscriptWant):
                assert item.want.reference == corpus.by_id[parts[0]["clip"]].transcript != "<beep>"
            assert name in ("order", "count") or item.group == parts[0]["package"], "groups are source packages"
    listed = found["label-listed"].items[0].messages[-1].content
    assert all(label in listed for label in found["label-listed"].around.label_sets["corpus"].labels)
    assert "Options" not in found["label-open"].items[0].messages[-1].content


def test_groups_of_speakers(corpus: Corpus, made: Make) -> None:
    found = {p.card.bench.removeprefix("alm-fairness-"): p for p in made("fairness")}
    voice = Counter((i.tags["sex"], right_option(i)) for i in found["voice"].items)
    assert set(voice) == {("female", "a woman"), ("male", "a man")} and len(set(voice.values())) == 1
    assert {i.tags["language"] for i in found["transcript"].items} == {"en", "nl", "fr"}
    assert len({i.group for i in found["transcript"].items}) == 5, "groups are speakers"
    spoken = [i for i in found["speech"].items if "language" in i.tags]
    assert all(right_option(i) == "yes" for i in spoken) and len(spoken) * 2 == len(found["speech"].items)


# --- faults ---


def test_a_corpus_with_too_little_is_refused_by_name(corpus: Corpus, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    rows = [line for line in (corpus.folder / "clips.jsonl").read_text().splitlines() if '"dog bark"' in line]
    (small / "clips.jsonl").write_text("\n".join(rows) + "\n")
    for clip in ("dog-bark-3.wav", "dog-bark-4.wav"):
        (small / clip).write_bytes((corpus.folder / clip).read_bytes())
    for name in ("hallucination", "two-clip", "temporal"):
        with pytest.raises(RecordError, match="fetch more of the corpus"):
            _make(name, Order(Corpus(small), tmp_path / "out", 8))
    (small / "clips.jsonl").write_text("")
    with pytest.raises(RecordError, match="no recording of the split test"):
        _make("hallucination", Order(Corpus(small), tmp_path / "out", 8))


def test_the_command(corpus: Corpus, tmp_path: Path) -> None:
    from eval.cli import app

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["make", *words])
        return done.exit_code, " ".join(done.output.split())

    there = ("--corpus", str(corpus.folder), "--out", str(tmp_path))
    code, said = run("hallucination", *there, "--items", "12", "-q")
    assert code == 0 and "12 questions" in said and (tmp_path / "alm-hallucination" / "bench.json").is_file()
    code, said = run("list")
    assert code == 0 and all(name in said for name in SUITES)
    for words, why in (
        (("nonsense", *there), "no suite is called"),
        (("hallucination",), "--corpus DIR"),
        (("hallucination", *there, "--longest", "60"), "long-audio only"),
    ):
        code, said = run(*words)
        assert code == 2 and why in said


# --- through the harness ---


def perfect(item: Item) -> str:
    """What a model that is always right would say."""
    want = item.want
    if isinstance(want, ChoiceWant | PairWant):
        return right_option(item)
    if isinstance(want, LabelWant):
        return want.labels[0]
    if isinstance(want, TranscriptWant):
        return want.reference
    assert isinstance(want, StructuredWant)
    return f"{want.answer} {want.unit}"


@pytest.mark.parametrize("name", SUITES)
def test_a_perfect_model_is_right_everywhere(name: str, made: Make) -> None:
    for prepared in made(name):
        if prepared.card.bench.endswith(("-caption", "-loglik")):
            continue
        texts = {i.id: perfect(i) for i in prepared.items}
        answers = {i: Answered(id=i, key="k", text=t, finish="stop") for i, t in texts.items()}
        rows = scored_rows(prepared.items, answers, {}, prepared.around)
        wrong = [(r.item.id, texts[r.item.id], r.scored) for r in rows if r.scored.robust != 1.0]
        assert not wrong, wrong[:3]
        found = registry.measures(prepared.card.bench, rows)
        assert all(np.isfinite(m.estimate.value) for m in found)
        assert found or name in ("corpus", "fairness"), "groups of few speakers have no figures"
        assert all(isinstance(t, Table) for t in registry.tables(prepared.card.bench, rows))
        nothing = scored_rows(prepared.items, {}, {}, prepared.around)
        assert not any(r.scored.robust for r in nothing), "control: without an answer nothing is right"
