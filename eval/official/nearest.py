"""Rules that take an answer for the label or option nearest to it by sentence embedding.

Both published scripts depend on an embedder that cannot be had here: LTU's on a closed one that is no longer offered
(text-embedding-ada-002), MMAU-Pro's on one of eight thousand million weights with code of its own (NV-Embed-v2). The
steps are theirs, the embedder is the one that the stage `eval.kinds.embedded` was run with and that its records name;
without that stage these rules say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.harness.answers import Judged
from eval.harness.items import ChoiceWant, Item, LabelWant
from eval.kinds.base import Surroundings
from eval.official.base import Official, Verdict


def _closed(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
    from eval.kinds.embedded import found

    if not isinstance(item.want, LabelWant) or item.want.multi or item.want.mode != "open":
        return None
    if text is None:
        return Verdict(0.0, counted=False)
    if (cosines := found(judged, "ltu")) is None:
        return None
    said = around.label_sets[item.want.label_set].names[int(np.argmax(cosines))]
    return Verdict(float(said == item.want.labels[0]), read=said)


def _pro(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
    from eval.kinds.embedded import found

    if not isinstance(item.want, ChoiceWant):
        return None
    cosines = found(judged, "embedding")
    if cosines is None:
        return None if text else Verdict(0.0)
    said = item.want.choices[int(np.argmax(cosines))]
    return Verdict(float(said == item.want.choices[item.want.answer]), read=said)


LTU = Official(
    "ltu-closed",
    "The label whose \"sound of ...\" is nearest to \"sound of\" and the answer; every answer gets one, refusals too. "
    "Several labels: the cosines rank them, see the column's mean average precision.",
    _closed,
)
PRO = Official(
    "mmau-pro",
    "The option nearest to the answer; the published script embeds with NV-Embed-v2, and gives an empty answer an "
    "option where we count it as wrong.",
    _pro,
    beside=("mmau",),
)
