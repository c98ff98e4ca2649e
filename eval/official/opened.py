"""Rules of open answers: what each benchmark makes of a judge's grades, and MMAU-Pro's constraints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eval.harness.answers import Judged
from eval.harness.items import Item, OpenWant
from eval.judges.prompting import judge_prompt
from eval.kinds.base import Measure, Row, Surroundings
from eval.metrics import mean, share
from eval.official.base import Official, Verdict
from eval.rules import CHECKS, passes


def _grade(item: Item, judged: Sequence[Judged]) -> float | None:
    """The grades put together; None: some are missing."""
    from eval.kinds.open import put_together

    if not isinstance(item.want, OpenWant) or not item.want.judge:
        return None
    return put_together(judge_prompt(item.want.judge.prompt), judged).grade


def _share_of(most: float) -> Callable[[Item, str | None, Sequence[Judged], Surroundings], Verdict | None]:
    """The grade as a share of the highest; an answer that nobody gave is 0."""

    def one(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
        if not text:
            return Verdict(0.0, counted=text is not None)
        grade = _grade(item, judged)
        return None if grade is None else Verdict(grade / most)

    return one


def _rubrics(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
    """Nothing where the answer is wrong by MMAU's matcher, else the share of points."""
    if not text or not isinstance(item.want, OpenWant):
        return Verdict(0.0, counted=text is not None)
    if not all(passes(text, rule) for rule in item.want.rules):
        return Verdict(0.0)
    grade = _grade(item, judged)
    return None if grade is None else Verdict(grade)


def _chat(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    """Mean score of 1 to 10 over both orders, and how often the model's is above the reference's in both together."""
    graded = [r for r in rows if "grade" in r.scored.parts]
    if not graded:
        return []
    sources = [r.item.cluster for r in graded]
    scores = mean([r.scored.parts["grade"] for r in graded], sources)
    wins = share([bool(r.scored.parts.get("above_reference")) for r in graded], sources)
    return [
        Measure("official_score", "benchmark's mean score, 1 to 10", scores, ""),
        Measure("official_wins", "graded above the reference", wins),
    ]


# --- MMAU-Pro's constraints as its script checks them, where that differs from ours ---


def _alphabet(text: str, blanks: bool = True) -> str:
    return re.sub(r"[^a-z ]" if blanks else r"[^a-z]", "", text.lower())


def _parts_at(text: str, splitter: str) -> int:
    return sum(bool(p.strip()) for p in re.split(rf"\s*{re.escape(splitter)}\s*", text.strip()))


PRO_CHECKS: dict[str, Callable[[str, Mapping[str, Any]], bool]] = {
    **CHECKS,
    "include-keywords": lambda t, a: all(k.lower() in t.lower() for k in str(a.get("keywords", "")).split(", ")),
    "forbidden-words": lambda t, a: not any(
        w.lower() in t.lower() for w in str(a.get("forbidden_words", "")).split(", ")
    ),
    "postscript": lambda t, a: _alphabet(str(a.get("postscript_marker", "")), False) in _alphabet(t, False),
    "start-checker": lambda t, a: _alphabet(t).startswith(_alphabet(str(a.get("start_phrase", "")))),
    "end-checker": lambda t, a: _alphabet(t).endswith(_alphabet(str(a.get("end_phrase", "")))),
    "minimum-number-highlighted-section": lambda t, a: len(re.findall(r"\*[^*]+\*", t)) >= int(a.get("N", 0)),
    "number-bullets": lambda t, a: len(re.findall(r"(?:^|\n)\s*\*\s+", t)) == int(a.get("N", 0)),
    "multiple-sections": lambda t, a: _parts_at(t, str(a["section_splitter"])) == int(a.get("N", 0)),
    "repeat-prompt": lambda t, a: t.strip().lower().startswith(str(a.get("prompt_transcription", "")).strip().lower()),
    "quotation": lambda t, a: t.strip().startswith('"') and t.strip().endswith('"'),
    "two-responses": lambda t, a: len(p := t.split("******")) == 2 and p[0].lower().strip() != p[1].lower().strip(),
    "title": lambda t, a: bool(re.search(r"<<[^>]+>>", t)),
}


def _constraints(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
    if not isinstance(item.want, OpenWant) or not item.want.rules:
        return None
    kept = [pro_passes(text or "", rule) for rule in item.want.rules]
    return Verdict(float(all(kept)), counted=text is not None)


def pro_passes(text: str, rule: Mapping[str, Any]) -> bool:
    """One constraint as MMAU-Pro's script checks it; one that lacks its argument is not kept."""
    check = PRO_CHECKS.get(str(rule.get("rule", "")))
    try:
        return bool(check and check(text, rule))
    except (KeyError, TypeError, ValueError):
        return False


_JUDGE = "the published judge is a closed or another model, so figures compare only under the same judge"
RULES: tuple[Official, ...] = (
    Official(
        "air-chat",
        f"Two grades of 1 to 10, for the reference and the answer, in both orders; {_JUDGE}.",
        _share_of(10.0),
        _chat,
    ),
    Official(
        "mmau-pro-open",
        f"The overall grade over 5; {_JUDGE}. It takes 3 for what it cannot read; we ask again.",
        _share_of(5.0),
    ),
    Official("mmau-pro-if", "The constraint as its script checks it: forbidden words within words, too.", _constraints),
    Official(
        "mmar-rubrics",
        "0 where MMAU's matcher finds the answer wrong, else the share of points met, by five gradings without the "
        f"best and the worst; {_JUDGE}.",
        _rubrics,
    ),
    Official("compa-r", f"The mean of five grades, over 5; {_JUDGE}.", _share_of(5.0)),
    Official("clotho-aqa-judge", f"A grade of 0 to 5, times 20; {_JUDGE}.", _share_of(5.0)),
    Official(
        "teleantifraud-reasoning",
        f"Logic, practicality and expression, 5 points each, over 15; {_JUDGE}. It weighs grades by likelihood.",
        _share_of(5.0),
    ),
    Official("dynamic-superb-classification", f"Yes or no, does the reply mean the label; {_JUDGE}.", _share_of(1.0)),
    Official("ahelm-judge", f"A grade of 1 to 5, over 5; {_JUDGE}.", _share_of(5.0)),
    Official("ahelm-refusal", f"The share of refusals; {_JUDGE}.", _share_of(1.0)),
    Official("slue-summary", "A grade of 1 to 5, over 5, ours: SLUE takes ROUGE and others.", _share_of(5.0)),
)
