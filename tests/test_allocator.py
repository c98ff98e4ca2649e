"""One place for the memory of all threads, where the C library can be told."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

THREADS = """
import ctypes, sys, threading
import numpy as np
from alm.allocator import one_arena
if sys.argv[1] == "one":
    one_arena()
gate = threading.Barrier(4)
def work():
    gate.wait()
    kept = [np.ones(1000) for _ in range(100)]
    gate.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
out = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, ctypes.c_void_p(out)); libc.fflush(ctypes.c_void_p(out))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
@pytest.mark.parametrize(
    ("told", "given", "one"), [("one", {}, True), ("no", {}, False), ("one", {"MALLOC_ARENA_MAX": "8"}, False)]
)
def test_threads_share_one_place(told: str, given: dict[str, str], one: bool) -> None:
    """Controls: without being told, and where the environment says otherwise, there are several."""
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}, **given}
    ran = subprocess.run([sys.executable, "-c", THREADS, told], capture_output=True, text=True, env=env, check=True)
    assert (ran.stdout.count("<heap nr=") == 1) is one
