"""The README's marked blocks are executed as they stand, in a folder with the files that they name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"<!-- executed by tests/test_readme.py -->\n```(\w+)\n(.*?)```", re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and source of each marked block."""
    return BLOCK.findall(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recordings and questions that the README names."""
    made = tmp_path_factory.mktemp("readme")
    time = np.arange(3 * 16_000) / 16_000
    for name, pitch, level in (("clip", 440, 0.3), ("first", 880, 0.05), ("second", 220, 0.5)):
        soundfile.write(made / f"{name}.wav", level * np.sin(2 * np.pi * pitch * time), 16_000)
    rows = re.findall(r"```json\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (made / "questions.jsonl").write_text("".join(json.dumps(json.loads(row)) + "\n" for row in rows))
    return made


def execute(language: str, source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block with this environment's commands first on the path; bash stops at the first failure.

    What a block has started in the background ends with it.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = {
        "bash": ["bash", "-euo", "pipefail", "-c", f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{source}"],
        "python": [sys.executable, "-c", source],
    }[language]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=280
    )


def test_the_readme_has_marked_blocks_and_begins_with_the_two_commands() -> None:
    text = README.read_text(encoding="utf-8")
    assert {"bash", "python"} == {language for language, _ in blocks(text)}
    assert len(blocks(text)) >= 4
    first = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert first and re.findall(r"^(make \w+)", first[1], re.MULTILINE) == ["make run", "make test"]


def test_a_failing_block_is_seen(tmp_path: Path) -> None:
    assert execute("bash", "false\ntrue", tmp_path).returncode != 0
    assert execute("python", "import no_such_module", tmp_path).returncode != 0


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("number", range(len(blocks(README.read_text(encoding="utf-8")))))
def test_a_block_of_the_readme_runs(number: int, folder: Path) -> None:
    language, source = blocks(README.read_text(encoding="utf-8"))[number]
    done = execute(language, source, folder)
    assert done.returncode == 0, f"{source}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    if "answers.jsonl" in source:
        rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
        assert rows and all(row["answer"] for row in rows)
