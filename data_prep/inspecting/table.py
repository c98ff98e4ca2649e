"""Records of one or more files as a table: where each row lies, and what it can be chosen by, but not the rows.

A million rows take some tens of megabytes; a row is read from its file when it is looked at.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alm.errors import RecordError
from data_prep.copies.recordings import record_files
from data_prep.corpus import read_index
from data_prep.errors import CorpusError
from data_prep.ontology import language_name
from data_prep.records import Record, from_row

FACETS = ("split", "task", "source", "licence", "language")
"""What rows can be chosen by."""
SHOWN_WRONG = 20
MAX_LINE_BYTES = 16 * 2**20
NOT_SAID = "not said"


@dataclass
class Codes:
    """A column of words, each kept once."""

    words: dict[str, int] = field(default_factory=dict)
    codes: array[int] = field(default_factory=lambda: array("i"))

    def add(self, word: str) -> None:
        """The word of the next row."""
        self.codes.append(self.words.setdefault(word, len(self.words)))

    def counts(self) -> Counter[str]:
        """Rows by word."""
        number = np.bincount(np.asarray(self.codes), minlength=len(self.words))
        return Counter({word: int(number[code]) for word, code in self.words.items()})

    def equal(self, word: str) -> NDArray[np.bool_]:
        """Which rows have it."""
        return np.asarray(np.asarray(self.codes) == self.words.get(word, -1))


@dataclass
class Table:
    """All rows; `read_table` fills it."""

    folder: Path
    """Where `copies.json`, `leaks.json` and `flags.jsonl` are."""
    files: list[Path]
    offsets: array[int] = field(default_factory=lambda: array("q"))
    file: array[int] = field(default_factory=lambda: array("h"))
    facets: dict[str, Codes] = field(default_factory=lambda: {name: Codes() for name in FACETS})
    wrong: Counter[str] = field(default_factory=Counter)
    """Rows that are no records, by file."""
    wrong_shown: list[str] = field(default_factory=list)
    """The first messages about them."""

    def __len__(self) -> int:
        return len(self.offsets)

    def record(self, row: int) -> Record:
        """The record of a row, paths of recordings as written.

        Raises:
            RecordError: the file was changed since the table was made.
        """
        path = self.files[self.file[row]]
        with path.open("rb") as stream:
            stream.seek(self.offsets[row])
            return _parsed(stream.readline(MAX_LINE_BYTES), f"{path}, byte {self.offsets[row]}")

    @property
    def contents(self) -> str:
        """The files, in words."""
        return ", ".join(path.name for path in self.files)

    def file_name(self, row: int) -> str:
        """Name of the file that a row is in."""
        return self.files[self.file[row]].name

    def sounds(self, row: int, record: Record) -> list[Path | bytes]:
        """Recordings of a row: where each lies, or its bytes."""
        return [self.files[self.file[row]].parent / name for name in record.audios]

    def add(self, number: int, offset: int, record: Record, languages: Mapping[str, str]) -> str:
        """Note the record that begins at `offset` of file `number`; gives its language."""
        self.offsets.append(offset)
        self.file.append(number)
        language = _language(record, languages)
        for name in FACETS:
            self.facets[name].add(language if name == "language" else str(getattr(record, name)))
        return language

    def note_wrong(self, name: str, fault: RecordError) -> None:
        """Count a row of a file that is no record."""
        self.wrong[name] += 1
        if len(self.wrong_shown) < SHOWN_WRONG:
            self.wrong_shown.append(str(fault)[:300])

    def chosen(self, wanted: Mapping[str, str], text: str = "") -> NDArray[np.int64]:
        """Numbers of the rows that have all wanted words of facets, and the text anywhere, whatever its case."""
        good = np.ones(len(self), bool)
        for name, word in wanted.items():
            good &= self.facets[name].equal(word)
        rows = np.flatnonzero(good)
        return self._with(text.strip(), rows) if text.strip() else rows

    def _with(self, text: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the rows whose line has the text, as it is or as JSON escapes it."""
        needles = {text.lower().encode(), json.dumps(text.lower())[1:-1].encode()}
        found, opened = [], -1
        stream = None
        try:
            for row in rows.tolist():
                if self.file[row] != opened:
                    if stream:
                        stream.close()
                    opened = self.file[row]
                    stream = self.files[opened].open("rb")
                assert stream is not None
                stream.seek(self.offsets[row])
                line = stream.readline(MAX_LINE_BYTES).decode("utf-8", "replace").lower().encode()
                if any(needle in line for needle in needles):
                    found.append(row)
        finally:
            if stream:
                stream.close()
        return np.array(found, dtype=np.int64)


def read_table(
    place: Path, take: Callable[[Record, Path, str], None], advance: Callable[[int], None] = lambda count: None
) -> Table:
    """Read all rows of a file, or of the record files of a folder, once.

    Args:
        take: called with every record, the folder of its file, and its language.
        advance: called with numbers of bytes.

    Raises:
        CorpusError: there are no files of records.
    """
    files = record_files(place) if place.exists() else []
    if not files:
        raise CorpusError(f"{place}: no records; give a .jsonl file, a folder with train, dev or test.jsonl, or shards")
    folder = place if place.is_dir() else place.parent
    table = Table(folder, files)
    languages = _languages(folder)
    for number, path in enumerate(files):
        for offset, line in _lines(path):
            advance(len(line))
            try:
                record = _parsed(line, f"{path.name}, byte {offset}")
            except RecordError as fault:
                table.note_wrong(path.name, fault)
                continue
            take(record, path.parent, table.add(number, offset, record, languages))
    return table


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of every line that is not blank; of one longer than the limit its beginning, which is wrong."""
    with path.open("rb") as stream:
        offset = 0
        while line := stream.readline(MAX_LINE_BYTES):
            if line.strip():
                yield offset, line
            while not line.endswith(b"\n") and (rest := stream.readline(MAX_LINE_BYTES)):
                line = rest
            offset = stream.tell()


def _languages(folder: Path) -> dict[str, str]:
    """Spoken language of the clips of a store, where the folder is one."""
    index = folder / "clips.jsonl"
    if not index.is_file():
        return {}
    return {item.clip.id: item.clip.language for item in read_index(index) if item.clip.language}


def _language(record: Record, languages: Mapping[str, str]) -> str:
    """What `meta.language` says, or the store says of the recordings."""
    told = record.meta.get("language")
    if isinstance(told, str) and told:
        return told
    names = record.meta.get("recordings")
    found = {languages[name] for name in names if name in languages} if isinstance(names, list) and languages else set()
    return " + ".join(sorted(language_name(name) or name for name in found)) or NOT_SAID


def _parsed(line: bytes, where: str) -> Record:
    try:
        return from_row(json.loads(line.decode("utf-8")), where)
    except (ValueError, RecursionError) as fault:
        raise RecordError(f"{where}: is not a row of JSON in UTF-8 ({fault})") from fault
