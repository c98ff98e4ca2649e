"""What a set of records consists of, counted in one pass, in memory that grows with the number of rows by bytes."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import CorpusError
from data_prep.inspecting.stored import is_shards, read_shard_table
from data_prep.inspecting.table import Table, read_table
from data_prep.records import AUDIO_MARK, Record
from data_prep.shards.layout import read_index

MOST_WORDS = 200_000
"""Different labels or answers that are counted; further ones count as `others`."""
OTHERS = "others"


@dataclass
class Statistics:
    """Counts over all good rows."""

    records: int = 0
    turns: int = 0
    wrong: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    per_record: Counter[str] = field(default_factory=Counter)
    """Records by number of recordings."""
    seconds: array[float] = field(default_factory=lambda: array("f"))
    """Of each record."""
    question_letters: array[int] = field(default_factory=lambda: array("i"))
    answer_letters: array[int] = field(default_factory=lambda: array("i"))
    recordings: int = 0
    missing: int = 0
    """Recordings whose file is not there; -1 when nobody looked."""
    missing_shown: list[str] = field(default_factory=list)
    repeated: int = 0
    """Rows that say word for word what an earlier one says of the same recordings."""
    contradicting: int = 0
    """Questions about the same recordings that get different answers in different rows."""
    copies: dict[str, Any] | None = None
    """`copies.json`, if `alm data copies` wrote one."""
    leaks: dict[str, Any] | None = None

    @property
    def hours(self) -> float:
        """Of all records; a recording counts as often as it is used."""
        return float(np.sum(np.asarray(self.seconds), dtype=np.float64)) / 3600


SHOWN_MISSING = 20


class Counting:
    """Takes records one by one; `result` is the sum."""

    def __init__(self, check_files: bool = True) -> None:
        self.check_files = check_files
        self.sum = Statistics(missing=0 if check_files else -1)
        self._recordings: set[bytes] = set()
        self._asked, self._answered = array("Q"), array("Q")

    def take(self, record: Record, folder: Path, language: str) -> None:
        """Count a record of a file in `folder`."""
        total = self.sum
        total.records += 1
        total.turns += sum(message.role == "assistant" for message in record.messages)
        total.splits[record.split] += 1
        total.tasks[record.task] += 1
        total.sources.update(record.source.split(" + "))
        total.licences.update(record.licence.split(" AND "))
        total.languages[language] += 1
        total.per_record[str(len(record.audios))] += 1
        total.seconds.append(record.duration)
        for name in labels_of(record):
            _count(total.labels, name)
        self._take_words(record)
        for name in record.audios:
            self._take_recording(folder, name)

    def _take_words(self, record: Record) -> None:
        asked = [message.content for message in record.messages if message.role != "assistant"]
        told = [message.content for message in record.messages if message.role == "assistant"]
        question = " ".join(" ".join(asked).replace(AUDIO_MARK, " ").split())
        self.sum.question_letters.append(min(len(question), 2**31 - 1))
        self.sum.answer_letters.append(min(sum(map(len, told)), 2**31 - 1))
        for answer in told:
            _count(self.sum.answers, answer.strip()[:60].rstrip("."))
        self._asked.append(_number(record.audios, question))
        self._answered.append(_number(told))

    def _take_recording(self, folder: Path, name: str) -> None:
        path = str(folder / name)
        key = hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        if key in self._recordings:
            return
        self._recordings.add(key)
        if self.check_files and "://" not in name and not _is_file(path):
            self.sum.missing += 1
            if len(self.sum.missing_shown) < SHOWN_MISSING:
                self.sum.missing_shown.append(name)

    def result(self) -> Statistics:
        """The sum of all that was taken."""
        self.sum.recordings = len(self._recordings)
        rows = np.stack([np.asarray(self._asked), np.asarray(self._answered)], axis=1)
        different = np.unique(rows, axis=0) if len(rows) else rows
        self.sum.repeated = len(rows) - len(different)
        _, answers = np.unique(different[:, 0], return_counts=True)
        self.sum.contradicting = int((answers > 1).sum())
        return self.sum


def labels_of(record: Record) -> list[str]:
    """What the row says is heard: `meta.labels` or `meta.classes`."""
    found = record.meta.get("labels", record.meta.get("classes", []))
    return [name for name in found if isinstance(name, str)] if isinstance(found, list | tuple) else []


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a name longer than any file's, or with a zero byte
        return False


def _count(counter: Counter[str], word: str) -> None:
    counter[word if word in counter or len(counter) < MOST_WORDS else OTHERS] += 1


def _number(*parts: object) -> int:
    data = json.dumps(parts).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def read_all(
    place: Path, *, check_files: bool = True, advance: Callable[[int], None] = lambda count: None
) -> tuple[Table, Statistics]:
    """Table and statistics of records, with what is known about copies and leaks.

    Raises:
        CorpusError: there are no records, or `copies.json` or `leaks.json` is not what the commands write.
    """
    stored = is_shards(place)
    counting = Counting(check_files and not stored)
    table = read_shard_table(place, counting.take, advance) if stored else read_table(place, counting.take, advance)
    found = counting.result()
    if stored:
        lost = [name for shard in read_index(place).shards for name in shard.lost]
        found.missing, found.missing_shown = len(lost), lost[:SHOWN_MISSING]
    found.wrong = table.wrong.total()
    found.copies = _told(table.folder / "copies.json", "pairs", list)
    found.leaks = _told(table.folder / "leaks.json", "leaks", dict)
    return table, found


def _told(path: Path, field_name: str, kind: type) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["version"] != 1 or not isinstance(told[field_name], kind):
            raise ValueError(f"version {told['version']}")
    except (OSError, ValueError, LookupError, TypeError) as fault:
        raise CorpusError(f"{path}: is not what `alm data {path.stem}` writes ({fault}); run it again") from fault
    return dict(told)


def spread(values: array[float] | array[int]) -> NDArray[np.float64]:
    """Smallest, quarter, half, three quarters, 99 % and largest of the values `[6]`; zeros if there are none."""
    if not len(values):
        return np.zeros(6)
    return np.quantile(np.asarray(values, dtype=np.float64), [0, 0.25, 0.5, 0.75, 0.99, 1])
