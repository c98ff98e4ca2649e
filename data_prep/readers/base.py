"""What a reader of an official download is: a `Source` that says what it is, and a function that gives its samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from data_prep.errors import CorpusError
from data_prep.samples import Sample

SHOWN_LOST = 20


@dataclass(frozen=True)
class Lost:
    """Something in the download that gave no sample; never passed over in silence."""

    reason: str
    """A short class of reason, such as `missing file`, `bad row`, `unknown label`."""
    where: str
    """File and line, or the id."""
    detail: str = ""


@dataclass(frozen=True)
class ReadOptions:
    """How to read a download."""

    splits: tuple[str, ...] = ()
    """The source's own names of splits; empty: all."""
    audio_root: Path | None = None
    """Where the recordings are, when not in their official place."""
    path_map: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of paths written in the lists, and what they are replaced by."""
    check_files: bool = True
    """Whether a recording that is not there is `Lost`."""


Reader = Callable[[Path, ReadOptions], Iterator[Sample | Lost]]


@dataclass(frozen=True)
class Source:
    """A data set of the field, and how to read its official download."""

    name: str
    title: str
    licence: str
    """Of the recordings; where each has its own, `per recording`."""
    home: str
    """Address of its page."""
    how_to_get: str
    size: str
    """Such as `5,800 hours, 2.1 million clips`."""
    tells: tuple[str, ...]
    """The fields of `Sample` that it fills."""
    layout: str
    """The files that the reader expects, one a line."""
    read: Reader
    splits: tuple[str, ...] = ("train", "dev", "test")
    benchmark: bool = False
    """Whether the field evaluates on it: its test side never goes into training unless told so by name."""
    more_homes: tuple[str, ...] = ()
    """Addresses of further pages, where it has several."""


@dataclass
class ReadReport:
    """What a reading brought; counts add up to what the lists have."""

    samples: Counter[str] = field(default_factory=Counter)
    """By split."""
    lost: Counter[str] = field(default_factory=Counter)
    """By reason."""
    shown: list[Lost] = field(default_factory=list)
    """The first of each reason."""

    def count(self, one: Sample | Lost) -> None:
        """Take one more into account."""
        if isinstance(one, Sample):
            self.samples[one.split] += 1
            return
        self.lost[one.reason] += 1
        if self.lost[one.reason] <= SHOWN_LOST:
            self.shown.append(one)


def inside(root: Path, written: str, options: ReadOptions) -> Path:
    """The file that a list names, below `root` (or `audio_root`), with the beginnings of paths mapped.

    Raises:
        CorpusError: the name is empty, or leads out of the folder and no mapping allows it.
    """
    base = options.audio_root or root
    for begin, instead in options.path_map.items():
        if begin and written.startswith(begin):
            base, written = Path(instead), written[len(begin) :].lstrip("/\\")
            break
    pure = PureWindowsPath(written) if "\\" in written else PurePosixPath(written)
    if not written or "\0" in written or pure.is_absolute() or ".." in pure.parts or PureWindowsPath(written).drive:
        raise CorpusError(f"{written[:120]!r}: leads out of {base}; map its beginning with path_map")
    return base.joinpath(*pure.parts)
