"""Speed of float32 and bfloat16 on this machine, and what `precision: auto` takes: `python -m bench.precision`."""

from __future__ import annotations

import sys

import torch

from training.precision import faster, gigaflops


def main() -> None:
    """Print both, and their ratio."""
    single, half = gigaflops(torch.float32), gigaflops(torch.bfloat16)
    taken = faster(single, half)
    sys.stdout.write(
        f"fp32 {single:6.0f} GFLOPS\nbf16 {half:6.0f} GFLOPS\nprecision: {taken} (bf16 {half / single:.2f} of fp32)\n"
    )


if __name__ == "__main__":
    main()
