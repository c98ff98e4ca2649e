"""Paths of recordings as files of rows write them: mapped, kept below a folder, and made relative again."""

from __future__ import annotations

import os
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.formats.base import ReadRows, RowError
from data_prep.readers.base import ReadOptions, inside

ADDRESSES = ("http://", "https://", "s3://", "gs://", "hf://")
"""Kept as they are; nothing here fetches them."""
MAX_PATH_LETTERS = 4096
_UNUSUAL = ("..", "\\", ":", "//", "/./")
REMEDY = "map its beginning with --map BEGIN=FOLDER, or name the folder of the recordings with --audio-root"


class Places:
    """Where the recordings of one file of rows are."""

    def __init__(self, file: Path, options: ReadRows) -> None:
        self._root = (options.audio_root or file.parent).absolute()
        self._below = _with_separator(self._root)
        self._options = ReadOptions(audio_root=self._root, path_map=options.path_map)
        self._maps = [(begin, _with_separator(Path(to).absolute())) for begin, to in options.path_map.items() if begin]
        self._check = options.check_files

    def found(self, written: object, field: str) -> str:
        """The absolute path of a recording, or its address as it is.

        Raises:
            RowError: no path, one that leads out of the folder, or (if asked to look) one where no file is.
        """
        if not isinstance(written, str) or not written.strip():
            raise RowError(field, written, "must be the path of a recording", "write the path")
        if written.startswith(ADDRESSES):
            return written
        if len(written) > MAX_PATH_LETTERS or "\0" in written or "://" in written or written.startswith("data:"):
            rule = f"must be a path of at most {MAX_PATH_LETTERS} letters or an address ({', '.join(ADDRESSES)})"
            raise RowError(field, written, rule, "write the recording to a file and name it")
        path = self._resolved(written, field)
        if self._check and not os.path.isfile(path):  # noqa: PTH113 a Path a row would take longer than the rest
            raise RowError(field, path, "must be a file that is there", REMEDY)
        return path

    def _resolved(self, written: str, field: str) -> str:
        begin, below = next((pair for pair in self._maps if written.startswith(pair[0])), ("", self._below))
        if not begin and written.startswith(self._below):
            begin = self._below
        rest = written[len(begin) :]
        if rest and rest[0] not in "/." and not any(mark in rest for mark in _UNUSUAL):
            return below + rest
        if not rest.strip("./\\"):
            raise RowError(field, written, "must be the path of a recording, not of a folder", "write the path")
        try:  # thoroughly, which takes ten times as long
            whole = rest if begin == self._below else written
            return str(inside(self._root, whole, self._options).absolute())
        except CorpusError:
            raise RowError(field, written, f"must be a path below {self._root}", REMEDY) from None


def _with_separator(folder: Path) -> str:
    return os.path.join(folder, "")  # noqa: PTH118 a Path drops the separator at the end


def relative(path: str, folder: str) -> str:
    """`path` from `folder` if it lies below it (`folder` ends with a separator), else as it is."""
    return path[len(folder) :] if path.startswith(folder) and len(path) > len(folder) else path
