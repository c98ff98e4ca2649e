"""The comparison of fusion schemes: runs that differ in the door alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from alm.configuration import FusionConfig
from alm.errors import ConfigError
from training.compare import VARIANTS, chosen, with_fusion
from training.config import load_config

SCHEMES = Path(__file__).parents[1] / "training" / "configs" / "schemes.yaml"


def test_compared_runs_differ_in_their_door_alone() -> None:
    config = load_config(SCHEMES)
    made = [with_fusion(config, v) for v in chosen([])]
    doors = [m.model["branches"][0]["fusion"] for m in made]
    assert [FusionConfig(**d).scheme for d in doors] == [v.fusion["scheme"] for v in VARIANTS]
    assert len({str(d) for d in doors}) == len(VARIANTS)
    for run in made:
        run.model["branches"][0].pop("fusion")
    assert all(m == made[0] for m in made)
    with pytest.raises(ConfigError, match="no variant 'deep'"):
        chosen(["deep"])
