"""Golden tensors of VATT's audio tower: `python -m tools.golden.vatt CHECKOUT` (google-research; needs TensorFlow).

Besides the numbers it writes the same weights as a TensorFlow checkpoint, under the names that the authors' files have
(vatt/utils/train/restore.py).
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.golden.originals import installed
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "google-research/google-research vatt/modeling: autx1d.py at 35a5be244885, transformers.py at 222560a98970"
FOLDER = Path("tests/golden/encoders")
BASE, END = "model/layer_with_weights-0/_base_layer/aud_backbone/_base/", "/.ATTRIBUTES/VARIABLE_VALUE"
DIM, LAYERS, FFN, PATCHES, SAMPLES = 32, 2, 48, 12, 16


def variables(tower: Any) -> dict[str, Any]:
    """Variables of the original by their paths in its checkpoints."""
    found = {
        "agg_embedding": tower.agg_token_embd,
        "pos_embedding_lookup/temporal_position_embeddings/embeddings": (
            tower.pos_embedding_lookup.temporal_position_embeddings.embeddings
        ),
    }
    dense = {"wave_to_patch": tower.wave_to_patch}
    norms = {"pos_embedding_lookup/layernorm": tower.pos_embedding_lookup.layernorm}
    norms["tx/final_layer_norm"] = tower.tx.final_layer_norm
    for index, layer in enumerate(tower.tx.layers):
        path = f"tx/layers/{index}"
        norms[f"{path}/layer_norm"] = layer.layer_norm
        norms[f"{path}/feed_forward/layer_norm"] = layer.feed_forward.layer_norm
        dense |= {f"{path}/mha/{part}": getattr(layer.mha, part) for part in "qkvo"}
        dense |= {f"{path}/feed_forward/mlp/{part}": getattr(layer.feed_forward.mlp, part) for part in ("wi", "wo")}
    for path, layer in dense.items():
        found |= {f"{path}/kernel": layer.kernel, f"{path}/bias": layer.bias}
    for path, layer in norms.items():
        found |= {f"{path}/gamma": layer.gamma, f"{path}/beta": layer.beta}
    return found


def tree(tensorflow: Any, values: dict[str, Any]) -> Any:
    """Nested checkpoint objects, whose paths become the names in the file."""
    inner: dict[str, dict[str, Any]] = {}
    leaves = {}
    for path, value in values.items():
        head, _, rest = path.partition("/")
        if rest:
            inner.setdefault(head, {})[rest] = value
        else:
            leaves[head] = tensorflow.Variable(value)
    return tensorflow.train.Checkpoint(**leaves, **{head: tree(tensorflow, v) for head, v in inner.items()})


def main(checkout: Path) -> None:
    sys.modules["tensorflow_addons"] = sys.modules["tensorflow_addons.image"] = types.ModuleType("tensorflow_addons")
    sys.modules["tensorflow_addons"].image = sys.modules["tensorflow_addons"]  # type: ignore[attr-defined]
    sys.path.insert(0, str(checkout))
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # written for Keras 2 (package tf_keras)
    tensorflow = installed("tensorflow")
    tower = installed("vatt.modeling.backbones.audio.autx1d").AuTx1D(
        temporal_patch_size=SAMPLES,
        temporal_patch_stride=SAMPLES,
        d_model=DIM,
        d_kv=16,
        d_ff=FFN,
        num_layers=LAYERS,
        num_heads=2,
        pre_norm=True,
        use_masking=False,
        max_temporal_buckets=PATCHES,
    )
    tower(np.zeros((2, PATCHES * SAMPLES, 1), np.float32))
    shapes = {BASE + path + END: list(value.shape) for path, value in variables(tower).items()}
    golden = Golden("vatt", SOURCE, shapes, [2, PATCHES * SAMPLES, 1], config={"num_heads": 2})
    state = seeded_state(shapes)
    for path, value in variables(tower).items():
        value.assign(state[BASE + path + END].numpy())
    _, outputs = tower(seeded_input(golden).numpy())
    write(golden, {LAYERS: torch.from_numpy(outputs["predictions"].numpy())}, FOLDER / "vatt.safetensors")
    whole = {name.removesuffix(END): tensor.numpy() for name, tensor in state.items()}
    tree(tensorflow, whole).write(str(FOLDER / "vatt-ckpt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
