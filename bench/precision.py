"""Which `precision` a training run should have on this machine: `python -m bench.precision`.

Multiplies matrices of the embedded default's sizes (`[2000, 576] x [576, 1536]`) in float32 and bfloat16.
"""

from __future__ import annotations

import sys
import time

import torch

ROWS, WIDTH, INNER = 2000, 576, 1536
WARM_UP, TIMES = 5, 50


def gigaflops(dtype: torch.dtype) -> float:
    """Billions of operations a second."""
    left, right = torch.randn(ROWS, WIDTH).to(dtype), torch.randn(WIDTH, INNER).to(dtype)
    for _ in range(WARM_UP):
        left @ right
    started = time.perf_counter()
    for _ in range(TIMES):
        left @ right
    return TIMES * 2 * ROWS * WIDTH * INNER / (time.perf_counter() - started) / 1e9


def main() -> None:
    """Print both, and their ratio."""
    speeds = {name: gigaflops(dtype) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    lines = [f"{name} {speed:6.0f} GFLOPS" for name, speed in speeds.items()]
    lines.append(
        f"precision: {max(speeds, key=lambda n: speeds[n])} (bf16 {speeds['bf16'] / speeds['fp32']:.2f} of fp32)"
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
