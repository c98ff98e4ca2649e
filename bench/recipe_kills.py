"""Builds a recipe, builds it again, and once more killed at random moments; compares all bytes of the three.

    python -m bench.recipe_kills default --root . --work FOLDER [--kills 10] [--seconds SECONDS]

FOLDER takes three builds and can be removed afterwards. Moments are drawn from the first build's length, or from
SECONDS; a build that is done before its moment begins anew, so that as many kills as asked for hit one.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

MOMENTS = ((0.5, 1.0), (0.0, 0.3))
"""Parts of a build's length that moments are drawn from in turn: late ones reach all steps, early ones hit builds that
go on."""


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but what a build keeps for itself."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".work" not in path.parts:
            with path.open("rb") as stream:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.0)
    given = parser.parse_args()

    def start(out: str) -> subprocess.Popen[bytes]:
        code = "from alm.cli import app_main; app_main()"
        command = [sys.executable, "-c", code, "data", "build", given.recipe, "--root", str(given.root)]
        return subprocess.Popen([*command, "--out", str(given.work / out)], stderr=subprocess.DEVNULL)

    started = time.monotonic()
    if start("first").wait():
        sys.exit("the build failed; run it alone to see why")
    whole = time.monotonic() - started
    start("second").wait()
    first = tree(given.work / "first")
    say(f"first build {whole:.0f} s, {len(first)} files; second equal: {tree(given.work / 'second') == first}")
    rng, killed, whole = random.Random(0), 0, given.seconds or whole
    while killed < given.kills:
        process = start("killed")
        try:
            low, high = MOMENTS[killed % len(MOMENTS)]
            process.wait(rng.uniform(low * whole, high * whole))
            shutil.rmtree(given.work / "killed")  # it was done before it could be killed: begin anew
            say("done before it was killed; begun anew")
            continue
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        tars = len(list((given.work / "killed").rglob("*.tar")))
        steps = len(list((given.work / "killed").rglob("done.json")))
        say(f"killed {killed} times; {steps} units and {tars} shards are there")
    start("killed").wait()
    say(f"after {killed} kills equal: {tree(given.work / 'killed') == first}")


if __name__ == "__main__":
    main()
