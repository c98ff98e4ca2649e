"""Memory of several threads."""

from __future__ import annotations

import ctypes
import os

_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's malloc.h."""


def one_arena() -> None:
    """Let all threads take memory from one place, where the C library is glibc; elsewhere nothing changes.

    glibc gives threads that allocate at the same time places of their own and keeps what each has freed for that place.
    Encoders and the preparation of windows run in threads that come and go, so the process would grow with every
    recording. `MALLOC_ARENA_MAX` in the environment goes before.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if set_option is not None and "MALLOC_ARENA_MAX" not in os.environ:
        set_option(_ARENA_MAX, 1)
