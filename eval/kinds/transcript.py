"""Words that are said or their translation: errors over the whole corpus, never a mean of single rates.

An empty answer is all deletions, so 1.0; so is a refusal, whose own words tell nothing. An empty reference is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from alm.errors import RecordError
from eval.harness.answers import Answered, Judged, Scored, Status
from eval.harness.items import Item, TranscriptWant
from eval.kinds.arrived import arrived
from eval.kinds.base import Measure, Row, Surroundings, Table
from eval.kinds.choice import official_together
from eval.kinds.label_measures import cluster_weights, estimate
from eval.kinds.speech_text import UNSPACED, normalised, without_lead_in
from eval.metrics import Estimate, cluster_bootstrap, share

NAMES = {"wer": "word error rate", "cer": "character error rate", "per": "phoneme error rate", "bleu": "BLEU"}
TOKENISERS = {"zh": "zh", "yue": "zh", "ja": "char", "th": "char", "lo": "char", "my": "char", "km": "char"}
"""sacrebleu's by language; the rest is 13a. Japanese by characters: its word splitter needs a dictionary of 100 MB."""


def want_of(item: Item) -> TranscriptWant:
    assert isinstance(item.want, TranscriptWant), item.want.kind
    return item.want


class Transcript:
    """See the module."""

    name = "transcript"

    def score(
        self, item: Item, answered: Answered | None, judged: Sequence[Judged], around: Surroundings
    ) -> Scored:
        came, want = arrived(answered), want_of(item)
        said, led = without_lead_in(came.text)
        parts = compared(item, want, said)
        status: Status = came.status or "read"
        if status == "refused":
            if worth(parts) > 0:  # somebody may say that they are sorry
                status = "read"
            else:
                said, parts = "", compared(item, want, "")
        return Scored(
            id=item.id, status=status, value=said, rule="lead-in" if led else "whole", robust=worth(parts), parts=parts
        )

    def measures(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        found = official_together(rows, around)
        metrics = list(dict.fromkeys(want_of(r.item).metric for r in rows))
        for metric in metrics:
            own = [r for r in rows if want_of(r.item).metric == metric]
            key = "robust" if len(metrics) == 1 else f"robust_{metric}"
            found += bleu_measures(key, own) if metric == "bleu" else error_measures(key, metric, own)
        return [*found, *_shares(rows)]

    def tables(self, rows: Sequence[Row], around: Surroundings) -> list[Table]:
        used = Counter((want_of(r.item).metric, want_of(r.item).language, want_of(r.item).normaliser) for r in rows)
        lines = tuple((*how, count) for how, count in used.items())
        return [Table("Compared how", ("metric", "language", "normaliser", "items"), lines)]

    def baselines(self, item: Item, around: Surroundings) -> dict[str, str]:
        return {"empty": ""}


def compared(item: Item, want: TranscriptWant, said: str) -> dict[str, float]:
    """Counts that add up over the corpus.

    Raises:
        RecordError: the reference is empty once normalised.
    """
    reference = normalised(want.reference, want.normaliser)
    if not _any_word(reference):
        raise RecordError(
            f"item {item.id}: nothing is left of {want.reference!r} after {want.normaliser!r}; leave the item out"
        )
    hypothesis = normalised(said, want.normaliser)
    if want.metric == "bleu":
        return bleu_counts(reference, hypothesis, TOKENISERS.get(want.language, "13a"))
    if not _any_word(hypothesis):
        hypothesis = ""  # a lone mark is no word
    if want.metric == "cer" and want.language in UNSPACED:
        reference, hypothesis = (t.replace(" ", "") for t in (reference, hypothesis))
    return _errors(reference, hypothesis, want.metric == "cer")


def _any_word(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _errors(reference: str, hypothesis: str, characters: bool) -> dict[str, float]:
    import jiwer

    done = (jiwer.process_characters if characters else jiwer.process_words)(reference, hypothesis)
    return {
        "units": float(done.hits + done.substitutions + done.deletions),
        "substitutions": float(done.substitutions),
        "deletions": float(done.deletions),
        "insertions": float(done.insertions),
        "said": float(bool(hypothesis)),
    }


@lru_cache(maxsize=8)
def _bleu(tokeniser: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokeniser, effective_order=True)


def bleu_counts(reference: str, hypothesis: str, tokeniser: str) -> dict[str, float]:
    one = _bleu(tokeniser).sentence_score(hypothesis, [reference])
    counts = {f"hits{n}": float(c) for n, c in enumerate(one.counts, start=1)}
    totals = {f"grams{n}": float(c) for n, c in enumerate(one.totals, start=1)}
    lengths = {"said_length": float(one.sys_len), "length": float(one.ref_len)}
    return {**counts, **totals, **lengths, "said": float(bool(hypothesis)), "sentence": one.score / 100}


def worth(parts: dict[str, float]) -> float:
    """One answer between 0 and 1, for paired comparison: one less its error rate, or its sentence's BLEU."""
    return parts["sentence"] if "sentence" in parts else max(0.0, 1.0 - errors(parts) / parts["units"])


def errors(parts: dict[str, float]) -> float:
    return parts["substitutions"] + parts["deletions"] + parts["insertions"]


def error_measures(key: str, metric: str, rows: Sequence[Row]) -> list[Measure]:
    """Corpus rate with its three parts, and the share of answers with more errors than there are words."""
    parts = [r.scored.parts for r in rows]
    sources = [r.item.cluster for r in rows]
    units = [p["units"] for p in parts]
    found = [Measure(key, NAMES[metric], ratio([errors(p) for p in parts], units, sources), better=-1)]
    for part in ("substitutions", "deletions", "insertions"):
        found.append(Measure(f"{key}_{part}", part, ratio([p[part] for p in parts], units, sources), better=-1))
    invented = share([errors(p) > p["units"] for p in parts], sources)
    found.append(Measure(f"{key}_hallucinated", "answers with a rate over 100 %", invented, better=-1))
    return found


def ratio(tops: Sequence[float], bottoms: Sequence[float], sources: Sequence[str]) -> Estimate:
    """Sum over sum, with intervals over items and over sources."""
    each = [t / b if b else 0.0 for t, b in zip(tops, bottoms, strict=True)]
    low, high = cluster_bootstrap(each, range(len(each)), bottoms)
    source_low, source_high = cluster_bootstrap(each, sources, bottoms)
    value = sum(tops) / (sum(bottoms) or 1.0)
    return Estimate(value, low, high, len(each), source_low, source_high, len(set(sources)))


def bleu_measures(key: str, rows: Sequence[Row]) -> list[Measure]:
    """Corpus BLEU by sacrebleu, apart for each of its tokenisers; the note is its signature."""
    found = []
    kinds = dict.fromkeys(TOKENISERS.get(want_of(r.item).language, "13a") for r in rows)
    for tokeniser in kinds:
        own = [r for r in rows if TOKENISERS.get(want_of(r.item).language, "13a") == tokeniser]
        name = key if len(kinds) == 1 else f"{key}_{tokeniser}"
        value = corpus_bleu([r.scored.parts for r in own], own)
        found.append(Measure(name, "BLEU", value, unit="", note=f"sacrebleu, {_signature(tokeniser)}"))
    return found


def _signature(tokeniser: str) -> str:
    from sacrebleu.metrics.bleu import BLEU

    one = BLEU(tokenize=tokeniser)
    one.corpus_score(["a"], [["a"]])
    return str(one.get_signature())


def corpus_bleu(counts: Sequence[dict[str, float]], rows: Sequence[Row]) -> Estimate:
    """0 to 100, from the counts of each answer."""
    keys = [*(f"hits{n}" for n in range(1, 5)), *(f"grams{n}" for n in range(1, 5)), "said_length", "length"]
    table = np.array([[one[k] for k in keys] for one in counts])
    sources = [r.item.cluster for r in rows]
    drawn = [_bleu_of(w @ table) for w in cluster_weights(sources)]
    return estimate(_bleu_of(table.sum(0)), drawn, sources)


def _bleu_of(sums: Any) -> float:
    from sacrebleu.metrics.bleu import BLEU

    counts = [int(s) for s in sums]
    return float(BLEU.compute_bleu(counts[:4], counts[4:8], counts[8], counts[9], smooth_method="exp").score)


def _shares(rows: Sequence[Row]) -> list[Measure]:
    sources = [r.item.cluster for r in rows]
    empty = share([not r.scored.parts["said"] for r in rows], sources)
    led = share([r.scored.rule == "lead-in" for r in rows], sources)
    return [
        Measure("empty", "answers with no word", empty, better=-1),
        Measure("lead_in", "answers with a listed lead-in, taken off", led, better=-1),
    ]
