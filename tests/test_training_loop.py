"""A stage whose numbers are no numbers ends with a typed error before anything is learned from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.config import StageConfig
from training.loop import Log, Stage, Stop, TrainingError


class _Objective:
    """The root of one weight: finite at zero, but not its gradient."""

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight, self.extra = weight, nn.Module()

    def batch(self, step: int) -> int:
        return step

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        return self.weight.sqrt().sum(), {}

    def validate(self) -> dict[str, float]:
        return {"score": 0.0}

    def samples(self, count: int) -> list[dict[str, Any]]:
        return []


@pytest.mark.parametrize(("start", "said"), [(0.0, "gradient is inf"), (-1.0, "loss is nan"), (1.0, "")])
def test_what_is_no_number_is_not_learned_from(tmp_path: Path, start: float, said: str) -> None:
    weight = nn.Parameter(torch.tensor([start]))
    config = StageConfig("one", "language", ("llm",), steps=2, lr={"llm": 0.01}, warmup_steps=1)
    stage = Stage(nn.Module(), {"weight": weight}, config, _Objective(weight), tmp_path, Log(tmp_path / "log"), 1, 1e9)
    stage._prepare()
    if said:
        with pytest.raises(TrainingError, match=f"stage one, step 0: .*{said}"):
            stage._step(0, 0)
        assert float(weight.detach()) == start
    else:
        stage._step(0, 0)
        assert float(weight.detach()) != start, "the control: good numbers are learned from"
    assert not Stop().asked
