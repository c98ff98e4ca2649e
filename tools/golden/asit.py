"""Golden numbers of ASiT: `python -m tools.golden.asit CHECKOUT` (https://github.com/fschmid56/PretrainedSED).

Two files: positions stretched as ASiT means it (time first), and as PretrainedSED's wrapper does (axes swapped).
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from torch import nn

from tools.golden.grids import OUT, hidden_states, module_of
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "fschmid56/PretrainedSED 1aa47e482f7e89904cba2338999345025d8b4e36, models/asit"
ROWS = 8
CASES = {"asit": ([592, 128], 592, ""), "asit-stretched": ([592, 128], 440, ""), "asit-swapped": ([128, 592], 440, "x")}
"""Size of the table, frames of the clip, and a head where the file is fine-tuned."""


def main(checkout: Path) -> None:
    """Write tests/golden/encoders/asit*.safetensors."""
    original = module_of(checkout, "models.asit.vision_transformer")
    for name, (size, frames, tuned) in CASES.items():
        model = original.VisionTransformer(
            audio_size=size,
            patch_size=[16, 16],
            in_chans=1,
            embed_dim=32,
            depth=2,
            num_heads=2,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
        shapes = {f"model.{key}": list(tensor.shape) for key, tensor in model.state_dict().items()}
        heads = {"strong_head.bias": [3]} if tuned else {}
        golden = Golden("asit", SOURCE, {**shapes, **heads}, [1, frames, 128], config={"num_heads": 2})
        state = seeded_state(shapes, golden.seed)
        model.load_state_dict({key.removeprefix("model."): tensor for key, tensor in state.items()})
        picture = seeded_input(golden).transpose(1, 2)[:, None]
        states = hidden_states(model.eval().blocks, partial(model, picture))
        states[-1] = model.norm(states[-1])
        outputs = {layer: state[:, 1:].unflatten(1, (-1, ROWS)).mean(2) for layer, state in enumerate(states)}
        write(golden, outputs, OUT / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
