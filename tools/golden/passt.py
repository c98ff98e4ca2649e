"""Golden numbers of PaSST: `python -m tools.golden.passt CHECKOUT` (https://github.com/kkoutini/PaSST)."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import MagicMock

from tools.golden.grids import OUT, hidden_states, mean_over_rows, module_of
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "kkoutini/PaSST 2a5c818afcc2a215b2a1aaf1ed8be71f89d43201"
ROWS, FRAMES = 12, 345


def main(checkout: Path) -> None:
    """Write tests/golden/encoders/passt.safetensors."""
    for name in ("timm", "timm.models", "timm.models._hub", "ba3l", "ba3l.ingredients", "ba3l.ingredients.ingredient"):
        sys.modules[name] = MagicMock()  # a download helper and their experiment runner
    original = module_of(checkout, "models.passt")
    model = original.PaSST(
        img_size=(128, 998), stride=(10, 10), num_classes=5, embed_dim=32, depth=2, num_heads=2, distilled=True
    )
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    golden = Golden("passt", SOURCE, shapes, [1, FRAMES, 128], config={"num_heads": 2})
    model.load_state_dict(seeded_state(shapes, golden.seed))
    picture = seeded_input(golden).transpose(1, 2)[:, None]
    states = hidden_states(model.eval().blocks, lambda: model(picture))
    states[-1] = model.norm(states[-1])
    outputs = {layer: mean_over_rows(state[:, 2:], ROWS) for layer, state in enumerate(states)}
    write(golden, outputs, OUT / "passt.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
