"""Golden numbers of Dasheng: `python -m tools.golden.dasheng CHECKOUT` (https://github.com/XiaoMi/dasheng).

einops must be importable (from outside this environment).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import nn

from tools.golden.grids import OUT, hidden_states, module_of
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "XiaoMi/dasheng 711a6da7787b140a3fabad12ee5d6c3706ba5df5"
FRAMES = 203


def main(checkout: Path) -> None:
    """Write tests/golden/encoders/dasheng.safetensors."""
    for name in ("torchaudio", "torchaudio.transforms"):
        sys.modules[name] = MagicMock()  # the spectrogram has a comparison of its own
    package: Any = types.ModuleType("dasheng")  # theirs asks for the version of an installed package
    package.__path__ = [str(checkout / "dasheng")]
    sys.modules["dasheng"] = package
    transforms: Any = sys.modules["torchaudio"].transforms
    transforms.MelSpectrogram = transforms.AmplitudeToDB = lambda **_: nn.Identity()
    torch.Callable = Callable  # type: ignore[attr-defined]  # an annotation of theirs
    original = module_of(checkout, "dasheng.pretrained.pretrained")
    model = original.Dasheng(embed_dim=32, depth=2, num_heads=2)
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    golden = Golden("dasheng", SOURCE, shapes, [1, FRAMES, 64], settings={"config": {"num_heads": 2}})
    model.load_state_dict(seeded_state(shapes, golden.seed))
    picture = model.eval().init_bn(seeded_input(golden).transpose(1, 2)[:, None])
    states = hidden_states(model.blocks, lambda: model.forward_spectrogram(picture))
    states[-1] = model.norm(states[-1])
    write(golden, dict(enumerate(states)), OUT / "dasheng.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
