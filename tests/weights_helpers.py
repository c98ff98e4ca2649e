"""A wheel and parts of our own for the weights' tests, and a process that makes them slowly, to be killed.

Run as `python -m tests.weights_helpers FOLDER WHEELS [naive]`.
"""

from __future__ import annotations

import hashlib
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

from alm.weights.catalog import DataFile, Part, Wheel
from alm.weights.progress import Progress, silent

CONTENT = {"numbers.bin": bytes(range(256)) * 400, "words.txt": b"one two three\n"}
FILES = 12


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path, content: Mapping[str, bytes] = CONTENT) -> Path:
    """A wheel of the made-up distribution `made-up`, the same bytes every time."""
    path = folder / "made_up-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as opened:
        for name, data in content.items():
            opened.writestr(zipfile.ZipInfo(f"made_up/{name}"), data)
    return path


def wheel_of(path: Path) -> Wheel:
    """The catalogue's entry for an intact made-up wheel at this path."""
    files = tuple(DataFile(f"made_up/{name}", len(data), sha256(data)) for name, data in CONTENT.items())
    return Wheel("made-up", "1.0", sha256(path.read_bytes()), "CC0-1.0", "nowhere", files)


def parts_of(wheel: Wheel, converter: str = "copied") -> list[Part]:
    """Two parts of one wheel."""
    functions = {"copied": "alm.weights.folders:copy_files", "slow": "tests.weights_helpers:convert_slowly"}
    return [Part(name, wheel, functions[converter], 1, 1000) for name in ("first", "second")]


def convert_slowly(files: Mapping[str, Path], folder: Path, progress: Progress) -> None:
    """Many files, each in two halves, with pauses to be killed in; a line in the log tells that it ran."""
    with (folder.parent / "runs.log").open("a") as log:
        log.write("run\n")
    data = files["numbers.bin"].read_bytes()
    for index in range(FILES):
        with (folder / f"part-{index:02d}.bin").open("wb") as out:
            out.write(data[: len(data) // 2])
            out.flush()
            time.sleep(0.004)
            out.write(data[len(data) // 2 :])


def main(folder: Path, wheels: Path, naive: bool) -> None:
    """Make both parts; `naive` writes straight into the place, as the control."""
    wheel = wheel_of(next(wheels.glob("*.whl")))
    parts = parts_of(wheel, "slow")
    print("ready", flush=True)
    if naive:
        for part in parts:
            (folder / part.name).mkdir(parents=True, exist_ok=True)
            source = wheels / "numbers.bin"
            source.write_bytes(CONTENT["numbers.bin"])
            convert_slowly({"numbers.bin": source}, folder / part.name, silent)
        return
    from alm.weights.making import make

    make(folder, parts, silent)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] == ["naive"])
