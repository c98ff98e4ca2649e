"""Labels of closed sets: four columns, F1 and average precision against scikit-learn, the embedding stage."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import numpy as np
import pytest
from kinds_helpers import NOTHING, answer, figures, label, many, measured, row, sounds
from sklearn.metrics import average_precision_score, f1_score

from alm.errors import RecordError
from eval.harness.answers import Judged
from eval.kinds import KINDS
from eval.kinds.embedded import bare, found, ltu_phrase, similarities
from eval.kinds.label_measures import RESAMPLES, _precision, cluster_weights, f1, mean_average_precision

NAMES = ("rain", "heavy rain", "dog", "male speech", "female speech", "crackling_fire")
SET = sounds(*NAMES, dog=("a dog barking", "bark"))
WORDS = ("rain", "storm", "dog", "bark", "fire", "man", "woman", "voice", "sound")


def toy(texts: Sequence[str]) -> np.ndarray:
    """An embedder: which of a few words occur."""
    table = np.array([[w in t.lower() for w in WORDS] for t in texts], dtype=np.float32) + 1e-3
    return np.asarray(table / np.linalg.norm(table, axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("said", "exact", "read"),
    [
        ("rain", 1, 1), ("Rain.", 1, 1), ("The rain", 1, 1), ("I hear rain.", 0, 1), ("heavy rain", 0, 0),
        ("I hear heavy rain.", 0, 0), ("rain and a dog", 0, 0), ("not rain", 0, 0), ("", 0, 0), ("drain", 0, 0),
        ("I'm sorry, I hear only rain.", 0, 0), ("<think>a dog?</think>rain", 1, 1),
    ],
)  # fmt: skip
def test_listed_labels_are_exact_and_a_longer_label_is_not_the_shorter(said: str, exact: int, read: int) -> None:
    scored = row(label(["rain"]), said, SET).scored
    assert (scored.parts["listed"], scored.robust) == (exact, read)


def test_wordings_underscores_and_sexes() -> None:
    assert row(label(["dog"]), "A dog barking.", SET).scored.parts["listed"] == 1.0
    assert row(label(["crackling_fire"]), "Crackling fire", SET).scored.parts["listed"] == 1.0
    sexes = sounds("male", "female")
    assert row(label(["male"]), "a female voice", sexes).scored.robust == 0.0
    assert row(label(["female"]), "a female voice", sexes).scored.robust == 1.0
    assert row(label(["male"], official="ltu-gender"), "I cannot tell", sexes).scored.official == 1.0, "LTU: male"
    assert row(label(["female"], official="ltu-gender"), "A FEMALE", sexes).scored.official == 1.0


def test_rules_of_helm_and_qwen() -> None:
    cough = sounds("cough", "sneeze")
    for rule, right in (("ahelm-quasi-prefix", (1, 1, 0, 0)), ("ahelm-quasi-exact", (1, 0, 0, 0))):
        said = ("The cough!", "coughing", "It is a cough", "")
        assert tuple(row(label(["cough"], official=rule), t, cough).scored.official for t in said) == right
    exact = label(["cough"], official="clotho-aqa-exact")
    assert [row(exact, t, cough).scored.official for t in (" cough", "Cough", "cough.")] == [1, 0, 0]


def test_what_is_not_in_the_set_is_refused() -> None:
    with pytest.raises(RecordError, match="'cat' is not a label of 'sounds'"):
        row(label(["cat"]), "cat", SET)
    with pytest.raises(RecordError, match="no label set 'sounds'"):
        row(label(["dog"]), "dog", NOTHING)


def test_several_labels() -> None:
    want = label(["dog", "rain"], multi=True)
    assert row(want, "dog; rain", SET).scored.robust == 1.0
    assert row(want, "bark\nrain", SET).scored.robust == 1.0
    assert row(want, "dog, heavy rain", SET).scored.value["said"] == ["heavy rain", "dog"]
    assert row(want, "dog", SET).scored.robust == 0.0


def judged(one_item: object, said: str) -> list[Judged]:
    return list(similarities([(one_item, answer(said))], SET, toy, "toy@1"))  # type: ignore[list-item]


def test_the_embedded_column_abstains_and_ltus_never_does() -> None:
    free = label(["dog"], mode="open", official="ltu-closed")
    kept = judged(free, "Audio caption: Some bark.")
    assert [j.rater for j in kept] == ["bare:toy@1", "ltu:toy@1"]
    near = found(kept, "bare")
    assert near is not None and len(near) == len(SET.label_sets["sounds"].names)
    scored = row(free, "Audio caption: Some bark.", SET, kept).scored
    assert scored.status == "read" and scored.value["embedded"]["said"] == ["dog"] and scored.robust == 1.0
    refusal = "I'm sorry, I cannot hear a thing."
    assert [j.rater for j in judged(free, refusal)] == ["ltu:toy@1"]
    refused = row(free, refusal, SET, judged(free, refusal)).scored
    assert refused.status == "refused" and refused.value["embedded"]["said"] == [] and refused.value["ltu"]["said"]
    far = [Judged(id="a", key="k", rater="bare:x", raw=json.dumps([0.1] * 5 + [0.29]))]
    assert row(free, "hum", SET, far).scored.status == "abstained"


def test_what_leads_to_a_sound_is_not_embedded() -> None:
    for said in ("The recording has a dog.", "This is the sound of a dog.", "I can hear a dog.", "There is a dog."):
        assert bare(said) == "a dog.", said
    for said in ("A recorder.", "The recording sounds old.", "This is it"):
        assert bare(said) in (said, "it"), said
    assert bare("The recording has ") == "The recording has", "an answer without a sound stays what it is"
    free = label(["dog"], mode="open")
    assert [j.rater for j in judged(free, "The recording has some bark.")] == ["bare:toy@1"]


def test_ltus_steps() -> None:
    assert ltu_phrase("Labels: dog. Audio caption:  A Dog") == "sound of a dog"
    free = label(["dog"], mode="open", official="ltu-closed")
    assert row(free, "bark", SET).scored.official is None, "not embedded: no figure, and it is told"
    assert row(free, None, SET).scored.official == 0.0


def test_columns_wait_for_the_stage() -> None:
    free = many([label(["dog"], mode="open", official="ltu-closed")] * 2)
    assert not {"embedded", "ltu", "official"} & set(figures([row(one, "dog", SET) for one in free], SET))
    half = [row(free[0], "bark", SET, judged(free[0], "bark")), row(free[1], "dog", SET)]
    by_key = {m.key: m for m in measured(half, SET)}
    assert by_key["embedded"].estimate.value == 0.5 and "1 answers are not embedded yet" in by_key["embedded"].note
    assert "1 answers wait" in by_key["official"].note


def test_likeliest_labels_are_told_apart_by_length() -> None:
    ranked = label(["heavy rain"], mode="loglik")
    scored = row(ranked, answer(loglik=(-5.0, -6.0, -9.0, -20.0, -20.0, -20.0)), SET).scored
    assert scored.parts == {"loglik": 1.0} and scored.robust == 1.0, "per byte, heavy rain is likelier than rain"
    assert row(ranked, None, SET).scored.robust == 0.0


def test_three_questions_about_a_clip_are_not_three_items() -> None:
    asked = [label(["dog"], mode=mode, group="clip") for mode in ("listed", "open", "loglik")]
    rows = [row(one, "dog", SET) for one in many(asked)]
    by_key = {m.key: m for m in measured(rows, SET)}
    assert by_key["robust"].estimate.items == 1 and by_key["listed"].estimate.items == 1


def drawn(items: int, several: bool) -> tuple[list[list[int]], list[list[int]]]:
    rng = random.Random(items)
    gold = [rng.sample(range(6), rng.randint(1, 3) if several else 1) for _ in range(items)]
    said = [(g if rng.random() < 0.6 else rng.sample(range(8), rng.randint(0, 2 if several else 1))) for g in gold]
    return gold, said


@pytest.mark.parametrize("several", [False, True])
def test_f1_is_scikit_learns(several: bool) -> None:
    gold, said = drawn(500, several)
    table = [np.array([[k in r for k in range(8)] for r in rows], dtype=int) for rows in (gold, said)]
    for average in ("macro", "micro", "weighted"):
        labels = sorted({k for row_ in gold for k in row_}) if average != "micro" else list(range(8))
        wanted = f1_score(*table, average=average, labels=labels, zero_division=0)
        estimate = f1(gold, said, range(500), average)
        assert estimate.value == pytest.approx(wanted) and estimate.low < wanted < estimate.high
    assert f1(gold, said, [0] * 500, "macro").source_high == 1.0, "one source tells nothing of another"


def test_average_precision_is_scikit_learns_with_ties() -> None:
    gold, _ = drawn(300, True)
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, size=(300, 7)).astype(float)
    truth = np.array([[k in g for k in range(7)] for g in gold])
    occur = [k for k in range(7) if truth[:, k].any()]
    wanted = float(np.mean([average_precision_score(truth[:, k], scores[:, k]) for k in occur]))
    estimate = mean_average_precision(gold, scores, range(300))
    assert estimate.value == pytest.approx(wanted) and estimate.low < wanted < estimate.high
    ones = _precision(truth[:, 0], scores[:, 0], np.ones((1, 300), dtype=np.int32))
    assert ones[0] == pytest.approx(average_precision_score(truth[:, 0], scores[:, 0]), abs=1e-5)


def test_hard_lists_give_recall_times_precision() -> None:
    """Average precision of yes and no is recall x precision + (1 - recall) x prevalence."""
    rows = [label(["dog"], multi=True), label(["dog"], multi=True), label(["rain"], multi=True)]
    found_ = figures([row(i, t, SET) for i, t in zip(many(rows), ("dog", "rain", "dog"), strict=True)], SET)
    dog = 0.5 * 0.5 + 0.5 * 2 / 3
    rain = 0.0 * 0.0 + 1.0 * 1 / 3
    assert found_["listed_map_sounds"] == pytest.approx((dog + rain) / 2)


def test_weights_draw_whole_sources() -> None:
    weights = cluster_weights(["a", "a", "b", "c"])
    assert weights.shape == (RESAMPLES, 4) and (weights[:, 0] == weights[:, 1]).all()
    assert set(weights[:, [0, 2, 3]].sum(1)) == {3}


def test_slues_figures_are_means_over_labels() -> None:
    around = sounds("positive", "neutral", "negative")
    golds, said = ["positive", "positive", "neutral"], ["positive", "neutral", "no idea"]
    items = many([label([g], official="slue-sentiment") for g in golds])
    rows = [row(one, t, around) for one, t in zip(items, said, strict=True)]
    assert figures(rows, around)["official"] == pytest.approx((2 / 3 + 0) / 2)


def test_tables_and_baselines() -> None:
    rows = [row(one, t, SET) for one, t in zip(many([label(["dog"])] * 3), ("rain", "rain", "hum"), strict=True)]
    confusions, frequencies = KINDS["label"].tables(rows, SET)
    assert confusions.rows == (("dog", "rain", 2), ("dog", "(none)", 1))
    assert frequencies.rows == (("dog", 3, 0), ("rain", 0, 2))
    base = KINDS["label"].baselines(rows[0].item, SET)
    assert base["first"] == "rain" and row(label(["rain"]), base["echo"], SET).scored.robust == 0.0
