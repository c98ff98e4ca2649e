"""Transcripts: corpus rates, empty answers and references, lead-ins, normalisers, BLEU, published rules."""

from __future__ import annotations

import random

import jiwer
import pytest
from kinds_helpers import NOTHING, answer, figures, many, measured, row, transcript
from sacrebleu.metrics.bleu import BLEU
from whisper_normalizer.english import EnglishTextNormalizer

from alm.errors import RecordError
from eval.kinds.speech_text import NORMALISERS, without_lead_in

REFERENCES = ("the dog sat on the mat", "turn left", "he paid two hundred dollars", "we are here")


def test_rates_are_of_the_corpus_not_means_of_rates() -> None:
    said = ("the dog sat on a mat", "turn right now", "he paid $200", "")
    rows = [row(one, t) for one, t in zip(many(map(transcript, REFERENCES)), said, strict=True)]
    found = figures(rows)
    words = 6 + 2 + 3 + 3
    assert found["robust"] == pytest.approx((1 + 2 + 0 + 3) / words)
    assert found["robust_substitutions"] == pytest.approx(2 / words)
    assert found["robust_deletions"] == pytest.approx(3 / words)
    assert found["robust_insertions"] == pytest.approx(1 / words)
    assert found["empty"] == 0.25 and found["robust_hallucinated"] == 0.0
    mean = sum(1 - (r.scored.robust or 0) for r in rows) / 4
    assert mean != pytest.approx(found["robust"]), "control: the mean of rates is another figure"
    best = {m.key: m.better for m in measured(rows)}
    assert best["robust"] == -1


def test_against_jiwer_on_many_rows() -> None:
    rng = random.Random(0)
    references = [" ".join(rng.choices("abcdefg", k=rng.randint(1, 9))) for _ in range(300)]
    said = [" ".join(rng.choices("abcdefg", k=6)) for _ in range(300)]
    items = many(transcript(r, normaliser="none") for r in references)
    rows = [row(one, h) for one, h in zip(items, said, strict=True)]
    assert figures(rows)["robust"] == pytest.approx(jiwer.wer(references, said))


@pytest.mark.parametrize("said", ["", None, "...", "<think>hmm", "I'm sorry, I cannot transcribe this audio."])
def test_an_empty_answer_is_all_deletions(said: str | None) -> None:
    rows = [row(transcript("turn left now"), said)]
    assert figures(rows)["robust"] == 1.0 and rows[0].scored.robust == 0.0


def test_somebody_may_say_sorry() -> None:
    sorry = transcript("I'm sorry I can't come today")
    assert row(sorry, "I'm sorry, I can't come today.").scored.robust == 1.0


def test_an_answer_may_be_worse_than_silence() -> None:
    rows = [row(transcript("yes"), "thank you for watching my video")]
    assert figures(rows)["robust"] == 6.0 and figures(rows)["robust_hallucinated"] == 1.0


@pytest.mark.parametrize("reference", ["...", "(noise)", "um"])
def test_an_empty_reference_is_refused(reference: str) -> None:
    with pytest.raises(RecordError, match="nothing is left"):
        row(transcript(reference), "yes")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Transcript: turn left", "turn left"), ('The transcription is: "turn left."', "turn left."),
        ("Sure! Here is the transcript of the audio:\n\nTurn left", "Turn left"),
        ("**Transcription:** turn left", "turn left"), ('The speaker says, "turn left"', "turn left"),
        ("Here's the translation: turn left", "turn left"), ("“turn left”", "turn left"),
        ("The speaker says that we turn left", "The speaker says that we turn left"),
        ("Left: turn", "Left: turn"), ("I think it says: turn left", "I think it says: turn left"),
        ("The text was late", "The text was late"), ('He said "left" or "right"', 'He said "left" or "right"'),
    ],
)  # fmt: skip
def test_only_listed_lead_ins_are_taken_off(said: str, kept: str) -> None:
    assert without_lead_in(said)[0] == kept
    scored = row(transcript("turn left"), said).scored
    assert scored.value == kept


