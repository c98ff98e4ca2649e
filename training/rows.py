"""Instruction rows ready for the language stages: messages, cached recordings, evidence; and the order they come in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alm.aligner import Heard
from alm.evidence import Tag, evidence_text
from alm.messages import Encoded, MessageEncoder, from_row
from alm.processing import AlmProcessor
from data_prep.records import Record, read_records
from training.augment import add_noise
from training.config import EvidenceConfig
from training.features import FeatureCache, Item, as_inputs, collate
from training.objective import rng_for

CHUNK_BATCHES = 16
"""Batches of equal lengths are made within this many batches, which keeps the order random enough."""


@dataclass(frozen=True)
class Row:
    """One instruction row whose recordings are cached."""

    id: str
    task: str
    source: str
    split: str
    messages: tuple[dict[str, str], ...]
    items: tuple[Item, ...]
    length: int
    """About how many tokens it has."""


@dataclass(frozen=True)
class Knowledge:
    """What may be told about recordings, by path: tags of a head that never saw them, transcripts."""

    tags: Mapping[str, tuple[Tag, ...]]
    transcripts: Mapping[str, str]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """Model inputs of some rows."""

    inputs: dict[str, Tensor]
    heard: dict[str, Heard]
    labels: Tensor
    weights: Tensor
    """[batch] weight of each answer token of a row."""
    tasks: tuple[str, ...]
    tokens: int


def load_rows(files: Sequence[Path], cache: FeatureCache) -> tuple[list[Row], int]:
    """Rows of record files, and how many were left out because a recording is not cached (too long, or not yet)."""
    rows, missing = [], 0
    for file in files:
        for record in read_records(file):
            items = [cache.find(Path(a)) if Path(a).is_file() else None for a in record.audios]
            if any(i is None for i in items):
                missing += 1
            else:
                rows.append(_row(record, tuple(i for i in items if i is not None)))
    return rows, missing


def _row(record: Record, items: tuple[Item, ...]) -> Row:
    messages = tuple({"role": m.role, "content": m.content} for m in record.messages)
    letters = sum(len(m["content"]) for m in messages)
    length = letters // 4 + 20 * sum(i.windows for i in items) + 30 * len(items)
    return Row(record.id, record.task, record.source, record.split, messages, items, length)


def by_task(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Indices of rows, by task in alphabetical order."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        found[row.task].append(index)
    return {t: found[t] for t in sorted(found)}


def schedule(
    rows: Sequence[Row], weights: Mapping[str, float], steps: int, batch_size: int, seed: str
) -> list[list[int]]:
    """Row indices of every batch of a stage: tasks by weight, each row once before any comes twice; equal lengths."""
    rng = rng_for(seed, "schedule")
    tasks = {t: own for t, own in by_task(rows).items() if weights.get(t, 0.0 if weights else len(own) ** 0.5) > 0}
    share = np.array([weights[t] if weights else len(own) ** 0.5 for t, own in tasks.items()])
    names = list(tasks)
    queues: dict[str, list[int]] = {t: [] for t in tasks}
    drawn: list[int] = []
    for which in rng.choice(len(names), size=steps * batch_size, p=share / share.sum()):
        queue = queues[names[which]]
        if not queue:
            queue.extend(int(i) for i in rng.permutation(tasks[names[which]]))
        drawn.append(queue.pop())
    batches: list[list[int]] = []
    for first in range(0, len(drawn), CHUNK_BATCHES * batch_size):
        chunk = sorted(drawn[first : first + CHUNK_BATCHES * batch_size], key=lambda i: rows[i].length)
        own_batches = [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
        batches += [own_batches[i] for i in rng.permutation(len(own_batches))]
    return batches


@dataclass
class Collator:
    """Rows to batches."""

    processor: AlmProcessor
    cache: FeatureCache
    knowledge: Knowledge
    system: str

    def __post_init__(self) -> None:
        plain = self.processor.encoder()
        self.encoder = MessageEncoder(
            tokenizer=plain.tokenizer,
            audio_token_id=plain.audio_token_id,
            tokens_per_window=plain.tokens_per_window,
            count_windows=lambda item: item.windows,  # type: ignore[attr-defined]
            open_recording=lambda part: part["audio"],
            chat_template=plain.chat_template,
        )

    def encode(
        self, row: Row, evidence: EvidenceConfig, rng: np.random.Generator, prompt_only: bool = False
    ) -> Encoded:
        """Ids of a row with the evidence that this draw gives it; without the last answer if `prompt_only`."""
        parts = from_row([dict(m) for m in row.messages], row.items)
        if prompt_only:
            parts = parts[: max(i for i, m in enumerate(parts) if m["role"] == "assistant")]
        with_tags, with_words = rng.random() < evidence.tags, rng.random() < evidence.transcript
        for message in parts:
            for part in message["content"] if isinstance(message["content"], list) else ():
                if part["type"] == "audio":
                    part["evidence"] = self._evidence(part["audio"], with_tags, with_words, evidence.wrong, rng)
        if parts[0]["role"] != "system" and self.system:
            parts.insert(0, {"role": "system", "content": self.system})
        return self.encoder.encode(parts, add_generation_prompt=prompt_only)

    def _evidence(self, item: Item, tags: bool, words: bool, wrong: float, rng: np.random.Generator) -> str:
        known = self.knowledge.tags.get(item.path, ()) if tags else ()
        labels = self.knowledge.labels
        told = [Tag(str(rng.choice(labels)), t.start, t.end, t.score) if rng.random() < wrong else t for t in known]
        return evidence_text(told, self.knowledge.transcripts.get(item.path, "") if words else "")

    def batch(self, rows: Sequence[Row], evidence: EvidenceConfig, rng: np.random.Generator) -> Batch:
        """Rows with answers, padded on the right."""
        encoded = [self.encode(r, evidence, rng) for r in rows]
        longest = max(len(e.ids) for e in encoded)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for index, item in enumerate(encoded):
            own = torch.tensor(item.ids)
            ids[index, : len(own)], mask[index, : len(own)] = own, 1
            labels[index, : len(own)] = own.masked_fill(~torch.tensor(item.answer), -100)
        heard, inputs = self._audio(rows)
        answers = (labels != -100).sum(1).clamp_min(1)
        inputs |= {"input_ids": ids, "attention_mask": mask}
        return Batch(inputs, heard, labels, answers.float().rsqrt(), tuple(r.task for r in rows), int(mask.sum()))

    def prompt(self, row: Row, evidence: EvidenceConfig, rng: np.random.Generator) -> dict[str, Tensor]:
        """Inputs of one row without its last answer, to generate from."""
        ids = torch.tensor([self.encode(row, evidence, rng, prompt_only=True).ids])
        heard, inputs = self._audio([row])
        return {**inputs, **as_inputs(heard), "input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def _audio(self, rows: Sequence[Row]) -> tuple[dict[str, Heard], dict[str, Tensor]]:
        parts = [self.cache.read(i) for r in rows for i in r.items]
        if not parts:
            return {}, {}
        return collate(parts, self.cache.frame_seconds), {"audio_windows": torch.tensor([p.windows for p in parts])}


def with_noise(batch: Batch, size: float) -> dict[str, Tensor]:
    """Model inputs of a batch with noise on its features."""
    return {**batch.inputs, **as_inputs(add_noise(batch.heard, size))}
