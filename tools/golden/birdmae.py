"""Bird-MAE: `python -m tools.golden.birdmae CHECKOUT`, a checkout of DBD-research-group/Bird-MAE, with timm 0.9.12."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import torch

from tools.golden.grids import module_of
from tools.golden.originals import recorded, shapes_of, stand_in
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "github.com/DBD-research-group/Bird-MAE at a514ef5042b43d80d11677979586299877d6b6ed, models/mae/encoder.py"


def main(checkout: Path, out: Path) -> None:
    """Write the outputs of all layers, all patches, the last one with the encoder's norm."""
    stand_in("torchvision", "torchaudio", "lightning", "hydra", "omegaconf", "torchmetrics", "datasets", "birdset")
    sys.path.insert(0, str(checkout))  # for what it imports
    original = module_of(checkout / "models" / "mae", "encoder")
    model = original.MAE_Encoder(64, 128, 16, 1, 32, 3, 4, 1.5, None, False).eval()
    settings = {"num_heads": 4}
    golden = Golden("birdmae", SOURCE, shapes_of(model), (1, 64, 128), settings, {"frequency": "tokens"})
    model.load_state_dict(seeded_state(golden.shapes))
    picture = seeded_input(golden)[:, None]
    with patch.object(torch, "rand", lambda rows, length, **_: torch.arange(length).expand(rows, -1) / length):
        layers = recorded(list(model.blocks), lambda: model(picture, 0.0))  # nothing masked, nothing shuffled
    layers[-1] = model.norm(layers[-1])
    write(golden, {i: x[:, 1:] for i, x in enumerate(layers)}, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path("tests/golden/encoders/birdmae.safetensors"))
