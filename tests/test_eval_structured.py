"""Structured answers scored by form and by the benchmarks' rules: golden cases, and what must never change a score."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from sklearn.metrics import f1_score

from bench import memory
from eval.harness.answers import Answered, Scored
from eval.harness.items import Item, Message, StructuredWant
from eval.kinds import KINDS
from eval.kinds.base import Row, Surroundings
from eval.official import OFFICIAL
from eval.scorers.diarisation import diarisation_parts
from eval.scorers.events import Event, Frames, event_tally, segment_parts
from eval.scorers.seld import degrees_between, direction_parts, joint_parts
from eval.scorers.spans import span_tally
from eval.scorers.words import word_tally

KIND, AROUND = KINDS["structured"], Surroundings()


def item(want: StructuredWant, official: str = "", name: str = "a") -> Item:
    return Item(id=name, messages=(Message(role="user", content="?"),), want=want, official=official)


def scored(want: StructuredWant, text: str | None, official: str = "") -> Scored:
    answered = None if text is None else Answered(id="a", key="k", text=text)
    return KIND.score(item(want, official), answered, (), AROUND)


def rows(cases: list[tuple[StructuredWant, str | None]], official: str = "") -> list[Row]:
    found = []
    for number, (want, text) in enumerate(cases):
        one = item(want, official, f"{number:06d}")
        answered = None if text is None else Answered(id=one.id, key="k", text=text)
        found.append(Row(one, answered, KIND.score(one, answered, (), AROUND)))
    return found


def values(found: list[Row]) -> dict[str, float]:
    return {m.key: m.estimate.value for m in KIND.measures(found, AROUND)}


SECONDS = StructuredWant(form="number", answer=30, unit="s", tolerance=2)


# --- numbers ---


@pytest.mark.parametrize(
    "text", ["30", "30.0", "about 30 seconds", "0:30", "0.5 minutes", "31 s", "<think>99</think>30"]
)
def test_a_time_within_the_tolerance_is_right(text: str) -> None:
    assert scored(SECONDS, text).robust == 1.0


@pytest.mark.parametrize(
    ("text", "status"),
    [("33", "read"), ("soon", "unread"), ("", "empty"), (None, "missing"), ("I'm sorry, I cannot", "refused"),
     ("20 or 30", "unread"), ("<think>30", "truncated")],
)  # fmt: skip
def test_everything_else_is_wrong_and_counted(text: str | None, status: str) -> None:
    found = scored(SECONDS, text)
    assert (found.robust, found.status) == (0.0, status)


def test_missing_rows_stay_in_the_denominator() -> None:
    found = values(rows([(SECONDS, "30"), (SECONDS, None), (SECONDS, "no idea"), (SECONDS, "31")]))
    assert found["robust"] == 0.5 and found["exact"] == 0.25
    assert found["mae"] == 0.5, "over the two that were read"


def test_minutes_that_were_asked_for() -> None:
    want = StructuredWant(form="number", answer=120, unit="s", options={"asked_unit": "minutes"})
    assert [scored(want, t).robust for t in ("2", "2:00", "120 seconds", "2 s")] == [1.0, 1.0, 1.0, 0.0]


def test_a_range_holds_all_of_an_answer() -> None:
    want = StructuredWant(form="range", answer=[2, 4])
    assert [scored(want, t).robust for t in ("3", "2-3", "two or three", "4 or 5", "5")] == [1.0, 1.0, 1.0, 0.0, 0.0]


# --- BLAB's traps ---


def official(want: StructuredWant, text: str, name: str) -> tuple[float | None, bool]:
    found = scored(want, text, name)
    return found.official, not found.parts.get("left_out")


def test_blab_reads_30_point_0_seconds_as_half_an_hour() -> None:
    event = StructuredWant(form="number", answer=30, unit="s", tolerance=2, options={"asked_unit": "seconds"})
    assert official(event, "30", "blab-duration") == (1.0, True)
    assert official(event, "30.0", "blab-duration") == (0.0, True)
    assert official(event.model_copy(update={"answer": 1800}), "30.0", "blab-duration") == (1.0, True)
    for stops in ("about 30 seconds", "1:02:03", "", "soon"):
        assert official(event, stops, "blab-duration") == (0.0, False), stops
    assert scored(event, "30.0", "blab-duration").robust == 1.0


def test_blab_counts_the_first_whole_number() -> None:
    count = StructuredWant(form="number", answer=2)
    assert official(count, "2 or 3", "blab-count") == (1.0, True)
    assert official(count, "two", "blab-count") == (0.0, True)
    assert official(StructuredWant(form="range", answer=[2, 3]), "two", "blab-count") == (0.0, False)
    assert scored(count, "two", "blab-count").robust == 1.0


WORDS = StructuredWant(
    form="words", answer=[{"word": "Hi", "start": 1.2, "end": 1.5}, {"word": "you", "start": 2, "end": 3}]
)


def test_blab_words_want_numbers_and_case() -> None:
    def hits(text: str) -> tuple[float, float]:
        found = scored(WORDS, text, "blab-words")
        return found.parts["official_hits"], found.parts["hits"]

    exact = [{"word": "Hi,", "start": 1.2, "end": 1.6}, {"word": "you", "start": 2, "end": 3.1}]
    assert hits(json.dumps(exact)) == (2, 2)
    quoted = [{"word": "Hi", "start": "1.2", "end": "1.5"}, {"word": "You", "start": 2, "end": 3}]
    assert hits(json.dumps(quoted)) == (0, 2)
    assert hits("nothing to read") == (0, 0)


def test_blab_spans_misread_clocks_and_cut_the_end() -> None:
    want = StructuredWant(form="spans", answer=[{"start": 754, "end": 764}], options={"words_end": 800})
    found = scored(want, '[{"entity": "x", "start": "12:34", "end": "12:44"}]', "blab-spans")
    assert found.robust == 1.0 and found.parts["official_hits"] == 0
    late = scored(want, '[{"entity": "x", "start": 754, "end": 900}]', "blab-spans")
    assert late.parts["official_extra"] == 3600 and late.parts["extra"] == 13_600


# --- spans, words, entities, labels ---


def test_spans_by_hand() -> None:
    assert span_tally([(0, 1), (2, 3)], [(0.5, 2.5)]).f1 == pytest.approx(2 * 1 / (2 + 2))
    assert span_tally([(0, 1), (0.5, 2)], [(0, 2)]).f1 == 1, "overlapping spans count once"
    assert span_tally([], []).f1 == 1
    want = StructuredWant(form="spans", answer=[])
    assert scored(want, "There are no advertisements.").robust == 1.0
    assert scored(want, "I heard something").robust == 0.0, "what cannot be read is not right"


def test_a_word_is_found_once() -> None:
    gold = [("a", 0.0, 0.2), ("a", 0.1, 0.3)]
    assert word_tally(gold, [("a", 0.05, 0.25)] * 3).hits == 2
    assert word_tally([("a", 0.0, 0.5), ("a", 0.1, 0.3)], [("a", 0.1, 0.2), ("a", 0.15, 0.5)]).hits == 2
    assert word_tally(gold, [("a", 0.41, 0.6)]).hits == 0, "control"


def test_entities_are_counted_as_often_as_they_stand_there() -> None:
    want = StructuredWant(form="entities", answer=[["GPE", "eu"], ["GPE", "eu"], ["DATE", "today"]])
    found = rows([(want, '[{"label": "gpe", "text": "EU"}, {"label": "GPE", "text": "today"}]')], "slue-ner")
    figures = values(found)
    assert figures["robust"] == pytest.approx(2 * 1 / (3 + 2)) and figures["label"] == pytest.approx(2 * 2 / 5)
    assert figures["official"] == 0, "letter by letter"


SCENES = ["订餐服务", "外卖服务"]


def test_json_labels_and_their_f1() -> None:
    want = [StructuredWant(form="labels", answer={"scene": s}, options={"labels": {"scene": SCENES}}) for s in SCENES]
    texts = ['{"scene": "订餐服务"}', "这是外卖服务。", "不知道", '{"scene": "外卖服务"}', "订餐服务或外卖服务"]
    golds = [0, 1, 0, 0, 1]
    found = rows([(want[g], t) for g, t in zip(golds, texts, strict=True)], "teleantifraud-scene")
    assert [r.scored.value and r.scored.value["scene"] for r in found] == [*SCENES, None, SCENES[1], None]
    figures = values(found)
    gold, said = [SCENES[g] for g in golds], [SCENES[0], SCENES[1], "", SCENES[1], ""]
    for name in ("macro", "weighted"):
        wanted = f1_score(gold, said, labels=SCENES, average=name)
        assert figures[f"scene:{name}_f1"] == pytest.approx(wanted)
    theirs = [SCENES[0], SCENES[1], "unknown", SCENES[1], SCENES[0]]
    assert figures["official_macro_f1"] == pytest.approx(f1_score(gold, theirs, average="macro", zero_division=0))


def test_true_and_false_are_the_two_labels() -> None:
    labels = {"labels": {"is_fraud": ["fraud", "normal"]}}
    want = StructuredWant(form="labels", answer={"is_fraud": "fraud"}, options=labels)
    said = ("true", '"True"', '"fraud"', "false")
    texts = [*(f'{{"is_fraud": {v}}}' for v in said), "I cannot say"]
    assert [scored(want, t, "teleantifraud-fraud").robust for t in texts] == [1.0, 1.0, 1.0, 0.0, 0.0]
    benign = want.model_copy(update={"answer": {"is_fraud": "normal"}})
    assert scored(benign, "I hear music", "teleantifraud-fraud").official == 1.0, "the rule flatters what says nothing"
    assert scored(benign, "I hear music", "teleantifraud-fraud").robust == 0.0


def test_age_without_digits_is_dropped_by_the_rule_and_wrong_by_ours() -> None:
    want = StructuredWant(form="number", answer=30, unit="years", tolerance=5)
    found = values(rows([(want, "32"), (want, "30-40 years"), (want, "in the 30s"), (want, "old")], "ltu-age"))
    assert found["official"] == pytest.approx((2 + 5) / 2)
    assert found["robust"] == 0.5, "32 and the thirties; a range is no number here"


# --- events ---


def test_segments_by_hand() -> None:
    gold, said = [Frames("dog", 0, 100)], [Frames("dog", 0, 50), Frames("cat", 50, 100)]
    parts = segment_parts(gold, said, 50)
    assert parts == {"segment_hits": 1, "segment_gold": 2, "segment_said": 2, "segment_errors": 1}
    assert segment_parts([Frames("dog", 49, 50)], [], 50, seen=49)["segment_gold"] == 0


def test_directions_by_hand() -> None:
    gold = [Frames("dog", 0, 10, 0, 0), Frames("cat", 0, 5, 90, 0)]
    said = [Frames("cat", 0, 10, 80, 0)]
    parts = direction_parts(gold, said, 20)
    assert parts["frames_right"] == 15 and parts["doa_said"] == 10
    assert parts["doa_degrees"] == pytest.approx(5 * 10 + 5 * 80)
    assert degrees_between((0, 90), (123, 90)) == pytest.approx(0, abs=1e-5)


def test_the_joint_rule_by_hand() -> None:
    gold = [Frames("dog", 0, 10, 0, 0)]
    near, far = [Frames("dog", 5, 10, 20, 0)], [Frames("dog", 0, 10, 21, 0)]
    assert joint_parts(gold, near, 10)["joint_hits"] == 1
    assert joint_parts(gold, far, 10)["joint_hits"] == 0 and joint_parts(gold, far, 10)["joint_found"] == 1
    assert joint_parts(gold, [Frames("cat", 0, 10)], 10)["joint_errors"] == 1, "one substitution"
    assert joint_parts(gold, gold, 10)["joint_errors"] == 0


def test_perfect_and_silent_answers() -> None:
    events = [{"class": "dog", "start": 0.5, "end": 2.0, "azimuth": 30, "elevation": 10}]
    want = StructuredWant(form="events", answer=events, options={"classes": ["dog"], "seconds": 5})
    perfect, silent = values(rows([(want, json.dumps(events))], "seld-2019")), values(rows([(want, "[]")], "seld-2019"))
    assert (perfect["official"], perfect["seld_2020"], perfect["robust"]) == pytest.approx((0, 0, 1), abs=1e-6)
    assert silent["official_doa"] == 180 and silent["le_cd"] == 180 and silent["robust"] == 0.0


def test_events_pair_at_most_once() -> None:
    assert event_tally([Event("dog", 1, 2)], [Event("dog", 1, 2)] * 2).hits == 1


def test_who_spoke_when_by_hand() -> None:
    gold = [Event("ann", 0, 4), Event("bob", 3, 8)]
    parts = diarisation_parts(gold, [Event("1", 0, 3), Event("2", 4, 9)])
    assert parts == {"speech": 9, "missed": 2, "extra": 1, "confused": 0}
    assert diarisation_parts(gold, [Event("x", 0, 3), Event("x", 3, 8)])["confused"] == 3
    assert diarisation_parts(gold, gold, 0.25)["speech"] < 9, "a collar takes time away"


# --- what must never change a score ---


def mixed() -> list[tuple[StructuredWant, str | None]]:
    rng = random.Random(0)
    spans = StructuredWant(form="spans", answer=[[1, 3], [5, 8]])
    texts = ["[[1, 3]]", '[{"start": 5, "end": 9}]', "none", None, "0:01 - 0:02", "I'm sorry"]
    return [(spans, rng.choice(texts)) for _ in range(60)]


def test_order_changes_no_digit() -> None:
    found = rows(mixed())
    turned = found[::-1]
    first, second = KIND.measures(found, AROUND), KIND.measures(turned, AROUND)
    assert first == second
    assert KIND.measures(found[1:], AROUND) != first, "control"


def test_two_forms_have_a_mean_and_their_own_figures() -> None:
    found = values(rows([(SECONDS, "30"), *mixed()[:5]]))
    assert {"robust", "number:mae", "spans:robust"} <= found.keys()


FORMS: dict[str, tuple[StructuredWant, str, str]] = {
    "number": (SECONDS, "about {n} seconds", "blab-duration"),
    "words": (WORDS, '[{{"word": "Hi", "start": 1.{n}, "end": 1.5}}]', "blab-words"),
    "spans": (StructuredWant(form="spans", answer=[[1, 9], [20, 30]]), '[{{"entity": "a", "start": {n}, "end": 29}}]',
              "blab-spans"),
    "entities": (StructuredWant(form="entities", answer=[["GPE", "eu"]]), '[{{"label": "GPE", "text": "e{n}"}}]',
                 "slue-ner"),
    "labels": (StructuredWant(form="labels", answer={"scene": SCENES[0]}, options={"labels": {"scene": SCENES}}),
               '{{"scene": "订餐服务", "n": {n}}}', "teleantifraud-scene"),
    "events": (
        StructuredWant(
            form="events",
            answer=[{"class": c, "start": s, "end": s + 2, "azi": 10, "ele": 0} for c, s in (("dog", 0), ("cat", 3))],
            options={"classes": ["dog", "cat"], "seconds": 10},
        ),
        '[{{"class": "dog", "start": 0.{n}, "end": 2, "azi": {n}}}, '
        '{{"class": "cat", "start": 3, "end": 4, "azi": 5}}]',
        "seld-2019",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_hundred_thousand_answers_take_less_than_a_minute(form: str) -> None:
    want, text, name = FORMS[form]
    before = memory.peak_from_now_on()
    started = time.process_time()
    found = rows([(want, text.format(n=i % 90 + 10)) for i in range(100_000)], name)
    assert values(found)
    assert time.process_time() - started < 60
    assert memory.peak_mebibytes() - before < 1024


def test_every_official_rule_takes_any_answer() -> None:
    cases: dict[str, Any] = {name: FORMS[form][0] for form, (_, _, name) in FORMS.items()}
    for name, want in cases.items():
        for text in ("", "x" * 500, "[{}]", '[{"start": [1], "end": {}}]', "9" * 400, '{"scene": 1}', "\ud800", "None"):
            assert scored(want, text, name).status in ("read", "unread", "empty"), (name, text)
        assert OFFICIAL[name].about
