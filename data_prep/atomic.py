"""Files that are whole or absent: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import TextIO

TEMPORARY = ".part-"


@contextmanager
def writing(path: Path) -> Iterator[BufferedRandom]:
    """A file to write to that takes the place of `path` when all went well; a kill leaves the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}-{path.name}")
    try:
        with temporary.open("w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing_text(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    """`writing` for UTF-8 text."""
    with writing(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors=errors, newline="\n")
        try:
            yield text
        finally:
            text.detach()


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step; a kill at any moment leaves the old file or the new one."""
    with writing(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def remove_leftovers(folder: Path) -> int:
    """Delete temporary files of interrupted writes under `folder`; gives their number."""
    leftovers = [path for path in folder.rglob(f"{TEMPORARY}*") if path.is_file()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def link_or_copy(source: Path, target: Path) -> None:
    """Put `source` at `target` too: as a hard link where the file system can, else as an atomic copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        write_bytes(target, source.read_bytes())
