"""Small random models of every decoder family, with ready audio tokens, for the fusion tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from alm.configuration import AlmConfig
from alm.modeling import AlmForConditionalGeneration

AUDIO = 3
DIM = 32
TOKENS = 5
"""Audio tokens a window."""

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
SCHEMES: dict[str, dict[str, Any]] = {
    "prefix": {"scheme": "prefix", "start_layer": 0},
    "delayed": {"scheme": "delayed", "start_layer": 2},
    "keys_values": {"scheme": "keys_values", "start_layer": 2},
    "hybrid": {"scheme": "hybrid", "start_layer": 1, "summary_tokens": 2},
    "cross_attention": {"scheme": "cross_attention", "start_layer": 1, "cross_every": 2},
}


def text_config(family: str = "llama") -> dict[str, Any]:
    values: dict[str, Any] = dict(
        model_type=family, vocab_size=64, hidden_size=DIM, intermediate_size=48, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=512,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    if family in ("gemma2", "gemma3_text", "mistral"):
        values["sliding_window"] = 256
    return CONFIG_MAPPING[family](**values).to_dict()


def model(
    scheme: str = "delayed", family: str = "llama", early: str = "absent", attention: str = "sdpa", **fusion: Any
) -> AlmForConditionalGeneration:
    """A random model whose audio tokens are given ready made (no encoder)."""
    torch.manual_seed(0)
    branch = {
        "encoders": [],
        "aligner": {"kind": "linear", "num_queries": TOKENS},
        "fusion": {**SCHEMES[scheme], **fusion},
    }
    config = AlmConfig(
        text_config=text_config(family), encoders={}, branches=[branch], early_audio=early, audio_token_id=AUDIO,
        attn_implementation=attention,
    )  # fmt: skip
    built = AlmForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if "norm" not in name:
                weight.normal_(std=0.2)
        fused = built.model.fusion
        fused.entry.mean.normal_(std=0.3)
        fused.entry.spread.uniform_(0.5, 1.5)
    return built


def audio_tokens(windows: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(windows, TOKENS, DIM, generator=generator)


def prompt(*parts: int | str, seed: int = 0) -> Tensor:
    """`prompt(4, "a", 3)`: four text tokens, one recording of one window, three text tokens; `[1, time]`."""
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = []
    for part in parts:
        if part == "a":
            ids += [AUDIO] * TOKENS
        else:
            ids += torch.randint(4, 64, (int(part),), generator=generator).tolist()
    return torch.tensor([ids])


def left_padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    longest = max(r.shape[1] for r in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, longest - row.shape[1] :] = row[0]
        mask[i, longest - row.shape[1] :] = 1
    return ids, mask
