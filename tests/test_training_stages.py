"""What a stage of a whole run leaves behind, and what a later one finds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alm.errors import ConfigError
from tests import small_runs as runs


def _stage(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "run" / "stages" / name / "model.safetensors")


def test_without_rows_to_validate_by_the_last_weights_are_kept(tmp_path: Path) -> None:
    """A longer stage leaves other weights than a shorter one, though nothing tells which are better."""
    runs.corpus(tmp_path, dev=False)
    ends = {}
    for steps in (2, 6):
        own = runs.run(runs.config(tmp_path, {"steps": steps, "schedule": "constant"}, out=str(tmp_path / f"{steps}")))
        assert own.go()
        assert "stage stage0: no rows of split `dev` to validate by; the last weights are kept" in own.said
        ends[steps] = load_file(tmp_path / f"{steps}" / "stages" / "stage0" / "model.safetensors")
    assert not all(torch.equal(ends[2][n], t) for n, t in ends[6].items())


def test_with_rows_to_validate_by_the_best_weights_are_kept(tmp_path: Path) -> None:
    runs.corpus(tmp_path)
    own = runs.run(runs.config(tmp_path, {"steps": 4}))
    assert own.go()
    best, kept = _stage(tmp_path, "stage0-best"), _stage(tmp_path, "stage0")
    assert all(torch.equal(best[n], t) for n, t in kept.items())
    assert not any("no rows" in line for line in own.said)


def test_patience_needs_rows_to_validate_by(tmp_path: Path) -> None:
    runs.corpus(tmp_path, dev=False)
    with pytest.raises(ConfigError, match="stage stage0: no rows of split `dev`.*patience is 2"):
        runs.run(runs.config(tmp_path, {"patience": 2})).go()
