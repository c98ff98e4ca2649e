"""The stages of the batch runner on a local Ray: same rows, same resume rules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from batch_helpers import a_row, make_clips, run, write

from alm.errors import ConfigError
from serve.batch.manifest import BatchSettings, model_hashes
from serve.batch.on_ray import ray_module

TESTS = Path(__file__).parent


@pytest.mark.slow
def test_ray_answers_as_this_process_does(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'alm[ray]'")
    folder = make_clips(tmp_path)
    audios = [["clips/a.wav"], ["clips/b.wav"], ["clips/bad.wav"], []]
    rows = [a_row(i, f"Question {i}?", audios[i % 4], n=i) for i in range(30)]
    source, calm, target = write(folder, rows), folder / "calm.jsonl", folder / "out.jsonl"
    run(source, calm)
    run(source, target, settings=BatchSettings(**model_hashes("tiny", None)), limit_rows=7)

    command = [sys.executable, str(TESTS / "cli_with_double.py"), "0", "batch", str(source), str(target)]
    command += ["--engine", "ray", "--window", "4", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1 and "18 rows answered, 5 failed, 7 were done before" in done.stderr, done.stderr[-3000:]
    assert target.read_bytes() == calm.read_bytes()
    assert not (folder / "out.jsonl.spool.jsonl").exists()


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'alm\[ray\]'"):
        ray_module()
