"""Choices: reading, the benchmarks' rules, likelihoods, baselines."""

from __future__ import annotations

import time

import pytest
from kinds_helpers import NOTHING, PETS, answer, choice, figures, many, measured, row
from pydantic import ValidationError

from eval.harness.answers import Judged
from eval.harness.items import ChoiceWant
from eval.kinds import KINDS
from eval.kinds.reading_choice import options_of, read_choice

FORMATS = {
    "text": "{text}",
    "letter": "{letter}",
    "both": "({letter}) {text}",
    "sentence": "The correct answer is {text}.",
    "reason": "I choose {text}, since its call is heard twice.",
}
SETS = (
    (PETS, 1),
    (("a dog barking", "a door that slams", "rain on a roof", "a bell"), 2),
    (("2", "3", "4"), 0),
    (("Yes", "No"), 1),
    (("in the morning", "in the evening", "at noon", "at night", "at dawn"), 4),
    (("male", "female"), 0),
    (("rain", "heavy rain", "no rain"), 0),
    (("C", "C#", "D", "D♭"), 1),
    (("-5 dB", "5 dB", "0.5 dB"), 1),
    (("狗叫", "猫叫", "下雨"), 2),
    (tuple(f"room {n}" for n in range(12)), 10),
)


@pytest.mark.parametrize("how", FORMATS)
def test_a_perfect_model_is_perfect_however_it_writes(how: str) -> None:
    for choices, right in SETS:
        for gold in range(len(choices)):
            if how == "letter" and len(choices[gold]) <= 2:
                continue  # a letter that is the name of another option, below
            said = FORMATS[how].format(text=choices[gold], letter="ABCDEFGHIJKLMNOP"[gold])
            read = row(choice(choices, gold), said).scored
            assert read.robust == 1.0, (choices, gold, said, read)
        wrong = FORMATS[how].format(text=choices[right - 1], letter="ABCDEFGHIJKLMNOP"[right - 1])
        if not (how == "letter" and len(choices[right]) <= 2):
            assert row(choice(choices, right), wrong).scored.robust == 0.0, "control"


def test_word_sets_depend_on_the_wording() -> None:
    """MMAU's rule for the same perfect model: the text is right, a letter never is, other words cost."""
    rows = {how: [] for how in FORMATS}
    for choices, right in SETS[:3]:
        for how, form in FORMATS.items():
            rows[how].append(row(choice(choices, right), form.format(text=choices[right], letter="ABCD"[right])))
    official = {how: figures(found)["official"] for how, found in rows.items()}
    assert official["text"] == 1.0 and official["letter"] == 0.0
    assert official["both"] == pytest.approx(1.0) and official["sentence"] == 1.0
    noon = choice(("at noon", "in the evening"), 0)
    assert row(noon, "It is at noon").scored.official == 1.0
    assert row(noon, "at noon, when the bell rings").scored.official == 0.0, "a function word of a wrong choice"
    assert row(choice(PETS, 1), "owl, not the dog").scored.official == 0.0
    assert row(choice(PETS, 1), "").scored.official == 0.0


def test_a_letter_that_is_an_option_is_the_option() -> None:
    """Keys of music: D is the third option, not the fourth, unless the question showed letters before them."""
    keys = ("C", "D", "E", "F")
    assert row(choice(keys, 1), "D").scored.robust == 1.0 and row(choice(keys, 1), "D").scored.official == 1.0
    shown = "Which key?\nA. C\nB. D\nC. E\nD. F"
    assert row(choice(keys, 3, question=shown), "D").scored.robust == 1.0


@pytest.mark.parametrize(
    ("said", "index"),
    [
        ("B", 1), ("b.", 1), ("**B**", 1), ("Answer: B", 1), ("Final answer: (B)", 1), (r"\boxed{B}", 1),
        ("The answer is B because the dog is quiet.", 1), ("I would take option B.", 1), ("option (b)", 1),
        ("Owl\n\nA dog would bark.", 1), ("It may be a cow. The answer is Owl.", 1), ("not a dog, but an owl", 1),
        ("<think>Dog? No.</think>Owl", 1), ("<think>A</think><answer>B</answer>", 1), ("It is the OWL!", 1),
        ("A dog", 0), ("A. Owl", None), ("Because of its hoot", None), ("Dark sounds", None), ("dog or owl", None),
        ("not an owl", None), ("None of the above", None), ("E", None), ("owls", None), ("", None),
    ],
)  # fmt: skip
def test_what_answers_mean(said: str, index: int | None) -> None:
    assert row(choice(), said).scored.value == index


def test_the_longer_option_counts_where_one_is_inside_the_other() -> None:
    rain = options_of(("rain", "heavy rain", "heavy rain and wind"))
    said = ("It is heavy rain.", "heavy rain and wind here", "some rain")
    assert [read_choice(t, rain).index for t in said] == [1, 2, 0]
    assert read_choice("heavy rain, then rain", rain).index is None
    assert read_choice("a female voice", options_of(("male", "female"))).index == 1


@pytest.mark.parametrize("said", ["dog " * 100_000, "not a dog " * 50_000, "(" * 200_000, "the answer is " * 30_000])
def test_long_answers_are_read_in_time(said: str) -> None:
    begun = time.process_time()
    row(choice(), said)
    assert time.process_time() - begun < 2.0


def test_equal_options_count_as_one_and_are_told() -> None:
    twins = choice(("cat", "Dog", "a dog", "cow"), 2)
    assert [row(twins, t).scored.robust for t in ("dog", "B", "C", "cat")] == [1.0, 1.0, 1.0, 0.0]
    assert row(twins, answer(loglik=(-3.0, -1.0, -1.0, -4.0))).scored.parts["loglik"] == 1.0
    tables = {t.title: dict(t.rows) for t in KINDS["choice"].tables([row(twins, "dog")], NOTHING) if "wary" in t.title}
    assert tables["Items to be wary of"]["options worded alike"] == 1
    only = KINDS["choice"].tables([row(choice(), "dog")], NOTHING)
    assert all("wary" not in t.title for t in only), "control"


