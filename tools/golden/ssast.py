"""Golden numbers of SSAST, patch and frame models: `python -m tools.golden.ssast CHECKOUT`.

CHECKOUT is https://github.com/YuanGongND/ssast; timm 0.4.5 must be importable (from outside this environment).
"""

from __future__ import annotations

import sys
import tempfile
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

from tools.golden.grids import OUT, hidden_states, import_file, mean_over_rows
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "YuanGongND/ssast a1a3eecb94731e226308a6812f2fbf268d789caf, timm 0.4.5"
SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}
"""In place of the published sizes, which their code names; made by the timm that they use."""
CASES = {"ssast": (16, 16, 160, 115), "ssast-frame": (128, 2, 40, 15)}
"""Patch bins, patch frames, frames of pre-training, frames of the clip."""


def main(checkout: Path) -> None:
    """Write tests/golden/encoders/ssast.safetensors and ssast-frame.safetensors."""
    stand_ins()
    original: Any = import_file(checkout / "src" / "models" / "ast_models.py")
    made = original.timm.models.vision_transformer.DistilledVisionTransformer
    original.timm.create_model = lambda *_, **__: made(**SMALL)
    for name, (bins, frames, trained, heard) in CASES.items():
        patch = {"fshape": bins, "tshape": frames, "fstride": bins, "tstride": frames}
        model = original.ASTModel(**patch, input_tdim=trained, model_size="tiny")
        shapes = {f"module.{k}": list(v.shape) for k, v in model.state_dict().items()}
        kept = {f"module.p_input_{k}": torch.tensor(v) for k, v in (("fdim", 128), ("tdim", trained))}
        golden = Golden("ssast", SOURCE, shapes, [1, heard, 128], config={"num_heads": 2})
        state = seeded_state(shapes, golden.seed) | kept
        with tempfile.NamedTemporaryFile(suffix=".pth") as file:
            torch.save(state, file.name)
            tuned = original.ASTModel(
                **patch, input_tdim=heard, model_size="tiny", pretrain_stage=False, load_pretrained_mdl_path=file.name
            )
        write(golden, _outputs(tuned.eval(), seeded_input(golden), 128 // bins), OUT / f"{name}.safetensors", kept)


def _outputs(model: Any, spectrogram: Tensor, rows: int) -> dict[int, Tensor]:
    """Their forward pass wants the head's result; the blocks are listened to."""
    states = hidden_states(model.v.blocks, lambda: model(spectrogram, task="ft_avgtok"))
    states[-1] = model.v.norm(states[-1])
    return {layer: mean_over_rows(state[:, 2:], rows) for layer, state in enumerate(states)}


def stand_ins() -> None:
    """timm 0.4.5 asks for a name that today's torch has not; plots and image transforms are not run."""
    six = types.ModuleType("torch._six")
    six.container_abcs = types.SimpleNamespace(Iterable=Iterable)  # type: ignore[attr-defined]
    sys.modules["torch._six"] = six
    for name in ("matplotlib", "matplotlib.pyplot", "torchvision", "torchvision.transforms"):
        sys.modules[name] = MagicMock()
    sys.modules["torchvision.transforms.functional"] = MagicMock()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
