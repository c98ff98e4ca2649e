"""AudioMAE: `python -m tools.golden.audiomae CHECKOUT`, a checkout of github.com/facebookresearch/AudioMAE.

It wants timm 0.3.2, patched as the checkout's timm_patch.sh says.
"""

from __future__ import annotations

import collections.abc
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn

from tools.golden.grids import module_of
from tools.golden.originals import recorded, shapes_of, stand_in
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "github.com/facebookresearch/AudioMAE at bd60e29651285f80d32a6405082835ad26e6f19f, models_mae.py"


def main(checkout: Path, out: Path) -> None:
    """Write the outputs of all layers, all patches, the last one with the encoder's norm."""
    stand_in("torchvision", "torchaudio")
    np.float = float  # type: ignore[attr-defined]  # old names that the original uses, here and below
    sys.modules["torch._six"] = ModuleType("torch._six")
    sys.modules["torch._six"].__dict__.update(inf=torch.inf, container_abcs=collections.abc)
    original = module_of(checkout, "models_mae")
    model = original.MaskedAutoencoderViT(
        (64, 128),
        in_chans=1,
        embed_dim=32,
        depth=3,
        num_heads=4,
        decoder_embed_dim=16,
        decoder_depth=1,
        decoder_num_heads=2,
        mlp_ratio=1.5,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        audio_exp=True,
        contextual_depth=1,
    ).eval()
    settings = {"args": {"num_heads": 4}}
    golden = Golden("audiomae", SOURCE, shapes_of(model), (1, 64, 128), settings, {"frequency": "tokens"})
    model.load_state_dict(seeded_state(golden.shapes))
    picture = seeded_input(golden)[:, None]
    layers = recorded(list(model.blocks), lambda: model.forward_encoder_no_mask(picture))
    layers[-1] = model.norm(layers[-1])
    write(golden, {i: x[:, 1:] for i, x in enumerate(layers)}, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path("tests/golden/encoders/audiomae.safetensors"))
