"""Golden tensors of Microsoft's CLAP: `python -m tools.golden.msclap CHECKOUT` (microsoft/CLAP; needs torchlibrosa).

The towers are the authors', small; their extractors are passed by, so that both sides hear the same spectrogram.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.golden.originals import installed
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "microsoft/CLAP e8a6467b87cd85716e20c6a008126150d9740be0"
FOLDER = Path("tests/golden/encoders")
FRAMES = 241


def passed_by(tower: Any, picture: Tensor) -> None:
    tower.spectrogram_extractor = tower.logmel_extractor = torch.nn.Identity()
    tower.logmel_extractor.register_forward_hook(lambda module, inputs, output: picture[:, None])


def keep(tower: Any, prefix: str, config: dict[str, Any], bins: int) -> tuple[Golden, Tensor]:
    """The record of a tower, whose weights are set from the seed, and its input."""
    state = {k: t for k, t in tower.state_dict().items() if "_extractor." not in k}
    made = [k for k in state if not k.endswith(("attn_mask", "relative_position_index"))]
    shapes = {prefix + k: list(state[k].shape) for k in made}
    golden = Golden("msclap", SOURCE, shapes, [2, FRAMES, bins], config=config)
    seeded = seeded_state(shapes)
    tower.load_state_dict({k: seeded[prefix + k] for k in made}, strict=False)
    picture = seeded_input(golden)
    passed_by(tower.eval(), picture)
    return golden, picture


def htsat(models: Any) -> None:
    """HTSAT with two stages of one block."""
    settings = models.htsat.config
    settings.mel_bins = 16
    tower = models.htsat.HTSAT_Swin_Transformer(
        spec_size=64, embed_dim=16, depths=[1, 2], num_heads=[2, 4], config=settings, num_classes=5
    )
    golden, picture = keep(tower, "audio_encoder.base.htsat.", {"max_frames": FRAMES}, 16)
    kept: list[Tensor] = []
    tower.tscam_conv.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    with torch.no_grad():
        tower(picture)
    state = tower.state_dict()
    indices = {f"audio_encoder.base.htsat.{k}": t.short() for k, t in state.items() if k.endswith("position_index")}
    write(golden, {2: kept[0].mean(2).transpose(1, 2)}, FOLDER / "msclap_htsat.safetensors", indices)


def cnn14(models: Any) -> None:
    """CNN14 with few channels."""
    tower = models.audio.Cnn14(44_100, 1024, 320, 64, 50, 14_000, 5, 8)
    channels = [1, *(4 << i for i in range(6))]
    for index in range(6):
        setattr(tower, f"conv_block{index + 1}", models.audio.ConvBlock(channels[index], channels[index + 1]))
    tower.fc1 = torch.nn.Linear(channels[-1], 8)
    golden, picture = keep(tower, "audio_encoder.base.", {}, 64)
    kept: list[Tensor] = []
    tower.conv_block6.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        tower(picture)
    write(golden, {5: kept[0].mean(3).transpose(1, 2)}, FOLDER / "msclap_cnn14.safetensors")


def main(checkout: Path) -> None:
    models = types.ModuleType("clap_models")  # the package itself wants torchaudio
    models.__path__ = [str(checkout / "msclap" / "models")]
    sys.modules["clap_models"] = models
    installed("clap_models.htsat")
    installed("clap_models.audio")
    htsat(models)
    cnn14(models)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
