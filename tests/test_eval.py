"""Evaluation: metrics against known values, balanced questions, batched scoring equal to the assistant's own."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_model
import torch

from alm.errors import ConfigError, RecordError
from alm.testing import click_train, noise, tone
from eval import metrics, text
from eval.answering import Answerer, Question
from eval.asking import Column, swapped
from eval.corpus import CLASSES_FILE, Classes, Corpus, SoundClass, read_classes
from eval.items import choice_items, count_items, judged_clips, order_items, presence_items, quartets
from eval.listening import Listener, Sound
from eval.options import Options
from eval.probe import fit
from eval.results import Figure, Result, Table, constant, markdown, write
from eval.session import Session
from eval.speech_qa import read_pairs
from eval.text import Option

KINDS = ("dog bark", "rain", "cow moo", "thunder", "car", "explosion", "laughter", "piano")
"""Of eight classes, six groups; dog and cow, rain and thunder share one."""


# --- metrics ---


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilson_interval(right: int, total: int, low: float, high: float) -> None:
    """Values by hand from the published formula (as in statsmodels' proportion_confint, method wilson)."""
    assert metrics.wilson(right, total) == pytest.approx((low, high), abs=5e-5)


def test_an_interval_without_questions_says_nothing() -> None:
    assert metrics.wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_by_source_is_wider_than_by_item() -> None:
    right = [True] * 20 + [False] * 20
    by_source = metrics.share(right, ["a"] * 20 + ["b"] * 20)
    by_item = metrics.share(right, list(range(40)))
    assert (by_source.source_low, by_source.source_high) == (0.0, 1.0)
    assert 0.3 < by_item.source_low < 0.45 and 0.55 < by_item.source_high < 0.7
    assert by_source.value == by_item.value == 0.5 and by_source.sources == 2


def test_bootstrap_weights_and_single_source() -> None:
    assert metrics.cluster_bootstrap([1.0, 0.0], ["a", "a"]) == (-math.inf, math.inf)
    low, high = metrics.cluster_bootstrap([1.0, 0.0], ["a", "b"], [3.0, 1.0])
    assert (low, high) == (0.0, 1.0)


def test_mcnemar_is_the_binomial_test() -> None:
    assert metrics.mcnemar([True] * 9 + [False], [False] * 9 + [True]) == pytest.approx(2 * 11 / 1024)
    assert metrics.mcnemar([True, False], [True, False]) == 1.0


def test_macro_and_rank() -> None:
    assert metrics.macro([True, True, True, False], ["a", "a", "a", "b"]) == 0.5
    assert metrics.rank_of([0.1, 0.9, 0.5], 2) == 1
    assert metrics.rank_of([0.5, 0.5], 0) == 1, "constant scores must not win"


def test_word_errors_are_over_the_corpus() -> None:
    done = text.word_errors(["press one to go", "hello there"], ["press one to", "hello bear there"])
    assert (done.words, done.substitutions, done.deletions, done.insertions) == (6, 0, 1, 1)
    assert done.rate == pytest.approx(2 / 6)


def test_an_empty_transcript_is_all_wrong() -> None:
    assert text.word_errors(["hello there"], [""]).rate == 1.0


# --- reading answers ---

OPTIONS = (Option("a dog barking", ("dog bark",)), Option("rain falling", ("rain",)), Option("a car"), Option("a cart"))


@pytest.mark.parametrize(
    ("answer", "picked"),
    [
        ("B", 1), ("(C)", 2), ("b) rain falling", 1), ("The answer is D.", 3), ("A dog barking.", 0),
        ("I hear a dog bark.", 0), ("A cart passes", 3), ("a car or a cart", None), ("", None), ("Because.", None),
        ("Nothing at all", None), ("A. rain", 0),
    ],
)  # fmt: skip
def test_choices_are_read(answer: str, picked: int | None) -> None:
    assert text.chosen(answer, OPTIONS) == picked


def test_yes_no_and_numbers() -> None:
    assert [text.yes_or_no(a) for a in ("Yes, a dog.", "No.", "Nothing", "not a dog")] == [True, False, None, False]
    assert [text.number_in(a) for a in ("Three times.", "twice", "I hear 4 dogs", "dogs")] == [3, 2, 4, None]


@pytest.mark.parametrize(
    ("answer", "accepted", "rejected", "right"),
    [
        ("You must press two.", ["2"], [], True),
        ("Press 1 or 2", ["2"], ["1"], False),
        ("Extension 4 2 7", ["427"], [], True),
        ("It is 42.", ["4"], [], False),
        ("the pounds", ["pound"], [], False),
        ("not valid", ["not valid"], ["valid"], True),
    ],
)
def test_accepted_answers(answer: str, accepted: list[str], rejected: list[str], right: bool) -> None:
    assert text.accepted(answer, accepted, rejected) is right


# --- corpus and questions ---


def make_store(folder: Path, seconds: float = 0.7) -> Corpus:
    """A store of short synthetic recordings: 8 classes, 3 training, 1 dev and 2 test recordings each, and scenes."""
    rows = []
    for number, name in enumerate(KINDS):
        for turn, split in enumerate(("train", "train", "train", "dev", "test", "test")):
            clip = f"{name.replace(' ', '-')}-{turn}"
            recording = (
                tone(seconds, 200.0 * (number + 1), seed=turn)
                if number % 2
                else noise(seconds, 0.02 * (number + 1), seed=turn)
            )
            soundfile.write(folder / f"{clip}.wav", recording.samples, recording.rate)
            rows.append(
                {
                    "id": clip, "audio": f"{clip}.wav", "package": f"{split}-{turn}", "classes": [name], "split": split,
                    "kind": "sfx", "stored_seconds": seconds, "language": "", "transcript": "",
                }
            )  # fmt: skip
    (folder / "clips.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "scenes").mkdir()
    scenes = [_scene(folder, "sequence", n, 2) for n in range(4)] + [
        _scene(folder, "repetition", n, n + 1) for n in range(5)
    ]
    (folder / "scenes" / "test.jsonl").write_text("".join(json.dumps(s) + "\n" for s in scenes))
    return Corpus(folder)


def _scene(folder: Path, kind: str, number: int, events: int) -> dict[str, Any]:
    name = f"{kind}-{number}"
    recording = click_train(1.0, seed=number)
    soundfile.write(folder / f"{name}.wav", recording.samples, recording.rate)
    phrases = ["a dog barking", "rain falling"] if kind == "sequence" else ["a dog barking"] * events
    heard = [
        {"classes": ["dog bark"], "phrase": p, "onset": 0.1 * i, "offset": 0.1 * i + 0.1, "background": False}
        for i, p in enumerate(phrases)
    ]
    return {
        "id": name,
        "audio": f"{name}.wav",
        "kind": kind,
        "seconds": 1.0,
        "events": heard,
        "sources": [f"p{number % 2}"],
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_store(tmp_path_factory.mktemp("store"))


def test_every_option_set_is_asked_once_with_each_truth(corpus: Corpus) -> None:
    """So that a model which only reads the options is right in exactly one of four."""
    items = choice_items(corpus)
    assert items and len(items) % 4 == 0
    sets: dict[int, list[Any]] = {}
    for item in items:
        sets.setdefault(item.facts["set"], []).append(item)
    for four in sets.values():
        options = [frozenset(i.facts["options"]) for i in four]
        assert len(set(options)) == 1 and {i.kind for i in four} == options[0]
        assert sorted(i.gold for i in four) == [0, 1, 2, 3]
        assert len({corpus.classes.group(k) for k in options[0]}) == 4
        assert all(i.facts["options"][i.gold] == i.kind for i in four)
    assert len({i.id for i in items}) == len(items)
    assert choice_items(corpus) == items and choice_items(corpus, seed=1) != items


def test_near_classes_are_never_opposites() -> None:
    classes = Classes(
        {n: SoundClass(n, g, n, (), near) for n, g, near in (("a", "1", ("*2",)), ("b", "2", ()), ("c", "3", ()))}
    )
    assert classes.excluded(("b",)) == {"a", "b"} and classes.excluded(("a",)) == {"a", "b"}
    assert classes.excluded(("c",)) == {"c"}


def test_only_recordings_of_the_judged_split_are_asked(corpus: Corpus) -> None:
    assert {c.split for own in judged_clips(corpus, 0).values() for c in own} == {"test"}
    assert all(len(four) == 4 for four in quartets(corpus, judged_clips(corpus, 0), 0))
    trained = Corpus(corpus.folder, "train")
    assert {c.split for own in judged_clips(trained, 0).values() for c in own} == {"train"}
    session = Session(Options(corpus=corpus.folder, split="dev"))
    assert session.corpus.judged == "dev" and session.command("choice").endswith("--split dev")


def test_presence_order_and_count_are_balanced(corpus: Corpus) -> None:
    presence = presence_items(corpus)
    asked = [(i.facts["asked"], i.gold) for i in presence]
    for name in {a for a, _ in asked}:
        assert asked.count((name, 0)) == asked.count((name, 1))
    order = order_items(corpus)
    assert sum(i.gold == 0 for i in order) == len(order) / 2
    assert [i.options[i.gold].text for i in count_items(corpus)] == [
        "once",
        "two times",
        "three times",
        "four times",
        "five times",
    ]


def test_shuffled_recordings_are_of_other_classes(corpus: Corpus) -> None:
    items = choice_items(corpus)
    other = swapped(items, 0)
    kinds = {i.sounds: i.kind for i in items}
    assert all(kinds[q.sounds] != i.kind for q, i in zip(other, items, strict=True))


def test_the_class_list_of_the_project_is_read() -> None:
    classes = read_classes(CLASSES_FILE)
    assert len(classes.by_name) > 100 and classes.group("dog bark") == "animal"


def test_faults_of_a_store_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="data_prep fetch"):
        _ = Corpus(tmp_path).clips
    (tmp_path / "clips.jsonl").write_text("{\n")
    with pytest.raises(RecordError, match=r"clips.jsonl:1"):
        _ = Corpus(tmp_path).clips
    with pytest.raises(ConfigError, match="--corpus"):
        _ = Session(Options()).corpus


def test_the_written_questions_are_sound() -> None:
    """At least a hundred, no answer accepted and rejected at once, ids and question-recording pairs unique."""
    pairs = read_pairs()
    assert len(pairs) >= 100
    assert len({p.id for p in pairs}) == len({(p.clips, p.question) for p in pairs}) == len(pairs)
    for pair in pairs:
        assert all(text.accepted(a, pair.answers, pair.rejects) for a in pair.answers), pair.id
        assert not any(text.accepted(r, pair.answers) for r in pair.rejects), pair.id


# --- scoring by the model ---


@pytest.fixture(scope="module")
def session(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A session whose model is the miniature."""
    made = Session(Options(corpus=corpus.folder, cache=tmp_path_factory.mktemp("cache"), limit=8))
    made.__dict__["assistant"] = tiny_model.assistant(tags=["dog bark", "rain"])
    made.__dict__["corpus"] = corpus
    return made


def test_the_listener_hears_what_the_ears_hear(session: Session, corpus: Corpus) -> None:
    """Features pass through float16 once; the tokens of another sound differ ten times as much at least."""
    one, two = (Sound(corpus.by_id[name].path) for name in ("dog-bark-0", "rain-0"))
    heard = session.listener.hear([one, two])
    ears = session.assistant.ears.hear(one.open()).tokens
    close, far = (float((heard[s].tokens - ears).abs().max()) for s in (one, two))
    assert close < 5e-3 and close < 0.1 * far


def test_features_are_made_once_and_a_damaged_file_is_made_again(
    session: Session, corpus: Corpus, tmp_path: Path
) -> None:
    sound = Sound(corpus.clips[1].path)
    first = Listener(session.assistant, tmp_path)
    expected = first.hear([sound])[sound].tokens
    again = Listener(session.assistant, tmp_path)
    assert torch.equal(again.hear([sound])[sound].tokens, expected) and (first.encoded, again.encoded) == (1, 0)
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"damaged")
    mended = Listener(session.assistant, tmp_path)
    assert torch.equal(mended.hear([sound])[sound].tokens, expected) and mended.encoded == 1


def test_other_encoders_do_not_share_features(session: Session, tmp_path: Path) -> None:
    other = tiny_model.assistant(tags=["dog bark", "rain"])
    with torch.no_grad():
        next(other.model.model.hearing.encoders.parameters()).add_(1.0)
    assert Listener(other, tmp_path).digest != Listener(session.assistant, tmp_path).digest


@pytest.mark.parametrize("at_once", [2, 64])
def test_batched_likelihood_equals_the_assistants(session: Session, corpus: Corpus, at_once: int) -> None:
    """Prompts of several lengths, with no, one and two recordings; neither batch nor order changes anything."""
    sounds = [Sound(c.path) for c in corpus.clips[:3]]
    questions = [
        Question("What?", (sounds[0],)),
        Question("Which of the two is it?", (sounds[1], sounds[2])),
        Question("Hm?"),
    ]
    candidates = [["a dog", "rain"], ["yes", "no", "maybe so"], ["x"]]
    answerer = Answerer(session.assistant, session.listener, batch=2)
    answerer.candidates_at_once = at_once
    answerer.listen(questions)
    found = answerer.loglik([answerer.prompt(q) for q in questions], candidates)
    for question, own, row in zip(questions, candidates, found, strict=True):
        marks = "<audio>" * len(question.sounds)
        messages = [{"role": "system", "content": "Listen."}, {"role": "user", "content": marks + question.text}]
        expected = session.assistant.score(messages, [s.open() for s in question.sounds], own)
        assert [s for s, _ in row] == pytest.approx(expected, abs=0.02)
    assert abs(found[0][0][0] - found[0][1][0]) > 0.1, "candidates must differ for the comparison to say anything"


def test_prompts_are_those_of_a_conversation(session: Session, corpus: Corpus) -> None:
    sound = Sound(corpus.clips[0].path)
    answerer = session.answerer
    answerer.listen([Question("What?", (sound,))])
    chat = session.assistant.conversation(evidence=False)
    said = chat.ask("What?", audio=sound.open(), max_new_tokens=6).text
    assert answerer.generate([answerer.prompt(Question("What?", (sound,)))], 6) == [said]
    assert len(answerer.prompt(Question("What?", (sound,)), given="[speech: hello]").ids) > 15


def test_joined_recordings_have_all_their_length(corpus: Corpus) -> None:
    paths = [c.path for c in corpus.clips[:3]]
    assert Sound(paths[0], more=tuple(paths[1:]), gap_seconds=0.1).open().seconds == pytest.approx(
        3 * 0.7 + 0.2, abs=0.01
    )
    assert Sound(paths[0], max_seconds=0.3).open().seconds == pytest.approx(0.3, abs=0.01)


def test_the_probe_learns_what_is_linear() -> None:
    rng = np.random.default_rng(0)
    labels = torch.tensor([i % 3 for i in range(60)])
    features = torch.tensor(rng.standard_normal((60, 5)), dtype=torch.float32) + 4 * torch.nn.functional.one_hot(
        labels, 5
    )
    probe = fit(features, labels, ["a", "b", "c"], 1e-3)
    assert [probe.among(f, ["c", "b", "a"]) for f in features[:3]] == [2, 1, 0]
    assert probe.among(features[0], ["x", "y"]) is None
    assert probe.top(features[1], 2, ["a", "b"])[0] == "b"


# --- whole evaluations ---


@pytest.mark.slow
def test_choice_from_end_to_end(session: Session, tmp_path: Path) -> None:
    from eval import choice

    result = choice.run(session)
    session.describe("choice", result)
    write(result, tmp_path)
    document = json.loads((tmp_path / "choice.json").read_text())
    figures = {f["key"]: f for f in document["figures"]}
    assert figures["always_first"]["value"] == figures["chance"]["value"] == 0.25
    assert figures["probe"]["items"] == 8 and document["seed"] == 0 and document["limit"] == 8
    assert document["command"] == "python -m eval choice --preset tiny --corpus CORPUS --limit 8"
    page = (tmp_path / "choice.md").read_text()
    assert "text-only control" in page and "By class" in page and str(session.corpus.folder) not in page


@pytest.mark.parametrize("name", ["order", "count", "presence"])
def test_scenes_from_end_to_end(session: Session, name: str) -> None:
    from eval.scenes import SCENES

    result = SCENES[name](session)
    assert 0 <= result.figure("heard_likelihood").estimate.value <= 1
    assert result.figure("alone_likelihood").estimate.items == len(result.items)
    if name == "presence":
        assert 0 <= result.figure("heard_said_yes_rate").estimate.value <= 1


def test_open_answers_are_scored_by_label_and_nearest_class(corpus: Corpus) -> None:
    from eval.open_answers import Nearest, open_items, score

    items = open_items(corpus, 0)
    names = sorted({i.kind for i in items})
    phrases = {corpus.classes.by_name[n].phrase: k for k, n in enumerate(names)}

    class Letters:
        """Stands for the embedder: one dimension a phrase that the text holds."""

        def __call__(self, texts: list[str]) -> torch.Tensor:
            return torch.tensor([[float(p in t) for p in phrases] for t in texts])

    nearest = Nearest(corpus, names, Letters())  # type: ignore[arg-type]
    right = [f"I hear {corpus.classes.by_name[i.kind].phrase}." for i in items]
    values = {f.key: f.estimate.value for f in score(corpus, nearest, items, right, "x", "x")}
    assert values["x_exact"] == values["x_synonym"] == values["x_top1"] == values["x_group"] == 1.0
    empty = {f.key: f.estimate.value for f in score(corpus, nearest, items, [""] * len(items), "x", "x")}
    assert set(empty.values()) == {0.0}, "an empty answer has no nearest class"


def test_unread_answers_are_wrong_and_counted(corpus: Corpus) -> None:
    items = choice_items(corpus)[:4]
    figure = Column("x", "x", [items[0].gold, None, None, None], ["a", "", "", ""]).figure(items)
    assert figure.estimate.value == 0.25 and figure.estimate.items == 4 and "75 %" in figure.note


def _result(value: float) -> Result:
    share = metrics.share([True] * round(10 * value) + [False] * round(10 * (1 - value)), ["a", "b"] * 5)
    figures = [Figure("heard_likelihood", "heard", share), Figure("chance", "chance", constant(0.25))]
    chosen = [{"heard_likelihood": int(i >= 10 * value)} for i in range(10)]
    return Result(
        "choice",
        "Which of four",
        "About.",
        figures,
        tables=[Table("Groups: a | b", ("truth", "x", "y"), [("x", 3, 1), ("y", 0, 4)], folded=True)],
        items=[{"id": str(i), "chosen": c, "gold": 0, "source": "ab"[i % 2]} for i, c in enumerate(chosen)],
        facts={"model": {"fusion": [{"scheme": "delayed", "start_layer": 8}]}, "versions": {}, "preset": "tiny"},
    )


def test_schemes(tmp_path: Path) -> None:
    from eval import schemes

    for name, value in (("one", 0.8), ("two", 0.5)):
        result = _result(value)
        result.name, result.figures[0] = "tokens", replace(result.figures[0], key="choice")
        result.items = [{**i, "set": "choice"} for i in result.items] + [{"id": "x", "set": "order"}]
        write(result, tmp_path / name / "results")
    page = schemes.page([schemes.read_run(tmp_path / n / "results") for n in ("two", "one")])
    rows = [line for line in page.splitlines() if line.startswith(("| one", "| two"))]
    assert rows[0].startswith("| one | delayed at 8 | 80.0 %") and "-30.0" in rows[1]
    with pytest.raises(RecordError, match="python -m eval tokens"):
        schemes.read_run(tmp_path / "one")


def test_tokens_ask_every_kind_with_and_without_recording(corpus: Corpus) -> None:
    from eval import tokens

    kinds = tokens.kinds(corpus, 0, 3)
    assert {k.name: len(k.items) for k in kinds}["choice"] == 3
    result = Result("tokens", "x", "x", [])
    items = kinds[0].items
    right, wrong = [i.gold for i in items], [None] * len(items)
    tokens._add(result, kinds[0], [Column(tokens.HEARD, "x", right), Column(tokens.ALONE, "x", wrong)])
    values = {f.key: f.estimate.value for f in result.figures}
    assert values == {"choice": 1.0, "choice_alone": 0.0, "choice_chance": 0.25}
    assert all(r["set"] == "choice" and r["chosen"][tokens.HEARD] == r["gold"] for r in result.items)


def test_report(tmp_path: Path) -> None:
    from eval import report

    write(_result(0.8), tmp_path / "one")
    written = report.write(tmp_path / "one", tmp_path / "results.md", tmp_path / "img")
    assert "![Which of four](img/choice.png)" in written.read_text()
    assert sorted(p.name for p in (tmp_path / "img").iterdir()) == ["choice.png", "choice_groups.png"]
    assert all(p.stat().st_size < 60_000 for p in (tmp_path / "img").iterdir())
    with pytest.raises(RecordError, match="no results"):
        report.documents(tmp_path)


def test_markdown_cells_cannot_break_the_table() -> None:
    result = replace(_result(0.8), tables=[Table("T", ("a",), [("x|y",)])])
    assert "| x\\|y |" in markdown(result)
