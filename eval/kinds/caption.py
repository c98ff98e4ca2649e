"""Descriptions compared with people's: CIDEr-D over the set, and how long they are.

SPICE and METEOR need Java, and FENSE needs models that are fetched at run time by a package that asks for torchaudio:
none of them is here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import eval.official as official
from eval.harness.answers import Answered, Judged, Scored, Status
from eval.harness.items import CaptionWant, Item
from eval.kinds.arrived import arrived
from eval.kinds.base import Measure, Row, Surroundings, Table
from eval.metrics import Estimate, mean
from eval.scorers.cider import NAME, cider_d, words_of

SOUND = r"(?:the|this|an?|your)? ?(?:short |given |provided )?(?:audio|sound|recording|clip|sample|file|track)"
LEAD_INS = (
    r"(?:sure|certainly|of course|okay|ok)\b[,.!:]*",
    r"here(?:'s| is) (?:a|the|my|your)? ?(?:short |brief |possible )?(?:caption|description)"
    r"(?: (?:of|for) [^:.\n]{0,60})?:",
    r"(?:audio )?(?:caption|description)\s*:",
    rf"in {SOUND}(?: (?:clip|recording|file))?,",
    rf"{SOUND}(?: (?:clip|recording|file))? (?:contains|features|consists of|captures|is of|includes)",
    r"(?:i|you|we) (?:can )?hear",
)
"""What stands before a caption and is no part of it; each is taken off once, in any order."""
_LEAD_IN = re.compile(rf"^[\s*_\"'“]*(?:{'|'.join(LEAD_INS)})[\s*_]*", re.IGNORECASE)


def caption_in(text: str) -> tuple[str, bool]:
    """The first paragraph without lead-ins and quotes, and whether there were any.

    >>> caption_in('Sure! Here is a caption for the audio: "A dog barks."\\n\\nLet me know!')
    ('A dog barks.', True)
    >>> caption_in("The recording sounds old.")
    ('The recording sounds old.', False)
    """
    paragraphs = [p for p in re.split(r"\n\s*\n", text.strip()) if p.strip()]
    if not paragraphs:
        return "", False
    first, led = paragraphs[0], False
    for _ in LEAD_INS:
        rest = _LEAD_IN.sub("", first, count=1)
        if rest == first:
            break
        first, led = rest, True
        if not first.strip() and len(paragraphs) > 1:  # the lead-in was a paragraph of its own
            first, paragraphs = paragraphs[1], paragraphs[1:]
    return " ".join(first.strip(" \t\n*_\"'“”").split()), led or len(paragraphs) > 1


def _want(item: Item) -> CaptionWant:
    assert isinstance(item.want, CaptionWant), item.want.kind
    return item.want


class Caption:
    """See the module. Single answers have no score: the figures are of the set."""

    name = "caption"

    def score(
        self, item: Item, answered: Answered | None, judged: Sequence[Judged], around: Surroundings
    ) -> Scored:
        came = arrived(answered)
        if came.status is not None:
            return Scored(id=item.id, status=came.status, value="", parts={"words": 0.0})
        said, led = caption_in(came.text)
        words = len(words_of(said))
        status: Status = "read" if words else "unread"
        parts = {"words": float(words), "led": float(led)}
        return Scored(id=item.id, status=status, value=said, rule="lead-in" if led else "whole", parts=parts)

    def measures(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        if not rows:
            return []
        ordered = sorted(rows, key=lambda r: r.item.id)
        sources = [r.item.cluster for r in ordered]
        lengths = [r.scored.parts.get("words", 0.0) for r in ordered]
        wanted = [float(len(words_of(t))) for r in ordered for t in _want(r.item).references]
        note = f"the references have {sum(wanted) / len(wanted):.1f}"
        found: list[Measure] = []
        for name in sorted({r.item.official for r in rows}):
            rule = official.OFFICIAL.get(name)
            found += rule.together(rows, around) if rule and rule.together else []
        first = [str(r.scored.value or "") for r in ordered]
        found += _cider(ordered, first, "robust", f"{NAME}, first paragraph without lead-ins")
        return [*found, Measure("words", "words", mean(lengths, sources), "", note, better=0)]

    def tables(self, rows: Sequence[Row], around: Surroundings) -> list[Table]:
        return []

    def baselines(self, item: Item, around: Surroundings) -> dict[str, str]:
        return {"constant": "A sound is heard."}


def cider_measures(rows: Sequence[Row], key: str, label: str) -> list[Measure]:
    """CIDEr-D of whole answers."""
    ordered = sorted(rows, key=lambda r: r.item.id)
    return _cider(ordered, [arrived(r.answered).given or "" for r in ordered], key, label)


def _cider(rows: Sequence[Row], said: Sequence[str], key: str, label: str) -> list[Measure]:
    """Nothing for a single clip, where rarity has no meaning."""
    if len(rows) < 2:
        return []
    scores = cider_d(said, [_want(r.item).references for r in rows])
    value: Estimate = mean(list(map(float, scores)), [r.item.cluster for r in rows])
    note = f"0 to 10; rarity over the references of these {len(rows)} clips, which intervals take as given"
    return [Measure(key, label, value, "", note)]
