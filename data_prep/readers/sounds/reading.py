"""What the readers of this room share: finding recordings, and giving every row as a sample or as `Lost`."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from alm.errors import AlmError
from data_prep.errors import CorpusError
from data_prep.readers.base import Lost, ReadOptions, inside
from data_prep.readers.rows import BAD_ROW, MISSING, UNKNOWN, RowError
from data_prep.readers.sounds.tables import Row
from data_prep.samples import Sample

ENDINGS = (
    ".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".aiff", ".au", ".mp4", ".webm", ".mkv", ".mov", ".avi",
    ".mpg", ".vob",
)  # fmt: skip
"""A film or video counts: its sound track is what is read."""
_ENDING_NUMBERS = {ending: number for number, ending in enumerate(ENDINGS)}
_PLAIN = re.compile(r"(?!\.{1,2}$)[^/\\\0]{1,240}", re.DOTALL)
BAD_PATH = "bad path"
Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def unknown_label(label: str, known: str) -> RowError:
    """The error for a label that the lists of a source do not have."""
    return RowError(UNKNOWN, f"{label[:80]!a} is not in {known}")


class Recordings:
    """Where the recordings of a list are. Folders are listed once, since a set may have two million of them."""

    def __init__(self, root: Path, options: ReadOptions, folders: Sequence[str]) -> None:
        """
        Args:
            folders: Below the download, the official one first; `*` and `**` stand for any. With `audio_root`, below
                that and there itself.
        """
        self._root, self._options = root, options
        self._base = options.audio_root or root
        self._folders = [*folders, *([""] if options.audio_root else [])]
        self._found: list[str] = []
        self._stems: dict[str, int] | None = None
        """Of each name without its ending: the number of its folder and that of its ending, as one."""
        self._actual: dict[str, str] = {}

    def named(self, *stems: str) -> str:
        """The recording with the first of these names that is there, whatever its ending.

        Raises:
            RowError: a name is no name of a file, or there is none and `check_files` is set.
        """
        for stem in stems:
            if not _PLAIN.fullmatch(stem):
                raise RowError(BAD_PATH, f"{stem[:120]!a} is no name of a file")
        if not self._options.check_files:
            return self._unchecked(f"{stems[0]}{ENDINGS[0]}")
        known = self._known()
        for stem in stems:
            plain = stem if stem.isascii() else unicodedata.normalize("NFC", stem)
            if (code := known.get(plain)) is not None:
                folder, ending = divmod(code, len(ENDINGS))
                return self._actual.get(plain) or f"{self._found[folder]}/{plain}{ENDINGS[ending]}"
        raise self._missing(stems[0])

    def file(self, name: str) -> str:
        """The recording with this name and ending.

        Raises:
            RowError: as `named`.
        """
        if not _PLAIN.fullmatch(name):
            raise RowError(BAD_PATH, f"{name[:120]!a} is no name of a file")
        if not self._options.check_files:
            return self._unchecked(name)
        try:
            found = self.named(name.rpartition(".")[0] or name)
        except RowError:
            raise self._missing(name) from None
        if unicodedata.normalize("NFC", found).endswith(f"/{unicodedata.normalize('NFC', name)}"):
            return found
        beside = Path(found).with_name(name)
        if _is_file(beside):  # one of that name with a more usual ending is there as well
            return str(beside)
        raise self._missing(name)

    def path(self, *written: str) -> str:
        """The first of these paths, as a list writes them, that is there.

        Raises:
            RowError: a path leads out of the folder, or there is none and `check_files` is set.
        """
        places = [_inside(self._root, one, self._options) for one in written]
        if not self._options.check_files:
            return str(places[0])
        if found := next((place for place in places if _is_file(place)), None):
            return str(found)
        raise RowError(MISSING, f"no {places[0]}")

    def below(self, folder: str, written: str) -> str:
        """The recording that a list in a folder of the download names, unless a mapping says where it is."""
        mapped = any(begin and written.startswith(begin) for begin in self._options.path_map)
        return self.path(written if mapped or folder in ("", ".") else f"{folder}/{written}")

    def _unchecked(self, name: str) -> str:
        folder = next((f for f in self._folders if "*" not in f), "")
        return str(inside(self._root, f"{folder}/{name}".lstrip("/"), self._options))

    def _missing(self, name: str) -> RowError:
        places = ", ".join(f or "." for f in self._folders[:4])
        return RowError(MISSING, f"no {name[:120]} in {places} of {self._base}")

    def _known(self) -> Mapping[str, int]:
        if self._stems is None:
            self._stems = {}
            for folder in self._folders:
                for place in sorted(self._base.glob(folder)) if "*" in folder else [self._base / folder]:
                    if str(place) not in self._found and place.is_dir():
                        self._found.append(str(place))
                        self._list(str(place), self._stems)
        return self._stems

    def _list(self, place: str, stems: dict[str, int]) -> None:
        """Take the recordings of a folder; of two with one name the first folder counts, then the usual ending."""
        first = (len(self._found) - 1) * len(ENDINGS)
        with os.scandir(place) as entries:
            for entry in entries:
                stem, dot, ending = entry.name.rpartition(".")
                if (number := _ENDING_NUMBERS.get(f"{dot}{ending.lower()}")) is None:
                    continue
                plain = stem if stem.isascii() else unicodedata.normalize("NFC", stem)
                if first + number < stems.get(plain, first + number + 1):
                    stems[plain] = first + number
                    self._actual.pop(plain, None)
                    if plain != stem or not ending.islower():
                        self._actual[plain] = f"{place}/{entry.name}"


def _inside(root: Path, written: str, options: ReadOptions) -> Path:
    try:
        return inside(root, written, options)
    except CorpusError as fault:
        raise RowError(BAD_PATH, str(fault)) from fault


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError:  # a name that is too long
        return False


@dataclass
class Group(Generic[Item]):
    """What several rows say of one recording."""

    items: list[Item] = field(default_factory=list)
    whole: bool = True
    """Whether no row about it was lost."""


@dataclass
class Reading:
    """One reading of a download; it counts every row once."""

    source: str
    root: Path
    options: ReadOptions
    splits: Mapping[str, str]
    """The source's own splits, and ours."""
    _seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise CorpusError(f"{self.root}: no such folder; give the folder of the unpacked official download")
        if unknown := [split for split in self.options.splits if split not in self.splits]:
            raise CorpusError(f"{self.source}: no split {unknown[0]!r}; there are {', '.join(self.splits)}")

    def wants(self, split: str) -> bool:
        """Whether this split of the source is to be read."""
        return not self.options.splits or split in self.options.splits

    def recordings(self, *folders: str) -> Recordings:
        """Finds recordings below the download."""
        return Recordings(self.root, self.options, folders)

    def find(self, *names: str) -> Path | None:
        """The first of these files of the download that is there."""
        return next((place for name in names if (place := self.root / name).is_file()), None)

    def need(self, *names: str) -> Path:
        """The same; raises `CorpusError` where there is none."""
        if found := self.find(*names):
            return found
        raise CorpusError(f"{self.root}: no {' or '.join(names)}; is it the folder of the unpacked official download?")

    def tables(self, names: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Path] | Lost]:
        """Split and list of those that are wanted and there; a list that is not there is `Lost`.

        Args:
            names: Of each split, where its list may be.

        Raises:
            CorpusError: none is there, or one that was asked for by name is not.
        """
        found = {split: self.find(*files) for split, files in names.items() if self.wants(split)}
        if self.options.splits or not any(found.values()):
            found = {split: self.need(*names[split]) for split in found}
        for split, place in found.items():
            yield (split, place) if place else Lost("missing list", str(self.root / names[split][0]), f"split {split}")

    def one(self, where: str, make: Callable[[], Sample], rows: int = 1) -> Sample | Lost:
        """The sample that `make` makes, or what it met; a second one with the same id is `Lost`.

        Args:
            rows: How many rows of the lists it stands for.
        """
        many = f" ({rows} rows)" if rows != 1 else ""
        try:
            sample = make()
        except RowError as fault:
            return Lost(fault.reason, where, f"{fault}{many}")
        except AlmError as fault:
            return Lost(BAD_ROW, where, f"{fault}{many}")
        if (code := hash(sample.id)) in self._seen:
            return Lost("repeated id", where, f"{sample.id}{many}")
        self._seen.add(code)
        return sample

    def each(self, rows: Iterable[Row | Lost], make: Callable[[Row], Sample]) -> Iterator[Sample | Lost]:
        """A sample for every row."""
        for row in rows:
            yield row if isinstance(row, Lost) else self.one(row.where, partial(make, row))

    def grouped(
        self, where: Path, groups: Mapping[Key, Group[Item]], make: Callable[[Key, Group[Item]], Sample]
    ) -> Iterator[Sample | Lost]:
        """A sample for every group of rows."""
        for key, group in groups.items():
            place = f"{where}, {' '.join(map(str, key)) if isinstance(key, tuple) else key}"
            yield self.one(place, partial(make, key, group), rows=len(group.items))


def gather(
    rows: Iterable[Row | Lost],
    key: Callable[[Row], Key],
    item: Callable[[Row], Item],
    groups: dict[Key, Group[Item]],
) -> Iterator[Lost]:
    """Put what rows say of one recording together into `groups`; gives the rows that cannot be used."""
    for row in rows:
        if isinstance(row, Lost):
            yield row
            continue
        name = None
        try:
            name = key(row)
            groups.setdefault(name, Group()).items.append(item(row))
        except AlmError as fault:
            if name is not None:
                groups[name].whole = False
            yield Lost(getattr(fault, "reason", BAD_ROW), row.where, str(fault))


def drop_empty(groups: dict[Key, Group[Item]]) -> dict[Key, Group[Item]]:
    """Without recordings all of whose rows were lost; they are counted already."""
    return {key: group for key, group in groups.items() if group.items}
