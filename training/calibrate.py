"""Where text lives in a language model's layers: mean and spread of its hidden states, and hidden states of labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from alm.fusion.entry import Entry
from alm.modeling import AlmForConditionalGeneration

TEMPLATES = ("{}", "the sound of {}", "I hear {}.", "This is {}.")
QUESTIONS = (
    "What do you hear?", "Which of these sounds is in the recording?", "Describe the recording.", "Is there speech?",
    "What comes first?", "How many times does it sound?", "What does the person say?", "What makes this sound?",
)  # fmt: skip
LEAST_SPREAD = 1e-3
MEASURE_BATCH = 16


def render(tokenizer: PreTrainedTokenizerBase, system: str, text: str, question: str) -> tuple[list[int], int, int]:
    """Ids of a question about a recording with `text` standing where its audio would, and the span of `text`."""
    prefix = [{"role": "system", "content": system}] if system else []
    mark = "\uf8ff"
    content = f"Audio 1 (2.0 s): {mark}\n{question}"
    whole = str(tokenizer.apply_chat_template([*prefix, {"role": "user", "content": content}], tokenize=False))
    before, after = whole.split(mark)
    parts = [list(tokenizer(before.rstrip(" "), add_special_tokens=False)["input_ids"])]
    parts.append(list(tokenizer(" " + text, add_special_tokens=False, split_special_tokens=True)["input_ids"]))
    parts.append(list(tokenizer(after, add_special_tokens=False)["input_ids"]))
    return [*parts[0], *parts[1], *parts[2]], len(parts[0]), len(parts[0]) + len(parts[1])


def first_layers(language_model: Any, count: int) -> nn.Module:
    """The language model cut after `count` layers (weights are shared), without its last norm."""
    config = copy.deepcopy(language_model.config)
    config.num_hidden_layers = count
    with torch.device("meta"):
        short: Any = type(language_model)(config)
    short.embed_tokens, short.norm = language_model.embed_tokens, nn.Identity()
    short.layers = nn.ModuleList(list(language_model.layers)[:count])
    short.rotary_emb = language_model.rotary_emb
    return short.eval()  # type: ignore[no-any-return]


@torch.no_grad()
def measure(model: AlmForConditionalGeneration, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Mean and spread `[layers, dim]` of what enters each layer, over text tokens but the first of each row.

    The first position is the attention sink: its norm is of another order.
    """
    language_model: Any = model.model.language_model
    layers, dim = language_model.config.num_hidden_layers, language_model.config.hidden_size
    total, squares, count = torch.zeros(layers, dim).double(), torch.zeros(layers, dim).double(), 0
    for first in range(0, len(rows), MEASURE_BATCH):
        ids, real = _padded(rows[first : first + MEASURE_BATCH])
        out = language_model(input_ids=ids.to(model.device), output_hidden_states=True, use_cache=False)
        real[:, 0] = False
        for layer, hidden in enumerate(out.hidden_states[:layers]):
            values = hidden.cpu()[real].double()
            total[layer] += values.sum(0)
            squares[layer] += (values**2).sum(0)
        count += int(real.sum())
    mean = total / count
    spread = (squares / count - mean**2).clamp_min(0.0).sqrt().clamp_min(LEAST_SPREAD)
    return mean.float(), spread.float()


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and their mask, padded on the right: what follows a token cannot change it."""
    longest = max(len(r) for r in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    real = torch.zeros(len(rows), longest, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row)], real[index, : len(row)] = torch.tensor(list(row)), True
    return ids, real


@torch.no_grad()
def set_entry(entry: Entry, mean: Tensor, spread: Tensor) -> None:
    """Write measured statistics into a fusion's door."""
    entry.mean.copy_(mean)
    entry.spread.copy_(spread)


@torch.no_grad()
def text_states(
    model: AlmForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    layer: int,
    system: str,
    batch_size: int = 64,
) -> Tensor:
    """Mean over each text's tokens of what enters `layer`, in the normalised space of the audio tokens: `[texts, dim]`.

    The texts stand where audio would stand, so that a token that looks like them is read like them.
    """
    short = first_layers(model.model.language_model, layer)
    rendered = [render(tokenizer, system, t, QUESTIONS[0]) for t in texts]
    # What follows the text cannot change its states.
    rows = [(ids[:end], start, end) for ids, start, end in rendered]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    out = torch.zeros(len(rows), model.config.text_config.hidden_size)  # type: ignore[union-attr]
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        ids, _ = _padded([rows[index][0] for index in chosen])
        hidden = short(input_ids=ids.to(model.device), use_cache=False).last_hidden_state.float()
        for row, index in enumerate(chosen):
            out[index] = hidden[row, rows[index][1] : rows[index][2]].mean(0).cpu()
    return model.model.fusion.entry.inverse(out.to(model.device), layer).cpu()


@torch.no_grad()
def calibrate(
    model: AlmForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], system: str
) -> None:
    """Measure the language model on `texts` and set the door of every layer."""
    rows = [render(tokenizer, system, t, QUESTIONS[i % len(QUESTIONS)])[0] for i, t in enumerate(texts)]
    set_entry(model.model.fusion.entry, *measure(model, rows))
