"""EAT (Chen et al., IJCAI 2024): data2vec 2.0 on square patches in temporal order, post-norm blocks, one leading token.

Trained on clips of 10 s whose spectrogram was followed by zeros up to 1024 frames. As in the authors' pipeline a
shorter clip is followed by the same zeros, which are attended to, and a longer one by as many as fill its last patch;
positions last for 123 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alm.encoders.base import EncoderOutput, config_from
from alm.encoders.blocks.patches import PatchConfig, PatchEmbedding, PatchEncoder, fill, sine_positions
from alm.encoders.blocks.reading import HEAD_DIM, block_count, divided, refusal, required
from alm.encoders.blocks.vit import VitBlock
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.kaldi import KaldiFrontEnd
from alm.errors import ConfigError

_POSITIONS = "fixed_positional_encoder.positions"
_UNUSED = ("decoder.", "_ema", "fc_norm.", "head.", "recon_proj.", "cls_proj.", "shared_decoder.", "center", "alibi")


@dataclass(frozen=True)
class EatConfig(PatchConfig):
    """Architecture; the defaults are those of the base size."""

    family: ClassVar[str] = "eat"

    max_steps: int = 768
    """Time steps that have positions, 160 ms each."""
    least_frames: int = 1024
    """Shorter clips are followed by zeros up to it; 16 hears them as they are."""


def front_end(config: EatConfig) -> KaldiFrontEnd:
    """AST's spectrogram with the authors' own mean and deviation."""
    seconds = config.max_steps * config.patch_frames / 100
    return KaldiFrontEnd(config.mel_bins, max_seconds=seconds, mean=config.mean, divisor=2.0 * config.std)


class EatAudioEncoder(PatchEncoder):
    """Layer 0 is what enters the first block, layer i what leaves the i-th, which is normalised already.

    The leading token, which the authors train to sum up a clip, is used inside and not returned.
    """

    name: ClassVar[str] = "eat"

    def __init__(self, config: EatConfig) -> None:
        super().__init__(config, front_end(config))
        self.max_steps, self.least_frames = config.max_steps, config.least_frames
        self.local_encoder = PatchEmbedding(config.patch_frames, config.dim)
        self.extra_tokens = nn.Parameter(torch.randn(1, 1, config.dim) * 0.02)
        self.register_buffer("positions", sine_positions(config.dim, config.max_steps, config.rows)[None])
        self.pre_norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.blocks = nn.ModuleList(
            VitBlock(config.dim, config.num_heads, config.ffn_dim, post_norm=True) for _ in range(config.num_layers)
        )

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = ceil(frames / 16)`, times the rows where all tokens are wanted."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        if spectrogram.shape[1] > (limit := self.max_steps * self.patch_frames):
            raise ConfigError(f"{self.name}: {spectrogram.shape[1]} frames; the limit is {limit}. Cut into windows")
        heard = fill(spectrogram, mask, self.front_end.padding_value, self.patch_frames, self.least_frames)
        patches = self.local_encoder(heard.spectrogram)
        patches = patches + self.positions[:, : patches.shape[1]]  # type: ignore[index]
        x = self.pre_norm(torch.cat([self.extra_tokens.expand(len(patches), -1, -1), patches], dim=1))
        attended, kept = heard.attended_tokens(self.rows, leading=1), {0: x[:, 1:]}
        for index, block in enumerate(self.blocks[: max(wanted, default=0)], start=1):
            x = block(x, attended)
            kept[index] = x[:, 1:]
        return self._output(kept, wanted, heard.valid)


def build(config: Mapping[str, Any]) -> EatAudioEncoder:
    """A randomly initialised encoder with this architecture (`EatConfig` fields)."""
    return EatAudioEncoder(config_from(EatConfig, config))


def read(checkpoint: Checkpoint) -> Read:
    """From fairseq files, pretrained or fine-tuned, or a folder of the hub; see `Family.read`."""
    return read_as("eat", checkpoint)


def read_as(family: str, checkpoint: Checkpoint) -> Read:
    """`read` for a family that has EAT's files."""
    bare = {n.removeprefix("model.").removeprefix("modality_encoders.IMAGE."): t for n, t in checkpoint.tensors.items()}
    tensors, unused = divided(bare, _UNUSED)
    if any(name.startswith("context_encoder.blocks.") for name in tensors):
        raise refusal(checkpoint, family, "it has blocks in front of the shared ones (prenet_depth above 0)")
    if "norm.weight" in tensors:
        raise refusal(checkpoint, family, "its blocks are pre-norm (layer_norm_first); the released ones are post-norm")
    tensors = {name.replace("context_encoder.norm.", "pre_norm."): tensor for name, tensor in tensors.items()}
    axes = {_POSITIONS: 3, "local_encoder.proj.weight": 4, "blocks.0.mlp.fc1.weight": 2, "pre_norm.weight": 1}
    required(checkpoint, family, tensors, axes)
    tensors["positions"] = tensors.pop(_POSITIONS)
    dim, _, _, side = tensors["local_encoder.proj.weight"].shape
    model = _model_settings(checkpoint.settings)
    bins = model.get("mel_bins", 128)
    if side > bins:
        raise refusal(checkpoint, family, f"its patches are {side} high, and there are {bins} mel bands")
    config = {
        "dim": dim,
        "num_layers": block_count(tensors),
        "num_heads": model.get("num_heads") or max(1, dim // HEAD_DIM),
        "ffn_dim": tensors["blocks.0.mlp.fc1.weight"].shape[0],
        "patch_frames": side,
        "mel_bins": bins,
        "max_steps": tensors["positions"].shape[1] // (bins // side),
    }
    return Read(config, tensors, unused)


def _model_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The model's own: under `cfg` in fairseq's files (those of the model it was tuned from in a fine-tuned one)."""
    fairseq = settings.get("cfg")
    if not isinstance(fairseq, Mapping):
        return settings
    outer = fairseq.get("model") or {}
    before = outer.get("pretrained_model_args") or {}
    return before.get("model") or outer


LARGE: Mapping[str, Any] = MappingProxyType({"dim": 1024, "num_layers": 24, "num_heads": 16, "ffn_dim": 4096})

FAMILY = Family(
    name="eat",
    build=build,
    front_end=lambda config: front_end(config_from(EatConfig, config)),
    read=read,
    sizes=MappingProxyType({"base": MappingProxyType({}), "large": LARGE}),
    lora_targets=("qkv",),
    facts=Facts(
        title="EAT",
        paper="Chen et al. 2024, EAT: Self-Supervised Pre-Training with Efficient Audio Transformer, arXiv:2401.03497",
        home="github.com/cwx-worst-one/EAT",
        hub=(
            "worstchan/EAT-base_epoch30_pretrain",
            "worstchan/EAT-base_epoch30_finetune_AS2M",
            "worstchan/EAT-large_epoch20_pretrain",
            "worstchan/EAT-large_epoch20_finetune_AS2M",
        ),
        licence_code="MIT",
        licence_weights="MIT (the licence of the repository that links them)",
        good_at="sound events and spoken commands: AudioSet mAP 48.9 (base) and 49.5 (large), ESC-50 95.9",
        containers=(
            ("fairseq's `.pt`, pre-trained", "test_a_pretraining_file_of_fairseq_opens"),
            ("fairseq's `.pt`, fine-tuned", "test_a_fine_tuned_file_of_fairseq_opens_without_its_classifier"),
            ("folder of the hub", "test_a_folder_of_the_hub_is_the_same"),
        ),
        proved_against=(
            "github.com/cwx-worst-one/EAT at 06c1c34e2afd8dc35297e6d3815d31dbeec9d372, models/EAT_pretraining.py"
        ),
        notes=(
            "The blocks have the names of a pre-norm vision transformer but normalise after the sums; loaded into the "
            "usual block they give nonsense without any error. Clips below 10.2 s are followed by zeros, which are "
            "attended to, as in training."
        ),
    ),
)
