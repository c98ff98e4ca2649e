"""Keys and values of the last prompts and answers: a later turn or another question reads only what is new."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from alm.fusion import FusionCache
from alm.fusion.cache_rows import size_of
from alm.prefix import shared_length


class PrefixCache:
    """The caches of single rows by [`position_keys`](alm.prefix.position_keys), at most so many bytes of them.

    May be shared by threads. What is kept is never changed: whoever finds it goes on with a copy.
    """

    def __init__(self, config: Any, most_bytes: int = 512 * 2**20) -> None:
        self._config, self._most = config, most_bytes
        self._turn = threading.Lock()
        self._held: OrderedDict[tuple[int, ...], FusionCache] = OrderedDict()

    def find(self, keys: Sequence[int], ids: Sequence[int]) -> tuple[FusionCache | None, int]:
        """A cache to go on from, and how many positions of the prompt it holds; the kept one stays whole."""
        best, longest = None, 0
        with self._turn:
            for known in self._held:
                if (shared := shared_length(keys, known, ids, self._config)) > longest:
                    best, longest = known, shared
            if best is None:
                return None, 0
            self._held.move_to_end(best)
            cache = self._held[best].copied()
        cache.crop(longest - cache.positions)
        return cache, longest

    def keep(self, keys: Sequence[int], cache: FusionCache) -> None:
        """Remember a single row's cache; the ones that were not used for longest make room."""
        known = tuple(keys[: cache.positions])
        with self._turn:
            for old in [k for k in self._held if k == known[: len(k)]]:
                del self._held[old]
            self._held[known] = cache
            while len(self._held) > 1 and sum(map(size_of, self._held.values())) > self._most:
                self._held.popitem(last=False)
