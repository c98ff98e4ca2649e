"""A download that is being read: finds its files and recordings, makes samples, and counts what gives none."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alm.errors import AlmError
from data_prep.errors import CorpusError
from data_prep.readers import rows
from data_prep.readers.base import Lost, Reader, ReadOptions, inside
from data_prep.readers.rows import Row, RowError
from data_prep.samples import Sample

Found = Iterator[Sample | Lost]
MAX_DETAIL_LETTERS = 400


@dataclass
class Download:
    """An official download in a folder."""

    source: str
    licence: str
    root: Path
    options: ReadOptions
    _seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise CorpusError(f"{self.root}: no such folder; `alm data sources {self.source}` says how to get it")

    def find(self, *names: str) -> Path | None:
        """The first of these files or folders that exists."""
        return next((p for name in names if (p := self.root / name if name else self.root).exists()), None)

    def place(self, *names: str) -> Path:
        """The first of these that exists.

        Raises:
            CorpusError: none does.
        """
        found = self.find(*names)
        if found is None:
            wanted = " or ".join(name or "." for name in names)
            raise CorpusError(f"{self.root}: has no {wanted}; `alm data sources {self.source}` shows the layout")
        return found

    def name(self, path: Path) -> str:
        """A path as messages show it: relative to the download."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name

    def parts(self, known: Mapping[str, str]) -> dict[str, str]:
        """The splits that are asked for: the source's own names and ours.

        Raises:
            CorpusError: one is asked for that the source does not have.
        """
        if unknown := [name for name in self.options.splits if name not in known]:
            raise CorpusError(f"{self.source}: has no split {unknown[0]!r}; it has {', '.join(known)}")
        return {name: ours for name, ours in known.items() if not self.options.splits or name in self.options.splits}

    def present(self, known: Mapping[str, str], *patterns: str) -> Iterator[tuple[str, str, Path]]:
        """Own name, our name and file or folder of each split that is asked for, in patterns with `{}` for the name.

        Raises:
            CorpusError: a split that was asked for by name is absent, or all are.
        """
        wanted = self.parts(known)
        found = 0
        for own, ours in wanted.items():
            names = [pattern.format(own) for pattern in patterns]
            if (path := self.find(*names)) is not None:
                found += 1
                yield own, ours, path
            elif self.options.splits:
                self.place(*names)
        if not found:
            self.place(*(pattern.format("|".join(wanted)) for pattern in patterns))

    def table(self, path: Path, **form: Any) -> Iterator[Row | Lost]:
        """`rows.table` of a file of this download."""
        return rows.table(path, self.name(path), **form)

    def lookup(self, path: Path | None, key: str, **form: Any) -> dict[str, Row]:
        """Rows of a small table by one of their fields; rows that cannot be read are left to whoever misses them."""
        found = {}
        for row in self.table(path, **form) if path else ():
            if isinstance(row, Row) and row.has(key) and isinstance(row.values[key], str):
                found[row.values[key].strip()] = row
        return found

    def files(self, folder: Path, *ends: str) -> Iterator[Path]:
        """Files below a folder whose names end so, in a fixed order; not hidden ones, nor behind links to folders."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as fault:
            raise CorpusError(f"{self.name(folder)}: cannot be listed ({fault.strerror or fault})") from fault
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self.files(Path(entry.path), *ends)
            elif entry.name.lower().endswith(ends):
                yield Path(entry.path)

    def recording(self, *names: str) -> str:
        """The absolute path of the first of these recordings that is there, by the options.

        With `audio_root`, a recording may also lie right there under its bare file name.

        Raises:
            RowError: a name leads out of the download, or no such file is there, or it is empty.
        """
        named = [*names, *(posixpath.basename(n) for n in names)] if self.options.audio_root else names
        try:
            paths = [inside(self.root, name, self.options).absolute() for name in dict.fromkeys(named)]
        except CorpusError as fault:
            raise RowError(rows.UNSAFE, str(fault)) from fault
        sizes = [(path, size) for path in paths if (size := _size(path)) is not None]
        if not self.options.check_files:
            return str(sizes[0][0] if sizes else paths[0])
        if not sizes:
            raise RowError(rows.MISSING, str(paths[0]))
        if not sizes[0][1]:
            raise RowError(rows.EMPTY, str(sizes[0][0]))
        return str(sizes[0][0])

    def sample(self, name: str, audio: str, split: str, **facts: Any) -> Sample:
        """A sample of this source, whose id nobody had before it.

        Raises:
            RowError: the id was there before.
            RecordError: a fact is one that no sample may have.
        """
        if rows.SURROGATE.search(name + audio):
            raise RowError(rows.BAD_TEXT, "the name of the file is not UTF-8; rename it")
        made = Sample(name, audio, self.source, split, facts.pop("licence", "") or self.licence, **facts)
        if (key := hash(name)) in self._seen:
            raise RowError(rows.REPEATED, f"id {rows.shown(name)} was there before")
        self._seen.add(key)
        return made

    def each(self, found: Iterable[Row | Lost], make: Callable[[Row], Sample]) -> Found:
        """A sample of each row, or why there is none."""
        for row in found:
            yield row if isinstance(row, Lost) else self.one(row.where, make, row)

    def one(self, where: str, make: Callable[..., Sample], *given: Any) -> Sample | Lost:
        """What `make` gives for these arguments, or why it gives none."""
        try:
            return make(*given)
        except RowError as fault:
            return Lost(fault.reason, where, str(fault)[:MAX_DETAIL_LETTERS])
        except (AlmError, ValueError, OverflowError) as fault:
            return Lost(rows.BAD_ROW, where, str(fault)[:MAX_DETAIL_LETTERS])


def _size(path: Path) -> int | None:
    """Bytes of a file; None where there is none, or where its name is one that no file can have."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


def reading(source: str, licence: str, read: Callable[[Download], Found]) -> Reader:
    """The reader of a source, out of a function of its download."""

    def start(root: Path, options: ReadOptions) -> Found:
        yield from read(Download(source, licence, root, options))

    return start


def plain(name: str) -> str:
    """A label as people write it.

    >>> plain("synth_lead")
    'synth lead'
    """
    return " ".join(name.replace("_", " ").split())


def sex(written: str) -> str:
    """`female`, `male`, or the source's own word.

    >>> sex("F"), sex("male_masculine"), sex("other")
    ('female', 'male', 'other')
    """
    word = written.strip().lower()
    return {"f": "female", "m": "male", "female_feminine": "female", "male_masculine": "male"}.get(word, word)


def first_texts(values: Sequence[str]) -> tuple[str, ...]:
    """Each once, blank ones left out."""
    return tuple(dict.fromkeys(value for value in values if value))