def test_normalisers_are_named() -> None:
    text = "The Colour, um, ISN'T two hundred"
    assert NORMALISERS["whisper-en"](text) == "the color is not 200"
    assert NORMALISERS["whisper-basic"](text).split() == "the colour um isn t two hundred".split()
    assert NORMALISERS["plain"](text) == "the colour um isn't two hundred"
    with pytest.raises(RecordError, match="no normaliser 'mine'; there are whisper-en"):
        row(transcript("turn left", normaliser="mine"), "turn left")


def test_the_short_way_of_the_english_normaliser_is_the_library() -> None:
    whole, rng = EnglishTextNormalizer(), random.Random(0)
    plain = "the dog and colour grey, organised hello! what? well-known tyres said: it; a b x.y Theatre.".split()
    rules = "mister mr two hundred dollars isn't half and per cent um one o'clock $5 é (x) gonna double st s t".split()
    for number in range(4000):
        text = " ".join(rng.choices(plain if number % 2 else [*plain, *rules], k=rng.randint(0, 8)))
        assert NORMALISERS["whisper-en"](text) == " ".join(whole(text).split()), text


def test_characters_and_phonemes() -> None:
    rows = [row(transcript("我们 走", metric="cer", language="zh", normaliser="whisper-basic"), "我门走。")]
    assert figures(rows)["robust"] == pytest.approx(1 / 3)
    rows = [row(transcript("DH AH0 K AE1 T", metric="per", normaliser="none"), "DH AH1 K AE1")]
    assert figures(rows)["robust"] == pytest.approx(2 / 5)


def test_bleu_is_sacrebleus() -> None:
    said = ("the dog sat on the mat today", "turn left", "he paid two thousand dollars", "here we are")
    items = many(transcript(r, metric="bleu", normaliser="none") for r in REFERENCES)
    rows = [row(one, t) for one, t in zip(items, said, strict=True)]
    wanted = BLEU().corpus_score(list(said), [list(REFERENCES)]).score
    assert figures(rows)["robust"] == pytest.approx(wanted)
    note = next(m.note for m in measured(rows) if m.key == "robust")
    assert "tok:13a" in note and "version:" in note
    zh = [row(transcript("我们走吧今天", metric="bleu", language="zh", normaliser="none"), "我们走吧明天")]
    wanted = BLEU(tokenize="zh").corpus_score(["我们走吧明天"], [["我们走吧今天"]]).score
    assert figures(zh)["robust"] == pytest.approx(wanted)


def test_helms_mean_takes_silence_for_perfection() -> None:
    items = many(transcript(r, official="ahelm-wer") for r in ("a dog barks", "turn left"))
    rows = [row(items[0], "dog barks"), row(items[1], "")]
    assert figures(rows)["official"] == pytest.approx((1 / 3 + 0) / 2)
    assert figures(rows)["robust"] == pytest.approx((1 + 2) / 5), "ours: the corpus, and silence is all wrong"


def test_librispeechs_words_are_as_written() -> None:
    rows = [row(transcript("HE PAID TWO DOLLARS", official="librispeech"), "He paid $2.")]
    assert figures(rows)["official"] == pytest.approx(2 / 4) and figures(rows)["robust"] == 0.0


def test_slues_rate_is_of_characters() -> None:
    rows = [row(transcript("turn left", official="slue-asr"), "turn lift")]
    assert figures(rows)["official"] == pytest.approx(1 / 9) and figures(rows)["robust"] == pytest.approx(1 / 2)


def test_metrics_of_several_kinds_stand_apart() -> None:
    rule = {"official": "dynamic-superb-text"}
    items = many([transcript("turn left", **rule), transcript("a b c d", metric="bleu", normaliser="none", **rule)])
    found = figures([row(items[0], "turn"), row(items[1], "a b c d")])
    assert found["robust_wer"] == found["official_wer"] == 0.5
    assert found["robust_bleu"] == found["official_bleu"] == pytest.approx(100.0)


def test_nothing_is_left_out() -> None:
    rows = [row(one, t) for one, t in zip(many(map(transcript, REFERENCES)), ("the dog", None, "x", "y"), strict=True)]
    assert {m.estimate.items for m in measured(rows)} == {4}
    assert row(transcript("turn left"), answer("turn", error="timed out"), NOTHING).scored.status == "error"
