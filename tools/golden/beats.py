"""BEATs: `python -m tools.golden.beats CHECKOUT`, a checkout of github.com/microsoft/unilm."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.golden.grids import module_of
from tools.golden.originals import recorded, shapes_of, stand_in
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "github.com/microsoft/unilm at 768a3c873f598bb9b4d4dfb9267b099e35f8fe56, beats/BEATs.py"
CFG = {
    "input_patch_size": 16,
    "embed_dim": 16,
    "conv_bias": False,
    "encoder_layers": 3,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "deep_norm": True,
    "conv_pos": 32,
    "conv_pos_groups": 8,
    "relative_position_embedding": True,
    "num_buckets": 32,
    "max_distance": 60,
    "gru_rel_pos": True,
}
"""As in the released files but for the sizes; 88 tokens meet exact, logarithmic and capped distances."""
BIAS = "self_attn.relative_attention_bias.weight"


def main(checkout: Path, out: Path) -> None:
    """Write the outputs of all layers, all tokens."""
    stand_in("torchaudio")
    original = module_of(checkout / "beats", "BEATs")
    model = original.BEATs(original.BEATsConfig(CFG)).eval()
    golden = Golden("beats", SOURCE, shapes_of(model), (1, 180, 128), {"cfg": CFG}, {"frequency": "tokens"})
    model.load_state_dict(seeded_state(golden.shapes))
    # All layers share one table under several names, which a seed made from the name does not give.
    tables = {name: tensor for name, tensor in model.state_dict().items() if name.endswith(BIAS)}
    model.preprocess = lambda source, **_: source
    layers = recorded(list(model.encoder.layers), lambda: model.extract_features(seeded_input(golden)))
    write(golden, {i: x.transpose(0, 1) for i, x in enumerate(layers)}, out, tables)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path("tests/golden/encoders/beats.safetensors"))
