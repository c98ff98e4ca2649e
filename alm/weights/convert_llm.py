"""A Llama-shaped language model from GGUF to a transformers folder: dequantised, float16, in small shards.

The `gguf` package reads the file and dequantises its blocks; names, layouts and shapes are checked against
transformers' own model, so nothing is missing and nothing is left over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, ReaderTensor, dequantize
from huggingface_hub import save_torch_state_dict
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from alm.errors import WeightsError
from alm.weights.progress import Progress

_SHARD = "100MB"
_CONTROL_TOKEN = 3
_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(files: Mapping[str, Path], folder: Path, progress: Progress) -> None:
    """One .gguf file to weights, configuration, generation configuration and tokenizer with chat template.

    Raises:
        WeightsError: not a GGUF of a tied Llama with a byte-level BPE tokenizer, or its tensors do not fit.
    """
    progress("convert llm", 0.0)
    (path,) = files.values()
    reader = _opened(path)
    fields = _Fields(reader, path)
    config = _config(fields)
    progress("convert llm", 0.2)
    _tokenizer(fields, config).save_pretrained(folder)
    progress("convert llm", 0.3)
    tensors = _tensors(reader, config, path, progress)
    save_torch_state_dict(tensors, folder, max_shard_size=_SHARD, metadata={"format": "pt"})
    config.save_pretrained(folder)
    GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    ).save_pretrained(folder)
    progress("convert llm", 1.0)


def _opened(path: Path) -> GGUFReader:
    try:
        return GGUFReader(path)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise WeightsError(f"{path} is no GGUF file that can be read: {error}") from error


class _Fields:
    """Metadata by name, read once; a missing name is an error that names the file."""

    def __init__(self, reader: GGUFReader, path: Path) -> None:
        self.reader, self.path = reader, path

    def __getitem__(self, name: str) -> Any:
        if (field := self.reader.get_field(name)) is None:
            raise WeightsError(f"{self.path}: no metadata {name!r}; it is not the language model that was pinned")
        return field.contents()

    def must_be(self, name: str, value: Any) -> None:
        if (found := self[name]) != value:
            raise WeightsError(f"{self.path}: {name} is {found!r}; this converter knows {value!r}")


def _config(fields: _Fields) -> LlamaConfig:
    fields.must_be("general.architecture", "llama")
    heads, dim = int(fields["llama.attention.head_count"]), int(fields["llama.embedding_length"])
    return LlamaConfig(
        vocab_size=int(fields["llama.vocab_size"]),
        hidden_size=dim,
        intermediate_size=int(fields["llama.feed_forward_length"]),
        num_hidden_layers=int(fields["llama.block_count"]),
        num_attention_heads=heads,
        num_key_value_heads=int(fields["llama.attention.head_count_kv"]),
        head_dim=dim // heads,
        max_position_embeddings=int(fields["llama.context_length"]),
        # GGUF keeps float32: seven digits are all that it knows.
        rms_norm_eps=float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.7g}"),
        rope_parameters={"rope_type": "default", "rope_theta": float(fields["llama.rope.freq_base"])},
        tie_word_embeddings=True,
        bos_token_id=int(fields["tokenizer.ggml.bos_token_id"]),
        eos_token_id=int(fields["tokenizer.ggml.eos_token_id"]),
        pad_token_id=int(fields["tokenizer.ggml.padding_token_id"]),
        architectures=["LlamaForCausalLM"],
        dtype="float16",
    )


def _tensors(reader: GGUFReader, config: LlamaConfig, path: Path, progress: Progress) -> dict[str, Tensor]:
    """Dequantised float16 tensors, complete and of the right shapes."""
    with torch.device("meta"):
        wanted = {k: tuple(v.shape) for k, v in LlamaForCausalLM(config).state_dict().items()}
    wanted.pop("lm_head.weight")  # tied to the embeddings
    tensors = {}
    for index, (name, values) in enumerate(_renamed(reader, config)):
        if wanted.get(name) != values.shape:
            raise WeightsError(f"{path}: {name} has shape {values.shape}; the model wants {wanted.get(name)}")
        tensors[name] = torch.from_numpy(values)
        progress("convert llm", 0.3 + 0.6 * index / len(wanted))
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise WeightsError(f"{path}: missing {', '.join(missing[:5])}; {len(missing)} in all")
    return tensors


def _renamed(reader: GGUFReader, config: LlamaConfig) -> Iterator[tuple[str, NDArray[np.float16]]]:
    for tensor in reader.tensors:
        match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", tensor.name)
        if match is None or match[2] not in _NAMES:
            yield tensor.name, np.empty(0, np.float16)  # refused by its shape
            continue
        layer = f"model.layers.{match[1]}." if match[1] else ""
        yield f"{layer}{_NAMES[match[2]]}.weight", _values(tensor, match[2], config)


def _values(tensor: ReaderTensor, kind: str, config: LlamaConfig) -> NDArray[np.float16]:
    values = dequantize(tensor.data, tensor.tensor_type)
    if kind == "attn_q":
        values = _half_split(values, int(config.num_attention_heads))
    if kind == "attn_k":
        values = _half_split(values, int(config.num_key_value_heads or config.num_attention_heads))
    return np.ascontiguousarray(values, dtype=np.float16)


def _half_split(values: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of a rotary projection from GGUF's order to transformers'.

    In GGUF the two values of a rotation are neighbours (0 1 | 2 3 | ...); transformers keeps all first values of a
    head before all second ones (0 2 ... | 1 3 ...).
    """
    rows, columns = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _tokenizer(fields: _Fields, config: LlamaConfig) -> PreTrainedTokenizerFast:
    """Byte-level BPE that splits digits one by one, which is what `smollm` stands for in GGUF."""
    fields.must_be("tokenizer.ggml.model", "gpt2")
    fields.must_be("tokenizer.ggml.pre", "smollm")
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokens[int(config.bos_token_id)],
        eos_token=tokens[int(config.eos_token_id)],
        pad_token=tokens[int(config.pad_token_id)],
        unk_token=tokens[int(fields["tokenizer.ggml.unknown_token_id"])],
        extra_special_tokens=control,
        model_max_length=config.max_position_embeddings,
        clean_up_tokenization_spaces=False,
        chat_template=fields["tokenizer.chat_template"],
    )
