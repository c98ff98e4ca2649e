"""Golden tensors of PANNs: `python -m tools.golden.panns CHECKOUT` (audioset_tagging_cnn; needs torchlibrosa).

The networks are the authors', with fewer channels, or up to the second block where their code fixes the channels.
Their own extractors are passed by, so that both sides hear the same random spectrogram.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.golden.originals import installed
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "qiuqiangkong/audioset_tagging_cnn d2f4b8c18eab44737fcc0de1248ae21eb43f6aa4"
FOLDER = Path("tests/golden/encoders")
FRONT_END = {"sample_rate": 32_000, "window_size": 1024, "hop_size": 320, "mel_bins": 64, "fmin": 50, "fmax": 14_000}


def narrowed(models: Any, name: str, channels: list[int]) -> Any:
    """The original network with blocks of so many channels."""
    network = getattr(models, name)(**FRONT_END, classes_num=5)
    block = type(network.conv_block1)
    for index, (before, after) in enumerate(zip([1, *channels], channels, strict=False), start=1):
        setattr(network, f"conv_block{index}", block(before, after))
    network.fc1, network.fc_audioset = torch.nn.Linear(channels[-1], 8), torch.nn.Linear(8, 5)
    return network


class Passed(torch.nn.Module):
    """In the place of a block that is not compared."""

    def forward(self, x: Tensor, pool_size: tuple[int, int], pool_type: str) -> Tensor:
        return x


def shortened(models: Any, name: str) -> Any:
    """The original network up to its second block, where both inputs have met."""
    network = getattr(models, name)(**FRONT_END, classes_num=5)
    for index in range(3, 7):
        setattr(network, f"conv_block{index}", Passed())
    network.fc1, network.fc_audioset = torch.nn.Linear(128, 8), torch.nn.Linear(8, 5)
    return network


def heard(network: Any, golden: Golden, hop: int = 0) -> dict[int, Tensor]:
    """What enters the pooling over time."""
    kept: list[Tensor] = []
    blocks = [b for n, b in network.named_children() if n.startswith("conv_block") and not isinstance(b, Passed)]
    blocks[-1].register_forward_hook(lambda module, inputs, output: kept.append(output))
    picture = seeded_input(golden)
    mel = picture[..., : golden.input_shape[2] - hop]
    network.spectrogram_extractor = network.logmel_extractor = torch.nn.Identity()
    network.logmel_extractor.register_forward_hook(lambda module, inputs, output: mel[:, None])
    with torch.no_grad():
        network(picture[:, :-1, mel.shape[2] :].flatten(1))
    return {len(blocks) - 1: kept[0].mean(3).transpose(1, 2)}


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout / "pytorch"))
    models = installed("models")
    doubled = [4 << i for i in range(6)]
    networks = {
        "panns_cnn6": narrowed(models, "Cnn6", doubled[:4]),
        "panns_cnn10": narrowed(models, "Cnn10", doubled[:4]),
        "panns_cnn14": narrowed(models, "Cnn14", doubled),
        "panns_wavegram": shortened(models, "Wavegram_Cnn14"),
        "panns_both": shortened(models, "Wavegram_Logmel_Cnn14"),
    }
    for name, network in networks.items():
        hop = FRONT_END["hop_size"] if hasattr(network, "pre_conv0") else 0
        shapes = {k: list(t.shape) for k, t in network.state_dict().items() if "_extractor." not in k}
        golden = Golden("panns", SOURCE, shapes, [2, 33 if hop else 97, 64 + hop])
        network.load_state_dict(seeded_state(shapes), strict=False)
        write(golden, heard(network.eval(), golden, hop), FOLDER / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
