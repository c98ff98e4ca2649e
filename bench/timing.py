"""How long something takes on the processor, and a training step to take the time of."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def best_time(run: Callable[[], None], times: int) -> float:
    """Processor seconds of the fastest of `times` calls, after a first one that does not count."""
    spent = []
    for _ in range(times + 1):
        started = time.process_time()
        run()
        spent.append(time.process_time() - started)
    return min(spent[1:])


def training_step(learning: Sequence[nn.Parameter], loss: Callable[[], Tensor]) -> Callable[[], None]:
    """Forward, backward and AdamW; the first call makes the optimizer's state."""
    optimizer = torch.optim.AdamW(learning, lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return step
