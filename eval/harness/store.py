"""Files of a stage: one JSON record a line, only ever added to, whole after a kill at any moment.

What a kill can leave behind is at most one torn last line, which is cut off when the file is opened for writing and
passed over when it is read. The last record of an id counts.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from alm.errors import ConfigError, RecordError

R = TypeVar("R", bound=BaseModel)

GROUP_ROWS, GROUP_SECONDS = 64, 2.0
"""A power cut can cost so many rows, or the rows of so many seconds."""


class StageWriter(Generic[R]):
    """Adds records to a stage's file, which is locked against a second writer while it is open.

    Raises:
        ConfigError: another process writes to the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repaired_bytes = 0
        """Length of the torn last line that was cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _locked(path)
        self._unsynced, self._synced_at = 0, time.monotonic()
        try:
            self._repair()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> StageWriter[R]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, record: R) -> None:
        """Add one record; when this returns, a kill of this process does not lose it."""
        data = memoryview(record.model_dump_json().encode("utf-8", "backslashreplace") + b"\n")
        size = os.fstat(self._file.fileno()).st_size
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            self._file.truncate(size)  # a full disk: what was whole stays
            raise
        self._unsynced += 1
        if self._unsynced >= GROUP_ROWS or time.monotonic() - self._synced_at >= GROUP_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Force what was added to the disk; when this returns, a power cut does not lose it."""
        os.fsync(self._file.fileno())
        self._unsynced, self._synced_at = 0, time.monotonic()

    def close(self) -> None:
        if not self._file.closed:
            self.sync()
            self._file.close()

    def _repair(self) -> None:
        """Cut a torn last line off."""
        with self.path.open("rb") as file:
            end = whole = file.seek(0, os.SEEK_END)
            while whole and not _ends_line(file, whole):
                whole = _line_break_before(file, whole)
        self.repaired_bytes = end - whole
        if self.repaired_bytes:
            self._file.truncate(whole)
            self.sync()


def _ends_line(file: IO[bytes], place: int) -> bool:
    file.seek(place - 1)
    return file.read(1) == b"\n"


def _line_break_before(file: IO[bytes], place: int, step: int = 2**16) -> int:
    """Where the text behind the last line break before `place` begins, or as far back as one step reaches."""
    start = max(0, place - step)
    file.seek(start)
    return start + file.read(place - start).rfind(b"\n") + 1


def _locked(path: Path) -> IO[bytes]:
    # Unbuffered: what write() returned from is in the kernel, and a kill of this process cannot lose it.
    file = path.open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ConfigError(
            f"{path}: another process is writing to it; wait for it, or choose another --out or --shard"
        ) from None
    return file


def records(path: Path, kind: type[R]) -> Iterator[R]:
    """All records of a stage's file in the order they were added; none where there is no file.

    Raises:
        RecordError: a line other than a torn last one is damaged.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                reason = error.errors(include_url=False)[0]["msg"]
                raise RecordError(
                    f"{path}, line {number}: damaged ({reason}); remove the line, and the stage makes it again"
                ) from error


def replace_records(path: Path, made: Iterable[BaseModel]) -> None:
    """Write a file of records that follows from others, in one step: a kill leaves the old one or the new one."""
    replace_bytes(path, (record.model_dump_json().encode("utf-8", "backslashreplace") + b"\n" for record in made))


def replace_bytes(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file in one step, safely on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".tmp")
    try:
        with fresh.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
