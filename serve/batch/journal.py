"""The journal of a batch: one finished row per line, safe against being killed at any moment.

A line is appended whole, and forced to the disk after each window. What a kill can leave behind is therefore at
most one torn last line, which is cut off when the file is opened again; a power cut can cost the rows of a window.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from alm.errors import ConfigError, RecordError
from serve.batch.rows import fingerprint

ROW = "row"
"""Field of a compact journal: the fingerprint of the input row, which it does not repeat."""


@dataclass(frozen=True)
class Entry:
    """What the journal says about one row."""

    id: str
    fingerprint: str
    """Of the row as it was when it was answered."""
    failed: bool
    place: int
    """Where its line begins, in bytes."""


class Journal:
    """The journal's file, locked against a second writer while it is open.

    Args:
        compact: lines hold id, fingerprint and answer; otherwise they are whole output rows.

    Raises:
        ConfigError: another batch writes to the file.
    """

    def __init__(self, path: Path, compact: bool = False) -> None:
        self.path, self.compact = path, compact
        self.repaired_bytes = 0
        """Length of the torn last line that was cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = _open_locked(path)
        try:
            self._repair_tail()
            self._synced = self._file.seek(0, os.SEEK_END)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def empty(self) -> bool:
        return self._file.seek(0, os.SEEK_END) == 0

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one finished row; when this returns, a kill of this process does not lose it."""
        data = json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace") + b"\n"
        size = self._file.seek(0, os.SEEK_END)
        try:
            _write_all(self._file, data)
        except OSError:
            self._file.truncate(size)  # a full disk: keep what was whole
            raise

    def sync(self) -> None:
        """Force what was appended to the disk; when this returns, a power cut does not lose it."""
        size = self._file.seek(0, os.SEEK_END)
        if size == self._synced:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._synced)
            raise
        self._synced = size

    def entries(self) -> Iterator[Entry]:
        """Every row of the journal.

        Raises:
            RecordError: a line is damaged.
        """
        for place, _, row in self._lines():
            print_ = row[ROW] if self.compact else fingerprint(row)
            yield Entry(str(row["id"]), print_, "error" in row, place)

    def raw_at(self, place: int) -> bytes:
        """The line that begins there."""
        self._file.seek(place)
        return self._whole_line()

    def row_at(self, place: int) -> dict[str, Any]:
        """The row of the line that begins there."""
        return dict(json.loads(self.raw_at(place)))

    def drop_failed(self) -> None:
        """Take failed rows out so that they are tried again."""
        if any("error" in row for _, _, row in self._lines()):
            self.rewrite(raw for _, raw, row in self._lines() if "error" not in row)

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Replace the journal in one step: a kill leaves either the old or the new one."""
        with replaced(self.path) as fresh, fresh.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.writelines(lines)
        self._file.close()
        self._file = _open_locked(self.path)
        self._synced = self._file.seek(0, os.SEEK_END)

    def _whole_line(self) -> bytes:
        """From here to the end of the line; the file is unbuffered, so a piece at a time."""
        pieces = [self._file.read(2**14)]
        while pieces[-1] and b"\n" not in pieces[-1]:
            pieces.append(self._file.read(2**18))
        return b"".join(pieces).partition(b"\n")[0] + b"\n"

    def _repair_tail(self) -> None:
        content_end = 0
        last = b""
        with self.path.open("rb") as file:
            for last in file:
                content_end += len(last)
        if not last or last.endswith(b"\n"):
            return
        if _row_of(last, self.compact) is not None:  # a whole row that only lacks the end of its line
            self._file.write(b"\n")
        else:
            self.repaired_bytes = len(last)
            self._file.truncate(content_end - len(last))
        os.fsync(self._file.fileno())

    def _lines(self) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
        place = 0
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if raw.strip():
                    row = _row_of(raw, self.compact)
                    if row is None or not ("answer" in row or "error" in row):
                        raise RecordError(
                            f"{self.path} line {number} is damaged or no answered row; mend or remove the line, "
                            "or choose another output file"
                        )
                    yield place, raw, row
                place += len(raw)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A new file to write beside `path`, which it replaces in one step, safely on the disk, when all went well."""
    fresh = path.with_name(path.name + ".tmp")
    try:
        yield fresh
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write_all(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _open_locked(path: Path) -> IO[bytes]:
    # Unbuffered: what write() returned from is in the kernel, and a kill of this process cannot lose it.
    file = path.open("a+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_ino != path.stat().st_ino:
            raise OSError("replaced since it was opened")
    except OSError:
        file.close()
        raise ConfigError(f"{path}: another batch is writing to it; wait for it or choose another file") from None
    return file


def _row_of(raw: bytes, compact: bool) -> dict[str, Any] | None:
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("id"), str | int):
        return None
    return row if not compact or _is_fingerprint(row.get(ROW)) else None


def _is_fingerprint(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
