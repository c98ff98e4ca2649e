"""Golden tensors of DCLS ConvNeXt: `python -m tools.golden.dcls_convnext CHECKOUT` (DCLS-Audio; needs dcls).

timm's three names that the file imports are stood in for.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import torch
from torch import Tensor, nn

from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "K-H-Ismail/DCLS-Audio e139018634fc39b60102e46bb9baffb7b5a95396"
FOLDER = Path("tests/golden/encoders")
MEAN, DEVIATION = -18.2696, 30.5735


def stand_ins() -> None:
    for name, content in (
        ("timm", {}),
        ("timm.models", {}),
        ("timm.models.layers", {"DropPath": nn.Identity, "trunc_normal_": nn.init.trunc_normal_}),
        ("timm.models.registry", {"register_model": lambda build: build}),
    ):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)


def main(checkout: Path, placed: bool) -> None:
    spec = importlib.util.spec_from_file_location("convnext", checkout / "models" / "convnext.py")
    assert spec is not None and spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    network = code.ConvNeXt(depths=[1, 2, 1, 1], dims=[4, 8, 16, 32], num_classes=5)
    if placed:
        network = code.replace_depthwise_dcls(network, dilated_kernel_size=9, kernel_count=5, version="gauss")
    network.downsample_layers[0][0] = nn.Conv2d(1, 4, (2, 16), (2, 16))
    shapes = {k: list(t.shape) for k, t in network.state_dict().items()}
    config = {"mel_bins": 32, **({"kernel_size": 9} if placed else {})}
    golden = Golden("dcls_convnext", SOURCE, shapes, [2, 300, 32], config=config)
    state = seeded_state(shapes)
    # The blocks of a stage share their places: the last one written is what all of them have.
    network.load_state_dict(state)
    shared = {k: t for k, t in network.state_dict().items() if k.endswith((".P", ".SIG"))}
    kept: list[Tensor] = []
    network.stages[-1].register_forward_hook(lambda module, inputs, output: kept.append(output))
    picture = (seeded_input(golden).transpose(1, 2)[:, None] - MEAN) / DEVIATION
    with torch.no_grad():
        network.eval()(picture)
        last = network.norm(kept[0].mean(2).transpose(1, 2))
    name = "dcls_convnext" if placed else "dcls_convnext_plain"
    write(golden, {4: last}, FOLDER / f"{name}.safetensors", shared)


if __name__ == "__main__":
    stand_ins()
    for with_places in (True, False):
        main(Path(sys.argv[1]), with_places)
