"""Lists that grow line by line: what an interrupted run has written whole is kept, a torn end is cut off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

MOST_LINE_BYTES = 32_000_000


class Journal:
    """An open list."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def lines(self, is_good: Callable[[str], bool]) -> Iterator[str]:
        """Lines from the start to the first that is torn or not good; that one and all behind it are cut off."""
        self._stream.seek(0)
        good = 0
        while (line := self._stream.readline(MOST_LINE_BYTES)).endswith(b"\n"):
            try:
                text = line.decode()
            except UnicodeDecodeError:
                break
            if not is_good(text):
                break
            good += len(line)
            yield text
        self._stream.truncate(good)
        self._stream.seek(good)

    def append(self, line: str) -> None:
        """One more line, on disk when this returns."""
        self._stream.write(line.encode())
        self._stream.flush()
        os.fsync(self._stream.fileno())


@contextmanager
def journal(path: Path) -> Iterator[Journal]:
    """The list in a file, made when absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        yield Journal(stream)
