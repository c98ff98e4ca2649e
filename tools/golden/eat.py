"""EAT: `python -m tools.golden.eat CHECKOUT`, a checkout of github.com/cwx-worst-one/EAT, with timm 0.9.12."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import nn

from tools.golden.grids import module_of
from tools.golden.originals import allow_shared_defaults, give, recorded, shapes_of, stand_in
from tools.golden.seeded import Golden, seeded_input, seeded_state, write

SOURCE = "github.com/cwx-worst-one/EAT at 06c1c34e2afd8dc35297e6d3815d31dbeec9d372, models/EAT_pretraining.py"
SIZES = {"depth": 3, "embed_dim": 32, "num_heads": 4, "mlp_ratio": 1.5}


class _Unused(nn.Identity):
    """A part of the decoder that has no weights."""


def fairseq_stand_ins() -> None:
    """The authors' code subclasses and decorates with fairseq; what it takes from there computes nothing here."""
    stand_in("fairseq", "torchaudio", "torchvision", "omegaconf", "apex")
    give("fairseq.models", BaseFairseqModel=nn.Module, register_model=lambda *_, **__: lambda kind: kind)
    give("fairseq.modules", LayerNorm=nn.LayerNorm, SamePad=_Unused, SamePad2d=_Unused, TransposeLast=_Unused)
    give("fairseq.modules.transformer_sentence_encoder", init_bert_params=lambda module: None)
    give("fairseq.dataclass", FairseqDataclass=object)
    give("fairseq.tasks", FairseqTask=object)
    allow_shared_defaults()


def build(checkout: Path) -> tuple[Any, Any]:
    """The authors' pre-training model in a small size with its decoder, and the modality that it is for."""
    original = module_of(checkout, "models.EAT_pretraining")
    cfg = original.Data2VecMultiConfig()
    image = cfg.modalities.image
    settings = {"embed_dim": 32, "in_chans": 1, "prenet_depth": 0, "num_extra_tokens": 1, "target_length": 96}
    for name, value in {**settings, "max_length": 24, "num_alibi_heads": 4, "model_depth": 3}.items():
        setattr(image, name, value)
    image.decoder.decoder_dim = 32
    for name, number in SIZES.items():
        setattr(cfg, name, number)
    return original.Data2VecMultiModel(cfg, [original.Modality.IMAGE], skip_ema=True).eval(), original.Modality.IMAGE


def main(checkout: Path, out: Path, family: str = "eat", source: str = SOURCE) -> None:
    """Write the outputs of all layers, all patches."""
    fairseq_stand_ins()
    model, modality = build(checkout)
    settings = {"cfg": {"model": SIZES}}
    config = {"frequency": "tokens", "least_frames": 96}
    golden = Golden(family, source, shapes_of(model), (1, 96, 128), settings, config)
    model.load_state_dict(seeded_state(golden.shapes))
    picture = seeded_input(golden)[:, None]
    layers = recorded(
        list(model.blocks), lambda: model(picture, mode=modality, mask=False, features_only=True, padding_mask=None)
    )
    write(golden, {i: x[:, 1:] for i, x in enumerate(layers)}, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path("tests/golden/encoders/eat.safetensors"))
