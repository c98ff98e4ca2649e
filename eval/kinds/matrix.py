"""Recordings against captions, each of which belongs to one of them: CompA's and Winoground's scores of a group.

A group has as many recordings as captions, and recording i goes with caption i. What the model thinks is told either by
a number for every cell `audioI/textJ` (log-likelihood of the caption after the recording) or by choices: `audioI` among
the captions, `textJ` among the recordings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from eval.kinds.base import Measure, Row
from eval.metrics import Estimate, share

_CELL = re.compile(r"audio(\d+)/text(\d+)|audio(\d+)|text(\d+)")


@dataclass
class Group:
    """What is known of one group."""

    cells: dict[tuple[int, int], float | None] = field(default_factory=dict)
    texts: list[bool] = field(default_factory=list)
    """For each recording that chose among captions, whether rightly."""
    audios: list[bool] = field(default_factory=list)

    def add(self, row: Row, cell: str) -> None:
        match = _CELL.fullmatch(cell)
        assert match, f"item {row.item.id}: {cell!r} is not a cell such as audio0/text1, audio0 or text0"
        right = bool(row.scored.robust)
        if match[1] is not None:
            value = row.scored.value
            self.cells[int(match[1]), int(match[2])] = value if isinstance(value, float) else None
        else:
            (self.audios if match[3] is None else self.texts).append(right)

    @property
    def text(self) -> bool | None:
        """Every recording prefers its own caption; None where the group does not ask."""
        return self._own(0) if self.cells else (all(self.texts) if self.texts else None)

    @property
    def audio(self) -> bool | None:
        """Every caption prefers its own recording."""
        return self._own(1) if self.cells else (all(self.audios) if self.audios else None)

    @property
    def both(self) -> bool | None:
        text, audio = self.text, self.audio
        return None if text is None or audio is None else text and audio

    def _own(self, axis: int) -> bool:
        """Ties and missing cells lose."""
        size = 1 + max(max(place) for place in self.cells)
        places = [(i, j) for i in range(size) for j in range(size) if i != j]
        for i, j in places:
            own, other = self.cells.get((i, i)), self.cells.get((i, j) if axis == 0 else (j, i))
            if own is None or other is None or own <= other:
                return False
        return bool(places)

    @property
    def chances(self) -> dict[str, float] | None:
        """Of random numbers or choices; known for two by two."""
        two = {place for pair in self.cells for place in pair} == {0, 1} or len(self.texts) == len(self.audios) == 2
        return {"text": 0.25, "audio": 0.25, "both": 1 / 6 if self.cells else 1 / 16} if two else None


def matrix_measures(rows: Sequence[tuple[Row, str]], prefix: str) -> list[Measure]:
    """Text, audio and group score over groups; `rows` come with their cells."""
    groups: dict[str, Group] = {}
    for row, cell in rows:
        groups.setdefault(row.item.cluster, Group()).add(row, cell)
    found = []
    for key, label in SCORES.items():
        values = {name: getattr(group, key) for name, group in groups.items()}
        asked = {name: value for name, value in values.items() if value is not None}
        if asked:
            chances = [c[key] for g in groups.values() if (c := g.chances)]
            note = f"chance {100 * sum(chances) / len(chances):.1f} %" if chances else ""
            right: Estimate = share(list(asked.values()), list(asked))
            found.append(Measure(f"{prefix}_{key}" if key != "both" else prefix, label, right, note=note))
    return found


SCORES = {"both": "group score", "text": "text score", "audio": "audio score"}
