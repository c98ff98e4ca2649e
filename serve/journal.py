"""The output of a batch: one finished row per line, safe against being killed at any moment.

A line is appended whole and forced to the disk before the next row begins. What a kill or a full disk can
leave behind is therefore at most one torn last line, which is cut off when the file is opened again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from alm.errors import ConfigError, RecordError
from serve.rows import fingerprint


@dataclass(frozen=True)
class Done:
    """What the output says about one row."""

    fingerprint: str
    """Of the row as it was when it was answered."""
    failed: bool


class Journal:
    """The output file, locked against a second writer while it is open.

    Raises:
        ConfigError: another batch writes to the file.
        RecordError: a line other than the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, Done] = {}
        self.repaired_bytes = 0
        """Length of the torn last line that was cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = _open_locked(path)
        try:
            self._repair_tail()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, row: Mapping[str, Any], identity: str) -> None:
        """Add one finished row; when this returns it is on the disk."""
        data = json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        size = self._file.seek(0, os.SEEK_END)
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(size)  # a full disk: keep what was whole
            raise
        self.done[identity] = Done(fingerprint(row), "error" in row)

    def drop_failed(self) -> int:
        """Take failed rows out so that they are tried again; how many there were.

        The file is replaced in one step: a kill leaves either the old or the new one, and a row that is
        gone from the new one is simply open again.
        """
        failed = {key for key, entry in self.done.items() if entry.failed}
        if not failed:
            return 0
        fresh = self.path.with_name(self.path.name + ".tmp")
        with fresh.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for raw, row in self._lines():
                if str(row["id"]) not in failed:
                    file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        _sync_folder(self.path.parent)
        self._file.close()
        self._file = _open_locked(self.path)
        self.done = {key: entry for key, entry in self.done.items() if not entry.failed}
        return len(failed)

    def _repair_tail(self) -> None:
        content_end = 0
        last = b""
        with self.path.open("rb") as file:
            for last in file:
                content_end += len(last)
        if not last or last.endswith(b"\n"):
            return
        if _row_of(last) is not None:  # a whole row that only lacks the end of its line
            self._file.write(b"\n")
        else:
            self.repaired_bytes = len(last)
            self._file.truncate(content_end - len(last))
        os.fsync(self._file.fileno())

    def _read(self) -> None:
        for _, row in self._lines():
            self.done[str(row["id"])] = Done(fingerprint(row), "error" in row)

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.strip():
                    continue
                row = _row_of(raw)
                if row is None or not ("answer" in row or "error" in row):
                    raise RecordError(
                        f"{self.path} line {number} is damaged or no answered row; mend or remove the line, "
                        "or choose another output file"
                    )
                yield raw, row


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


def _row_of(raw: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("id"), str | int) else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
