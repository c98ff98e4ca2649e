"""OpenBEATs: `python -m tools.golden.openbeats` where the package openbeats 0.1.1 is installed."""

from __future__ import annotations

from pathlib import Path

import torch

from tools.golden.beats import BIAS, CFG
from tools.golden.originals import installed, recorded, shapes_of, stand_in
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "package openbeats 0.1.1, beats_encoder.py"


def main(out: Path) -> None:
    """Write the outputs of all layers, all tokens; the clip's spectrogram goes in before it is normalised."""
    stand_in("torchaudio")
    original = installed("openbeats.beats_encoder")
    model = original.BeatsEncoder(0, beats_config=CFG, fbank_mean=0.0, fbank_std=0.5).eval()
    cfg = {**CFG, "fbank_mean": 0.0, "fbank_std": 0.5}
    golden = Golden("openbeats", SOURCE, shapes_of(model), (1, 180, 128), {"cfg": cfg}, {"frequency": "tokens"})
    model.load_state_dict(seeded_state(golden.shapes))
    tables = {name: tensor for name, tensor in model.state_dict().items() if name.endswith(BIAS)}
    original.freeze_conv_module(model.patch_embedding_pad)
    frames = torch.tensor([golden.input_shape[1]])
    layers = recorded(
        list(model.encoder.layers), lambda: model(seeded_input(golden), frames, waveform_input=False)
    )
    write(golden, {i: x.transpose(0, 1) for i, x in enumerate(layers)}, out, tables)


if __name__ == "__main__":
    main(Path("tests/golden/encoders/openbeats.safetensors"))
