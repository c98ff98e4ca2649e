"""Memory of the tensors that are alive at once: what a step needs, whatever an allocator keeps on top."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Counts bytes of tensors made inside, forward and backward, from their making to their end.

    The process itself grows by more: libraries have working memory of their own, and blocks that were freed are not
    always given back.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        """Most bytes at once."""
        self._now = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before = {_place(t) for t in _tensors((args, kwargs))}  # a view or a result in place is nothing new
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            if (place := _place(tensor)) not in before and place not in self._sizes:
                storage = tensor.untyped_storage()
                self._sizes[place] = storage.nbytes()
                self._now += storage.nbytes()
                weakref.finalize(storage, self._gone, place)
        self.peak = max(self.peak, self._now)
        return out

    def _gone(self, place: int) -> None:
        self._now -= self._sizes.pop(place, 0)


def _tensors(values: Any) -> list[Tensor]:
    return [v for v in tree_leaves(values) if isinstance(v, Tensor)]


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
