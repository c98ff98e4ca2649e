"""Folders of converted weights: made beside their place, complete with a marker, and moved there in one step.

A process that is killed while it writes leaves only a `.new-*` folder, which nobody reads and the next run removes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alm.errors import WeightsError
from alm.weights.catalog import Part
from alm.weights.progress import Progress, sha256_of

MARKER = "weights.json"
"""Written last into each folder: what it was made from, and size, time and hash of each file."""
_LOCK_SECONDS = 1800.0
_POLL_SECONDS = 0.2


def is_ready(folder: Path, part: Part) -> bool:
    """Whether the folder holds this part, whole, as this version converts it; cheap unless files were copied."""
    marker = _read_marker(folder)
    if marker is None or marker.get("origin") != origin(part):
        return False
    files: dict[str, dict[str, Any]] = marker["files"]
    touched = [name for name, facts in files.items() if not _unchanged(folder / name, facts)]
    if not touched:
        return True
    # Copied or restored folders keep sizes but not times: then the content decides.
    if any(_differs(folder / name, files[name]) for name in touched):
        return False
    _try_to_renew(folder, part)
    return True


def damage(folder: Path, part: Part) -> list[str]:
    """What is wrong with a folder, every file hashed; empty if nothing."""
    marker = _read_marker(folder)
    if marker is None:
        return [f"{folder}: not there, or unfinished"]
    if marker.get("origin") != origin(part):
        return [f"{folder}: made from other data or by another version"]
    files: dict[str, dict[str, Any]] = marker["files"]
    return [problem for name, facts in files.items() if (problem := _differs(folder / name, facts))]


def origin(part: Part) -> dict[str, Any]:
    """What a folder is made from: it is made anew when any of this changes."""
    return {
        "part": part.name,
        "conversion": part.conversion,
        "wheel": part.wheel.requirement,
        "licence": part.wheel.licence,
        "source": part.wheel.source,
        "data": {file.path: file.sha256 for file in part.wheel.files},
    }


def _read_marker(folder: Path) -> dict[str, Any] | None:
    try:
        marker = json.loads((folder / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) and isinstance(marker.get("files"), dict) else None


def _unchanged(path: Path, facts: Mapping[str, Any]) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    return stat.st_size == facts.get("bytes") and stat.st_mtime_ns == facts.get("mtime_ns")


def _differs(path: Path, facts: Mapping[str, Any]) -> str:
    """The difference in words, or nothing."""
    try:
        if path.stat().st_size != facts.get("bytes"):
            return f"{path}: {path.stat().st_size} bytes, expected {facts.get('bytes')}"
        found = sha256_of(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return "" if found == facts.get("sha256") else f"{path}: sha256 {found}, expected {facts.get('sha256')}"


def build(folder: Path, part: Part, fill: Callable[[Path], None]) -> None:
    """Fill a new folder, mark it, and put it in its place; a folder that was there is replaced.

    Raises:
        WeightsError, OSError: whatever `fill` raises; the place is untouched then.
    """
    new = folder.with_name(f".new-{folder.name}-{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        fill(new)
        for path in _files(new):
            path.chmod(0o644)  # the safetensors writer leaves files that only their owner may read
            _sync(path)
        _write_marker(new, part)
        _put(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put(new: Path, folder: Path) -> None:
    if folder.exists():
        # rename() replaces no filled folder: step it aside first. Between the two there is none, which is safe.
        old = folder.with_name(f".old-{folder.name}-{os.getpid()}")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.rename(folder)
    _sync(folder.parent)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(MARKER))


def _write_marker(folder: Path, part: Part) -> None:
    files = {}
    for path in _files(folder):
        stat = path.stat()
        facts = {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256_of(path)}
        files[path.relative_to(folder).as_posix()] = facts
    whole = folder / f"{MARKER}.{os.getpid()}"
    whole.write_text(json.dumps({"origin": origin(part), "files": files}, indent=1) + "\n", "utf-8")
    _sync(whole)
    whole.replace(folder / MARKER)
    _sync(folder)


def _try_to_renew(folder: Path, part: Part) -> None:
    """Note the new times, so that the next check is cheap again; a read-only folder is good enough as it is."""
    try:
        _write_marker(folder, part)
    except OSError:
        return


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(home: Path) -> None:
    """Remove what killed processes left; call only under the lock."""
    for left in (*home.glob(".new-*"), *home.glob(".old-*"), *home.glob(".work-*")):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def locked(home: Path, progress: Progress, seconds: float = _LOCK_SECONDS) -> Iterator[None]:
    """One process at a time; the system releases the lock of a killed one.

    Raises:
        WeightsError: another process held it for longer than `seconds`.
    """
    home.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    with (home / ".lock").open("a") as file:
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise WeightsError(
                    f"{home / '.lock'}: another process has been converting weights for {seconds:g} s. "
                    "Wait for it or end it, then try again"
                )
            progress("wait for another process", 0.0)
            time.sleep(_POLL_SECONDS)
        yield


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def copy_files(files: Mapping[str, Path], folder: Path, progress: Progress) -> None:
    """A converter for files that need no conversion: hard links where the file system allows, copies elsewhere."""
    for index, (name, path) in enumerate(files.items()):
        try:
            os.link(path, folder / name)
        except OSError:
            shutil.copyfile(path, folder / name)
        progress(f"copy {name}", (index + 1) / len(files))
