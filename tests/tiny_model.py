"""A whole assistant in miniature: random weights, a byte-level tokenizer made on the spot, real encoders' shapes."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from alm.assistant import Assistant
from alm.configuration import AlmConfig
from alm.hearing import Ears
from alm.modeling import AlmForConditionalGeneration
from alm.presets import Preset
from alm.processing import AlmFeatureExtractor, AlmProcessor

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WHISPER = {"dim": 16, "num_layers": 2, "num_heads": 2, "ffn_dim": 32}


def tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token; control tokens are special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    wrapped.add_special_tokens({"additional_special_tokens": SPECIAL})
    wrapped.chat_template = TEMPLATE
    return wrapped


def config(tags: list[str] | None = None, hidden: int = 32, **fusion: Any) -> AlmConfig:
    words = tokenizer()
    text = CONFIG_MAPPING["llama"](
        vocab_size=len(words), hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=hidden // 4, pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id, max_position_embeddings=4096,
    )  # fmt: skip
    aligner = {"num_queries": 4, "hidden_size": 16, "num_heads": 2, "num_layers": 2}
    if tags:
        aligner["soft_prompt_tokens"] = 2
    return AlmConfig(
        text_config=text.to_dict(),
        encoders={
            "whisper": {"family": "whisper", "layers": [1, 2], "pool_frames": 4, "config": WHISPER},
            "aisfx": {"family": "aisfx", "layers": [-1]},
        },
        branches=[
            {
                "encoders": ["whisper", "aisfx"],
                "aligner": aligner,
                "fusion": {"scheme": "delayed", "start_layer": 2, **fusion},
            }
        ],
        audio_token_id=words.convert_tokens_to_ids("<|audio|>"),
        tag_labels=tags or [],
        window_seconds=2.0,
        overlap_seconds=0.5,
        max_audio_seconds=20.0,
    )


def model(settings: AlmConfig | None = None, seed: int = 0) -> AlmForConditionalGeneration:
    torch.manual_seed(seed)
    made = AlmForConditionalGeneration(settings or config()).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "norm" not in name and "encoders" not in name:
                weight.normal_(std=0.15)
    words = tokenizer()
    made.generation_config = GenerationConfig(eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id)
    return made


def processor(settings: AlmConfig | None = None) -> AlmProcessor:
    return AlmProcessor(AlmFeatureExtractor.of(settings or config()), tokenizer(), TEMPLATE, "<|audio|>")


def preset(**changes: Any) -> Preset:
    values: dict[str, Any] = {
        "name": "miniature", "description": "random weights", "weights": "none", "system": "Listen.",
        "audio_token": "<|audio|>", "model": {}, "context_tokens": 2000, "max_recordings": 4,
    }  # fmt: skip
    return Preset(**{**values, **changes})


def assistant(tags: list[str] | None = None, **changes: Any) -> Assistant:
    settings = config(tags)
    made, prepared = model(settings), processor(settings)
    return Assistant(made, prepared, Ears(made, prepared), preset(**changes), bool(tags))
