"""TeleAntiFraud-Bench: scene, fraud or not, kind of fraud: the first object in the answer, else a label in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eval.harness.items import Item, StructuredWant
from eval.kinds.base import Measure, Row, Surroundings
from eval.official.base import Official
from eval.official.tallied import Ruled, Tallied
from eval.scorers.totals import Array, Totals, over

FRAUD_TYPES = ("投资诈骗", "钓鱼诈骗", "身份盗窃", "彩票诈骗", "银行诈骗", "绑架诈骗", "客服诈骗", "邮件诈骗")
SCENES = ("订餐服务", "咨询客服", "预约服务", "交通咨询", "日常购物", "打车服务", "外卖服务")
FRAUD, NORMAL, UNKNOWN = "fraud", "normal", "unknown"
STARTS, LONGEST = 256, 65_536
"""Braces that are tried; characters that are looked at."""


def first_object(text: str) -> dict[str, Any]:
    """The first JSON object that is whole; empty where there is none."""
    decoder = json.JSONDecoder()
    for found in list(re.finditer(r"\{", text))[:STARTS]:
        try:
            value, _ = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def label(text: str, key: str) -> str:
    """What the rule takes an answer for.

    >>> label('{"is_fraud": true}', "is_fraud"), label("I cannot tell", "is_fraud"), label("像是外卖服务", "scene")
    ('fraud', 'normal', '外卖服务')
    """
    value = first_object(text[:LONGEST]).get(key)
    if key == "is_fraud":
        if isinstance(value, bool):
            return FRAUD if value else NORMAL
        if isinstance(value, str):
            return FRAUD if value.lower() == "true" else NORMAL
        return FRAUD if key in text and "true" in text.lower() else NORMAL
    said = value if isinstance(value, str) else text
    return next((name for name in (SCENES if key == "scene" else FRAUD_TYPES) if name in said), UNKNOWN)


def _tally(key: str) -> Callable[[Item, str | None], Ruled]:
    def tally(item: Item, text: str | None) -> Ruled:
        assert isinstance(item.want, StructuredWant)
        wanted = item.want.answer[key]
        gold = (FRAUD if wanted else NORMAL) if isinstance(wanted, bool) else str(wanted)
        said = label(text or "", key)
        parts = {f"{gold}:hits": 1.0} if said == gold else {f"{gold}:missed": 1.0, f"{said}:extra": 1.0}
        return Ruled(float(said == gold and text is not None), text is not None, parts)

    return tally


def _together(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    """F1 over every label that is wanted or said, "unknown" among them, plain and by how often it is wanted."""
    names = sorted({n for r in rows for n in r.scored.parts if n.startswith("official_") and n.count(":") == 1})
    labels = sorted({n.split(":")[0] for n in names})
    totals = Totals(rows, [f"{n}:{p}" for n in labels for p in ("hits", "extra", "missed")])

    def f1s(s: Mapping[str, Array]) -> list[Array]:
        return [
            over(2 * s[f"{n}:hits"], 2 * s[f"{n}:hits"] + s[f"{n}:extra"] + s[f"{n}:missed"], 0.0) for n in labels
        ]

    def macro(s: Mapping[str, Array]) -> Array:
        return sum(f1s(s), start=0 * s[totals.names[0]]) / len(labels)

    def weighted(s: Mapping[str, Array]) -> Array:
        wanted = [s[f"{n}:hits"] + s[f"{n}:missed"] for n in labels]
        top = sum((f * w for f, w in zip(f1s(s), wanted, strict=True)), start=0 * wanted[0])
        return over(top, sum(wanted, start=0 * wanted[0]), 0.0)

    return [
        Measure("official_macro_f1", "benchmark's macro F1", totals.estimate(macro)),
        Measure("official_weighted_f1", "benchmark's weighted F1", totals.estimate(weighted)),
    ]


def _rule(name: str, key: str, unread: str) -> Tallied:
    about = f"`{key}` of the first object, else the first label found in the text, else {unread}, which is a class."
    return Tallied(name, about, together=_together, tally=_tally(key))


RULES: tuple[Official, ...] = (
    _rule("teleantifraud-scene", "scene", "unknown"),
    _rule("teleantifraud-fraud", "is_fraud", "normal"),
    _rule("teleantifraud-type", "fraud_type", "unknown"),
)
