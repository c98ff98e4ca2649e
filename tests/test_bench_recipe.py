"""Memory on paper against the tensors of a real step, and how these are counted."""

from __future__ import annotations

import pytest
import torch

from bench.live_tensors import LiveTensors
from bench.recipe import WAYS, Way, check_memory, live_bytes


def test_tensors_are_counted_from_their_making_to_their_end() -> None:
    given = torch.zeros(1000)
    with LiveTensors() as alive:
        one = given + 1
        view = one[:10]
        two = view.add_(1)  # neither is a new tensor
        del one, view, two
        assert alive.peak == 4000
        more = [given + 1, given + 2]
        del more
    assert alive.peak == 8000


def test_tensors_of_the_backward_pass_are_counted() -> None:
    weight = torch.zeros(1000, requires_grad=True)
    with LiveTensors() as alive:
        (weight * 2).sum().backward()  # type: ignore[no-untyped-call]
    assert alive.peak >= 4000 and weight.grad is not None


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_is_said_of_memory_is_enough_and_not_far_too_much(way: Way) -> None:
    found = check_memory("192 wide, 4 deep", 4, way)
    assert 0.95 < found.said / found.live < 1.7


def test_layers_that_are_computed_again_keep_less() -> None:
    """The control: the measurement tells what the reckoning is held to."""
    kept, again = (live_bytes("192 wide, 4 deep", 4, Way(again=again)) for again in (False, True))
    assert again < 0.6 * kept
