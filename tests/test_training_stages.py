"""What a stage of a whole run leaves behind, and what a later one finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from alm.errors import ConfigError
from tests import small_runs as runs
from training import export


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


def _llm(model: Any) -> torch.Tensor:
    weight: torch.Tensor = model.get_parameter("model.language_model.layers.2.mlp.up_proj.weight").detach()
    return weight


def test_what_an_earlier_stage_made_of_the_language_model_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.corpus(tmp_path)
    settings = runs.config(tmp_path, {"train": ["aligner", "llm"]}, {"train": ["aligner"]})
    own = runs.run(settings)
    before = _llm(own.parts[0]).clone()
    assert own.go()
    monkeypatch.setattr(export, "Run", runs.SmallRun)
    found, done = export._finished(settings, tmp_path / "run", None)
    assert done == ["stage0", "stage1"] and torch.equal(_llm(found.parts[0]), _llm(own.parts[0]))
    assert not torch.equal(_llm(found.parts[0]), before), "control: it learned"


@pytest.mark.parametrize("later", ["llm", "lora"])
def test_a_language_model_that_learns_later_stays_in_float32(tmp_path: Path, later: str) -> None:
    runs.corpus(tmp_path)
    own = runs.run(runs.config(tmp_path, {"train": ["aligner"]}, {"train": [later]}, precision="bf16"))
    assert own.go("stage0")
    kept = _llm(own.parts[0]).dtype
    assert kept == (torch.float32 if later == "llm" else torch.bfloat16)
