"""Several encoders at the same time, where nothing is to be learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def side_by_side(work: Callable[[str], T], names: Iterable[str]) -> dict[str, T]:
    """What `work` gives for each name, in their order; without gradients on the CPU, each in a thread of its own.

    With gradients they run one after the other: autograd's and autocast's modes belong to a thread. So they do where a
    GPU queues the work anyway.
    """
    wanted = list(names)
    if len(wanted) < 2 or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.cuda.is_available():
        return {name: work(name) for name in wanted}
    threads, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()

    def apart(name: str) -> T:
        torch.set_num_threads(threads)  # kernels ask for the number of the thread that calls them
        with torch.inference_mode(inference), torch.no_grad():
            return work(name)

    with ThreadPoolExecutor(len(wanted) - 1) as pool:
        others = {name: pool.submit(apart, name) for name in wanted[1:]}
        found = {wanted[0]: apart(wanted[0])}
        return found | {name: done.result() for name, done in others.items()}
