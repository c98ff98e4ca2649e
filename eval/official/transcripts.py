"""How published scripts count errors in transcripts, defects included."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from eval.harness.items import TranscriptWant
from eval.kinds.arrived import arrived
from eval.kinds.base import Measure, Row, Surroundings
from eval.metrics import mean
from eval.official.base import Official
from eval.official.words import helm_normalised

_PUNCTUATION = re.compile(r"[^\w\s']|_")


def _pairs(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Reference and answer as they are; a missing answer is empty."""
    found = []
    for row in rows:
        assert isinstance(row.item.want, TranscriptWant)
        found.append((row.item.want.reference, arrived(row.answered).text))
    return found


def upper_words(text: str) -> str:
    """LibriSpeech's own form: capitals, apostrophes, no other punctuation.

    >>> upper_words("Don't stop, Ann!")
    "DON'T STOP ANN"
    """
    return " ".join(_PUNCTUATION.sub(" ", text.replace("’", "'")).upper().split())


def helm_rate(reference: str, said: str) -> float:
    """One answer's rate in HELM: an empty answer is perfect.

    >>> helm_rate("a dog barks", ""), helm_rate("a dog barks", "dog barks")
    (0.0, 0.3333333333333333)
    """
    import jiwer

    if not said:
        return 0.0
    return float(jiwer.wer(helm_normalised(reference, True), helm_normalised(said, True)))


def _corpus(form: Callable[[str], str], characters: bool, label: str) -> Callable[..., list[Measure]]:
    def together(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        import jiwer

        from eval.kinds.transcript import ratio

        process = jiwer.process_characters if characters else jiwer.process_words
        done = [process(form(r), form(h)) for r, h in _pairs(rows)]
        wrong = [float(d.substitutions + d.deletions + d.insertions) for d in done]
        units = [float(d.hits + d.substitutions + d.deletions) for d in done]
        return [Measure("official", label, ratio(wrong, units, [r.item.cluster for r in rows]), better=-1)]

    return together


def _helm_mean(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    rates = mean([helm_rate(r, h) for r, h in _pairs(rows)], [r.item.cluster for r in rows])
    note = "an empty answer counts as perfect"
    return [Measure("official", "HELM's mean word error rate", rates, note=note, better=-1)]


def _helm_bleu(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    from eval.kinds.transcript import bleu_counts, corpus_bleu

    counts = [bleu_counts(r, h, "13a") for r, h in _pairs(rows)]
    return [Measure("official", "BLEU, 13a for every language", corpus_bleu(counts, rows), unit="")]


def _whisper(text: str) -> str:
    from eval.kinds.speech_text import normalised

    return normalised(text, "whisper-en")


def _sequences(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    """By the metric of each task; one figure a metric."""
    from eval.kinds import transcript as kind

    found = []
    for metric in dict.fromkeys(kind.want_of(r.item).metric for r in rows):
        own = [r for r in rows if kind.want_of(r.item).metric == metric]
        key = f"official_{metric}"
        found += kind.bleu_measures(key, own) if metric == "bleu" else kind.error_measures(key, metric, own)[:1]
    return found


RULES = (
    Official(
        "librispeech",
        "Corpus word errors in the references' own form: capitals, no punctuation, numbers and spellings as written.",
        together=_corpus(upper_words, False, "word error rate, capitals"),
    ),
    Official(
        "slue-asr",
        "The toolkit's evaluation of Whisper divides edits of characters by characters and calls it WER.",
        together=_corpus(_whisper, True, "SLUE's \"WER\", of characters"),
    ),
    Official(
        "ahelm-wer",
        "HELM's mean of single word error rates; an empty answer scores 0, which is perfect.",
        together=_helm_mean,
    ),
    Official("ahelm-bleu", "sacrebleu over the corpus with its tokeniser 13a, for any language.", together=_helm_bleu),
    Official(
        "dynamic-superb-text",
        "Errors or BLEU over the corpus. The published evaluation lets a language model take chatter off before; here "
        "only listed lead-ins are, so that chatter costs.",
        together=_sequences,
    ),
)

