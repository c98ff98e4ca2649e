"""Golden tensors of ONE-PEACE's audio branch: `python -m tools.golden.one_peace CHECKOUT`.

The adapter and the trunk are the authors', small; fairseq's few helpers that they use are stood in for.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools.golden.originals import installed
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "OFA-Sys/ONE-PEACE 71cfadf0566879ccaeb59bb114bd0c4ae14020c2"
FOLDER = Path("tests/golden/encoders")
SAMPLES = 8000
ADAPTER = {
    "dropout": 0.0,
    "shrink_alpha": 1.0,
    "feature_encoder_spec": "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] + [(16,2,2)]",
    "conv_bias": False,
    "abs_pos_type": "conv",
    "conv_pos_depth": 5,
    "conv_pos_width": 95,
    "conv_pos_groups": 16,
    "conv_pos_pre_ln": False,
    "layernorm_embedding": False,
    "add_type_embedding": False,
    "use_attn_bias": True,
    "bucket_size": 8,
}
TRUNK = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "layerdrop": 0.0,
    "drop_path_rate": 0.0,
    "embed_dim": 32,
    "ffn_embed_dim": 48,
    "layers": 2,
    "attention_heads": 4,
    "max_positions": 1024,
    "use_text_moe": False,
    "use_image_moe": False,
    "use_audio_moe": True,
    "magneto_scale_attn": True,
    "scale_attn": False,
    "scale_fc": True,
    "scale_heads": False,
    "use_layer_scale": True,
    "layer_scale_init_value": 1e-6,
}


class Dropout(nn.Dropout):
    def __init__(self, p: float, module_name: str = "") -> None:
        super().__init__(p)


class Encoder(nn.Module):
    def __init__(self, dictionary: Any) -> None:
        super().__init__()


def stand_in(name: str, **content: Any) -> None:
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(content)


def stand_ins(checkout: Path) -> None:
    """What the two files import, and packages whose own imports are passed by."""
    utils = types.SimpleNamespace(
        softmax=torch.softmax,
        new_arange=lambda x: torch.arange(x.shape[1]).expand(x.shape),
    )
    stand_in("fairseq", utils=utils)
    stand_in("fairseq.modules", FairseqDropout=Dropout, LayerDropModuleList=nn.ModuleList)
    stand_in("fairseq.modules.fairseq_dropout", FairseqDropout=Dropout)
    stand_in("fairseq.models", FairseqEncoder=Encoder)
    stand_in("timm")
    stand_in("timm.models")
    stand_in("timm.models.layers", trunc_normal_=nn.init.trunc_normal_)
    for name in ("models", "models.adapter", "models.transformer"):
        stand_in(f"peace.{name}" if name else "peace")
        sys.modules[f"peace.{name}"].__path__ = [str(checkout / "one_peace" / name.replace(".", "/"))]
    stand_in("peace", __path__=[str(checkout / "one_peace")])


def main(checkout: Path, own_biases: bool) -> None:
    stand_ins(checkout)
    adapter_code = installed("peace.models.adapter.audio")
    trunk_code = installed("peace.models.transformer.transformer_encoder")
    whole: Any = nn.Module()
    adapter = types.SimpleNamespace(**ADAPTER)
    whole.audio_adapter = adapter_code.AudioAdapter(adapter, 32, 4, 2 if own_biases else None)
    whole.fusion_model = trunk_code.TransformerEncoder(types.SimpleNamespace(**TRUNK), None, False, False, True)
    shapes = {f"encoder_wrapper.{k}": list(t.shape) for k, t in whole.state_dict().items() if "rp_bucket" not in k}
    golden = Golden("one_peace", SOURCE, shapes, [2, SAMPLES, 1])
    state = {k.removeprefix("encoder_wrapper."): t for k, t in seeded_state(shapes).items()}
    whole.load_state_dict(state, strict=False)
    samples = seeded_input(golden)[..., 0]
    with torch.no_grad():
        steps = whole.audio_adapter.embed_audios(samples).shape[1]
        nothing_padded = torch.zeros(2, steps + 1, dtype=torch.bool)
        entered = whole.eval().audio_adapter(samples, nothing_padded)
        left = whole.fusion_model(None, None, entered, return_all_hiddens=True, encoder_type="audio")
    outputs: dict[int, Tensor] = {0: entered[0][:, 1:], 1: left["audio_encoder_states"][0].transpose(0, 1)[:, 1:]}
    outputs[2] = left["encoder_out"][0].transpose(0, 1)[:, 1:]
    name = "one_peace_own_biases" if own_biases else "one_peace"
    write(golden, outputs, FOLDER / f"{name}.safetensors")


if __name__ == "__main__":
    for every_layer in (False, True):
        main(Path(sys.argv[1]), every_layer)
