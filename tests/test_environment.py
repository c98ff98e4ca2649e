"""The script that makes the environment: when it has work, what it shows, and how it fails."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools import environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    return tmp_path


def test_an_environment_without_stamp_has_work(folder: Path) -> None:
    assert not environment.stands(folder, "")


@pytest.mark.parametrize(
    ("stamped", "asked", "stands"),
    [("base", "", True), ("dev", "dev", True), ("dev", "", True), ("base", "dev", False)],
)
def test_a_stamp_counts_for_as_much_as_was_installed(
    folder: Path, stamped: str, asked: str, stands: bool
) -> None:
    stamp = environment.wanted_stamp("" if stamped == "base" else stamped)
    (folder / f".alm-{stamped}").write_text(stamp)
    assert environment.stands(folder, asked) is stands


def test_a_changed_set_or_lost_interpreter_has_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".alm-dev").write_text(environment.wanted_stamp("dev"))
    assert environment.stands(folder, "dev")
    monkeypatch.setenv("TORCH_INDEX_URL", "https://example.org/cpu")
    assert not environment.stands(folder, "dev")
    monkeypatch.delenv("TORCH_INDEX_URL")
    (folder / "bin" / "python").unlink()
    assert not environment.stands(folder, "dev")


def test_large_downloads_are_announced_on_a_plain_stream(capsys: pytest.CaptureFixture[str]) -> None:
    progress = environment.Progress()
    for line in (
        "Collecting torch==2.13.0 (from -c constraints.txt)",
        "  Downloading some/where/torch-2.13.0-cp311-cp311-linux_x86_64.whl (190.1 MB)",
        "Collecting tiny",
        "  Downloading tiny-1.0-py3-none-any.whl (12 kB)",
        "Installing collected packages: torch, tiny",
    ):
        progress.read(line)
    shown = capsys.readouterr().err
    assert "downloading torch (190.1 MB)" in shown
    assert "unpacking 2 packages" in shown
    assert "12 kB" not in shown


def test_a_failing_pip_leaves_its_words_and_a_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(command: list[str], log_path: Path) -> int:
        return real(
            [sys.executable, "-c", "print('No matching distribution'); raise SystemExit(1)"], log_path
        )

    real = environment.run_shown
    monkeypatch.setattr(environment, "run_shown", failing)
    with pytest.raises(SystemExit) as left:
        environment.install(folder / "bin" / "python", folder, "dev")
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert "No matching distribution" in said and "network" in said


@pytest.mark.parametrize("limit", ["OLDEST_PYTHON = (99, 0)", "TOO_NEW_PYTHON = (3, 0)"])
def test_an_unfit_python_is_told_what_to_do(tmp_path: Path, limit: str) -> None:
    script = tmp_path / "unfit.py"
    script.write_text(
        f"import sys\nfrom tools import environment\nenvironment.{limit}\nenvironment.main()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=environment.ROOT,
        env={"PYTHONPATH": str(environment.ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "does not fit" in done.stderr and "make PYTHON=" in done.stderr


def test_the_script_and_the_package_agree_on_pythons() -> None:
    project = tomllib.loads((environment.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest, too_new = (
        "{}.{}".format(*pair) for pair in (environment.OLDEST_PYTHON, environment.TOO_NEW_PYTHON)
    )
    assert project["requires-python"] == f">={oldest},<{too_new}"


def test_what_a_first_answer_imports_is_compiled_whatever_the_shell_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some_module.py").write_text("VALUE = 1\n")
    (tmp_path / "broken_module.py").write_text("import no_such_module\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    subprocess.run([sys.executable, "-c", "import some_module"], check=True)
    assert not (tmp_path / "__pycache__").exists(), "control: the shell forbids it"
    environment.compile_ahead(Path(sys.executable), ["some_module"])
    assert list((tmp_path / "__pycache__").glob("some_module.*.pyc"))
    with pytest.raises(SystemExit):
        environment.compile_ahead(Path(sys.executable), ["broken_module"])
    assert "no_such_module" in capsys.readouterr().err
