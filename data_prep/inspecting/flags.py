"""What people found wrong with records, a line of JSON each; the last line about a record counts."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from data_prep.errors import CorpusError

REASONS = ("wrong answer", "wrong label", "unclear question", "bad sound", "licence", "other")
_NOTE_LETTERS = 1000
_MAX_FILE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Flag:
    """One person's word about one record."""

    file: str
    """Name of the file of records."""
    id: str
    reason: str
    """One of `REASONS`; empty takes an earlier flag back."""
    note: str = ""
    time: str = ""
    by: str = ""
    """Who said so, where the page asks for a name."""


class FlagFile:
    """A file of flags that is added to; made when the first flag is set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._flags = self._read()

    def get(self, file: str, record: str) -> Flag | None:
        """The flag of a record, if it has one."""
        return self._flags.get((file, record))

    @property
    def flags(self) -> list[Flag]:
        """All that stand, oldest first."""
        return list(self._flags.values())

    def set(self, file: str, record: str, reason: str, note: str = "", by: str = "") -> None:
        """Flag a record, or take its flag back with an empty reason; on the disk when this returns.

        Raises:
            CorpusError: the reason is unknown, or the file cannot be written.
        """
        if reason and reason not in REASONS:
            raise CorpusError(f"flag {reason[:60]!r}: unknown reason; choose one of {', '.join(REASONS)}")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        flag = Flag(file, record, reason, note.strip()[:_NOTE_LETTERS], now, by)
        line = json.dumps(asdict(flag), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, line)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as fault:
            raise CorpusError(f"{self.path}: the flag could not be kept ({fault.strerror}); see --flags") from fault
        self._take(flag)

    def _take(self, flag: Flag) -> None:
        self._flags.pop((flag.file, flag.id), None)
        if flag.reason:
            self._flags[flag.file, flag.id] = flag

    def _read(self) -> dict[tuple[str, str], Flag]:
        self._flags = {}
        if not self.path.is_file():
            return self._flags
        if self.path.stat().st_size > _MAX_FILE_BYTES:
            raise CorpusError(f"{self.path}: has over {_MAX_FILE_BYTES // 2**20} MB; name another file with --flags")
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            try:
                self._take(Flag(**json.loads(line)))
            except (ValueError, TypeError) as fault:
                raise CorpusError(f"{self.path}:{number}: is not a flag ({fault}); mend or remove the line") from fault
        return self._flags
