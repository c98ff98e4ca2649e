"""Golden numbers of CED: `python -m tools.golden.ced CHECKOUT` (https://github.com/RicherMans/CED).

einops and loguru must be importable (from outside this environment). Their code is GPL-3.0: it is run, not kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from tools.golden.grids import OUT, hidden_states, mean_over_rows, module_of
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "RicherMans/CED 60a0f54214ea619265e16ee257925158be2675fd"
ROWS, FRAMES = 4, 333


def main(checkout: Path) -> None:
    """Write tests/golden/encoders/ced.safetensors."""
    for name in ("torchaudio", "torchaudio.transforms"):
        sys.modules[name] = MagicMock()  # the spectrogram has a comparison of its own
    original: Any = module_of(checkout, "models.audiotransformer")
    original.FrontEnd = MagicMock(return_value=None)
    model = original.AudioTransformer(outputdim=5, embed_dim=32, depth=2, num_heads=2, pooling="mean")
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    golden = Golden("ced", SOURCE, shapes, [1, FRAMES, 64], config={"num_heads": 2})
    model.load_state_dict(seeded_state(shapes, golden.seed))
    picture = seeded_input(golden).transpose(1, 2)
    states = hidden_states(model.eval().blocks, lambda: model.forward_spectrogram(picture))
    states[-1] = model.norm(states[-1])
    outputs = {layer: mean_over_rows(state, ROWS) for layer, state in enumerate(states)}
    write(golden, outputs, OUT / "ced.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
