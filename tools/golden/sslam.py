"""SSLAM: `python -m tools.golden.sslam CHECKOUT`, a checkout of github.com/ta012/SSLAM, with timm 0.9.12."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.golden import eat

SOURCE = (
    "github.com/ta012/SSLAM at 0a3c0fff01d7c3024c0a3bc4f9d5900801152e45, SSLAM_Inference/models/EAT_pretraining.py"
)

if __name__ == "__main__":
    eat.main(
        Path(sys.argv[1]) / "SSLAM_Inference", Path("tests/golden/encoders/sslam.safetensors"), "sslam", SOURCE
    )
