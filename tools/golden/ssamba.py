"""Golden numbers of SSAMBA: `python -m tools.golden.ssamba CHECKOUT VIM`.

CHECKOUT is https://github.com/SiavashShams/ssamba and VIM https://github.com/hustvl/Vim, which it runs on; einops must
be importable (from outside this environment). Their own code runs, forward only, with the CUDA kernels replaced by the
reference functions that Vim keeps beside them.
"""

from __future__ import annotations

import sys
import tempfile
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

from tools.golden.grids import OUT, import_file, mean_over_rows, module_of
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = (
    "SiavashShams/ssamba 019b276c2cde80bb5d58f51e589eb5b441a73ead over hustvl/Vim "
    "dd0358ad1e42701f22afbefa0717cc8825cf9f45 with its reference scan"
)
PATCH, TRAINED, HEARD = 16, 160, 115
SIZE = {"embed_dim": 32, "depth": 3, "num_classes": 5, "channels": 1}


def main(checkout: Path, vim: Path) -> None:
    """Write tests/golden/encoders/ssamba.safetensors."""
    original = _original(checkout, vim)
    model = original.AMBAModel(**_arguments(TRAINED))
    shapes = {f"module.{k}": list(v.shape) for k, v in model.state_dict().items()}
    kept = {f"module.p_input_{k}": torch.tensor(v) for k, v in (("fdim", 128), ("tdim", TRAINED))}
    golden = Golden("ssamba", SOURCE, shapes, [1, HEARD, 128])
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(seeded_state(shapes, golden.seed) | kept, file.name)
        tuned = original.AMBAModel(**_arguments(HEARD), pretrain_stage=False, load_pretrained_mdl_path=file.name)
    write(golden, _outputs(tuned.eval(), seeded_input(golden)), OUT / "ssamba.safetensors", kept)


def _arguments(frames: int) -> dict[str, Any]:
    """Of a model for clips of this many frames."""
    patch = {"fshape": PATCH, "tshape": PATCH, "fstride": PATCH, "tstride": PATCH}
    return {**patch, "input_tdim": frames, "vision_mamba_config": {**SIZE, "img_size": (128, frames)}}


def _outputs(model: Any, spectrogram: Tensor) -> dict[int, Tensor]:
    """A layer gives what its mixer adds and the sum so far: what leaves it is their sum."""
    states: list[Tensor] = []
    hooks = [model.v.layers[0].register_forward_pre_hook(lambda _, inputs: states.append(inputs[0].clone()))]
    hooks += [lay.register_forward_hook(lambda _, __, out: states.append(out[0] + out[1])) for lay in model.v.layers]
    hooks.append(model.mlp_head.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0].clone())))
    with torch.no_grad():
        model(spectrogram, task="ft_avgtok")
        pooled = states.pop()
        states[-1] = model.v.norm_f(model.v.norm_f(states[-1]))
    assert torch.allclose(states[-1][:, 1:].mean(1), pooled, atol=1e-5)
    return {layer: mean_over_rows(state[:, 1:], 128 // PATCH) for layer, state in enumerate(states)}


def _original(checkout: Path, vim: Path) -> Any:
    """Their module, with the kernels' references in place of the kernels."""
    _stand_ins()
    for name in ("triton", "triton.language", "selective_scan_cuda", "causal_conv1d_cuda", "causal_conv1d"):
        sys.modules[name] = MagicMock()
    triton: Any = sys.modules["triton"]
    triton.Config = lambda *_, **__: types.SimpleNamespace(num_warps=1)
    for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton", "mamba_ssm.modules", "mamba_ssm.utils"):
        package: Any = types.ModuleType(name)
        package.__path__ = [str(vim / "mamba-1p1p1" / name.replace(".", "/"))]
        sys.modules[name] = package
    for name in ("mamba_ssm.utils.generation", "mamba_ssm.utils.hf"):
        sys.modules[name] = MagicMock()
    norms: Any = module_of(vim / "vim", "mamba_ssm.ops.triton.layer_norm")
    norms.rms_norm_fn = lambda *args, residual_in_fp32=False, **kwargs: norms.rms_norm_ref(*args, **kwargs)
    sys.modules["mamba_ssm.ops.triton.layernorm"] = norms  # the name that SSAMBA asks for
    scans: Any = module_of(vim / "vim", "mamba_ssm.ops.selective_scan_interface")
    convolutions = import_file(vim / "causal-conv1d" / "causal_conv1d" / "causal_conv1d_interface.py")
    scans.selective_scan_cuda.fwd = lambda *inputs: (None, None, scans.selective_scan_ref(*inputs))
    scans.causal_conv1d_cuda.causal_conv1d_fwd = lambda x, weight, bias, *_: convolutions.causal_conv1d_ref(
        x, weight, bias, activation="silu"
    )
    scans.MambaInnerFnNoOutProj.apply = lambda *inputs, **named: scans.MambaInnerFnNoOutProj.forward(
        MagicMock(), *inputs, **named
    )
    return import_file(checkout / "src" / "models" / "both_models.py")


def _stand_ins() -> None:
    """Of timm they use initialisers, dropped paths (nothing in evaluation) and a registry; plots are not made."""
    for name in ("timm", "timm.models", "timm.models.layers", "timm.models.registry", "timm.models.vision_transformer"):
        sys.modules[name] = MagicMock()
    layers: Any = sys.modules["timm.models.layers"]
    layers.to_2tuple = lambda value: value if isinstance(value, tuple) else (value, value)
    layers.DropPath = nn.Dropout
    for name in ("matplotlib", "matplotlib.pyplot"):
        sys.modules[name] = MagicMock()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
