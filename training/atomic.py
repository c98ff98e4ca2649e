"""Files and folders that are whole or absent: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MARKER = "COMPLETE"
_TEMPORARY = ".part-"


def flush(path: Path) -> None:
    """Make a file's or folder's content survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; it becomes `path` in one step when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder; it replaces `path` when the block ends without error, with a marker in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    temporary.mkdir()
    try:
        yield temporary
        for item in temporary.iterdir():
            flush(item)
        (temporary / MARKER).touch()
        flush(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether a folder was written to its end."""
    return (folder / MARKER).is_file()


def write_json(path: Path, value: Any) -> None:
    """`value` as JSON, in one step."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """A line each, in one step."""
    with whole_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Delete what interrupted writes left directly in `folder`."""
    for item in folder.glob(f"{_TEMPORARY}*"):
        if item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)
