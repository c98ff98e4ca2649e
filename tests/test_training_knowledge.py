"""Evidence of training rows: how the own tag head and one that never saw the source are weighed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from alm.evidence import Sounds, Tag
from training.config import EvidenceConfig
from training.knowledge import Blend, fold_of, share_named
from training.sounds import Sound


class Fixed(nn.Module):
    """A head that always says the same."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, heard: object) -> Tensor:
        return torch.full((2, 3), self.logit)


@pytest.mark.parametrize(("weight", "wanted"), [(0.0, -4.0), (1.0, 2.0), (0.25, -2.5)])
def test_blend_weighs_the_first_head(weight: float, wanted: float) -> None:
    said = Blend(Fixed(2.0), Fixed(-4.0), weight)({})
    assert torch.equal(said, torch.full((2, 3), wanted))


def test_neither_head_alone_makes_the_evidence() -> None:
    assert 0.0 < EvidenceConfig().own < 1.0


def test_a_source_is_always_in_the_same_fold() -> None:
    folds = {name: fold_of(name, 4) for name in ("a", "b", "c", "d", "e", "f")}
    assert {fold_of(f"{n}+z", 4) for n in folds} == set(folds.values())
    assert all(fold_of(f"{n}+z", 4) == fold for n, fold in folds.items())
    assert len(set(folds.values())) > 1, "control: sources are spread"


def test_share_named_counts_events_and_guesses() -> None:
    def sound(path: str, *classes: str) -> Sound:
        return Sound(Path(path), classes, "", "source", "train", len(classes) == 1)

    found = {"a": Sounds((Tag("dog bark", 0.0, 1.0, 0.9),), ("bell",)), "b": Sounds((), ("cat meow",))}
    assert share_named(found, [sound("a", "dog bark"), sound("b", "cat meow")]) == 1.0
    assert share_named(found, [sound("a", "dog bark", "rain")]) == 0.5
    assert share_named(found, [sound("b", "dog bark"), sound("unknown", "bell")]) == 0.0