def test_missing_rows_are_wrong_and_the_published_denominator_is_told() -> None:
    rows = [row(one, said) for one, said in zip(many([choice()] * 4), ("Owl", "Owl", "Dog", None), strict=True)]
    found = figures(rows)
    assert found["official"] == 0.5 and found["official_kept"] == pytest.approx(2 / 3) and found["robust"] == 0.5
    assert rows[3].scored.status == "missing"
    note = next(m.note for m in measured(rows) if m.key == "official_kept")
    assert "1 of 4" in note
    assert "official_kept" not in figures(rows[:3]), "control"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("", "empty"), ("  ", "empty"), ("I'm sorry, I cannot hear the owl.", "refused"), ("Perhaps", "unread"),
        ("<think>It could be the owl", "truncated"), ("Sorry, but my answer is B", "read"), ("Owl", "read"),
    ],
)  # fmt: skip
def test_what_became_of_an_answer(said: str, status: str) -> None:
    scored = row(choice(), said).scored
    assert scored.status == status and scored.robust == float(status == "read")


def test_none_is_an_answer_only_where_it_may_be() -> None:
    assert row(choice(none_ok=True), "None of these").scored.status == "abstained"
    assert row(choice(), "None of these").scored.status == "unread"
    assert row(choice(none_ok=True), answer("x", error="timed out")).scored.status == "error"


def test_first_characters() -> None:
    """AIR-Bench's rule takes "Because" for B; ours does not."""
    air = {"official": "air-foundation"}
    because = row(choice(PETS, 1, **air), "Because it hoots").scored
    assert because.official == 1.0 and because.robust == 0.0
    assert row(choice(PETS, 3, **air), "Dog").scored.official == 1.0, "the D of Dog"
    assert row(choice(PETS, 0, **air), "The answer is A.").scored.official == 1.0
    dropped = [row(choice(PETS, 1, **air), t).scored for t in ("None", "", "an owl")]
    assert all(s.parts == {"left_out": 1.0} and s.official == 0.0 for s in dropped)


def test_rules_of_ahelm_and_blab() -> None:
    mcq = choice(official="ahelm-mcq")
    assert [row(mcq, t).scored.official for t in ("B", " B\n", "B.", "(B)", "Owl", "b")] == [1, 1, 0, 0, 0, 0]
    blab = choice(official="blab-emotion")
    assert [row(blab, t).scored.official for t in ("(B)", "(A), no: **(B)**", "B", "(B) not (A)")] == [1, 1, 0, 0]
    assert row(choice((*PETS, "Cat"), 4, official="blab-emotion"), "(E)").scored.official == 1.0


def test_mmau_pro_needs_its_embedder_and_says_so() -> None:
    pro = choice(official="mmau-pro")
    assert row(pro, "Owl").scored.official is None, "no figure without the stage"
    near = Judged(id="a", key="k", rater="embedding:toy", raw="[0.1, 0.9, 0.2, 0.3]", grade=0.9)
    found = row(pro, "a bird of the night", judged=[near]).scored
    assert found.official == 1.0 and found.robust == 0.0
    assert row(pro, "Owl").scored.parts["by_mmau"] == 1.0
    assert row(pro, "").scored.official == 0.0, "an empty answer gets no option"


def test_likelihoods_are_a_figure_of_their_own() -> None:
    said = answer("Dog", loglik=(-9.0, -2.0, -3.0, -4.0))
    rows = [row(choice(), said)]
    assert figures(rows)["loglik"] == 1.0 and figures(rows)["robust"] == 0.0
    tied = answer("Dog", loglik=(-2.0, -2.0, -3.0, -4.0))
    assert row(choice(), tied).scored.parts["loglik"] == 0.0, "a tie wins nothing"
    long = choice(("a bell", "a bell that rings for a long time"), 1)
    assert row(long, answer(loglik=(-6.0, -9.0))).scored.parts == {"loglik": 0.0, "loglik_byte": 1.0}


def test_baselines_and_chance() -> None:
    kind = KINDS["choice"]
    items = many([choice(PETS, n % 4) for n in range(8)])
    for name, right in (("first", 0.25), ("echo", 0.0)):
        rows = [row(one, kind.baselines(one, NOTHING)[name]) for one in items]
        assert figures(rows)["robust"] == figures(rows)["official"] == right
    two = many([choice(PETS), choice(("yes", "no"))])
    assert figures([row(one, "x") for one in two])["chance"] == pytest.approx(0.375)
    places = kind.tables([row(one, "A") for one in items], NOTHING)[0]
    assert [r[1:] for r in places.rows] == [(2, 8, 1.0), (2, 0, 0.0), (2, 0, 0.0), (2, 0, 0.0)]


def test_items_that_are_no_choice_are_refused() -> None:
    with pytest.raises(ValidationError):
        ChoiceWant(choices=("only",), answer=0)
    with pytest.raises(ValidationError):
        ChoiceWant(choices=PETS, answer=4)


def test_who_repeats_the_list_has_not_chosen() -> None:
    for choices, _ in SETS:
        listed = "\n".join(f"{'ABCDEFGHIJKLMNOP'[i]}. {text}" for i, text in enumerate(choices))
        read = [read_choice(said, options_of(choices, listed)).index for said in (listed, f"{listed}\nAnswer: B")]
        assert read == [None, 1], choices
    assert read_choice("A. dog\nIt barks.", options_of(("dog", "cat"))).index == 0, "control"
