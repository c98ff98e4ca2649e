"""Instruction rows ready for the language stages: messages, cached recordings, evidence; and the order they come in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alm.aligner import Heard
from alm.asked import Scores, with_asked
from alm.evidence import Sounds, Tag, evidence_text
from alm.mentions import Vocabulary
from alm.messages import Encoded, MessageEncoder, from_row
from alm.processing import AlmProcessor
from data_prep.records import Record, read_records
from training.augment import add_noise, lead_astray
from training.config import EvidenceConfig
from training.features import FeatureCache, Item, as_inputs, collate
from training.objective import rng_for
from training.rivals import worded
from training.stretches import recordings_of

CHUNK_BATCHES = 16
"""Batches of equal lengths are made within this many batches, which keeps the order random enough."""

LENGTH_STEP = 16
TOKENS_PER_WINDOW = 20
"""Of the default preset."""

DENY = "deny"


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
    rivals: tuple[str, ...] = ()
    """The true answer and others that the question allows, for scoring; see `training.rivals`."""

    @property
    def key(self) -> tuple[str, ...]:
        """The same for rows that can share what was read of their recordings: these come before any question."""
        first = self.messages[0]["content"]
        ahead = first.startswith("<audio>" * len(self.items)) and self.messages[0]["role"] == "user"
        return tuple(i.path for i in self.items) if ahead else (self.id,)


@dataclass(frozen=True)
class Knowledge:
    """What may be told about recordings, by path: sounds by a tag head that never saw them, transcripts."""

    sounds: Mapping[str, Sounds]
    scores: Mapping[str, Scores]
    transcripts: Mapping[str, str]
    labels: tuple[str, ...]
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """`tag_words` of the model's configuration."""
    likeliest: bool = True
    """Its `tell_likeliest`."""


@dataclass(frozen=True)
class Batch:
    """Model inputs of some rows: what rows about one recording share, and then each row's own question and answer."""

    inputs: dict[str, Tensor]
    """Ids `[bundles, shared]` with every audio position, their mask, and the recordings."""
    heard: dict[str, Heard]
    astray: Tensor
    """[windows] how far the features are led astray, see `EvidenceConfig.astray`"""
    owner: Tensor
    """[rows] the bundle of each row."""
    ids: Tensor
    """[rows, time] what follows the shared part."""
    mask: Tensor
    """[rows, shared + time], 0 on padding."""
    labels: Tensor
    """[rows, time] ids of answers, -100 elsewhere."""
    weights: Tensor
    """[rows] weight of each answer token of a row."""
    tasks: tuple[str, ...]
    tokens: int

    @property
    def lengths(self) -> Tensor:
        """[rows] how many ids each row's own part has"""
        return self.mask[:, -self.ids.shape[1] :].sum(1)

    @property
    def by_length(self) -> Tensor:
        """[rows] indices, the shortest first"""
        return self.lengths.argsort(stable=True)

    def alike(self, most: int) -> list[Tensor]:
        """Indices of rows in groups of at most `most`, of about equal lengths."""
        return list(self.by_length.split(most))


def load_rows(
    files: Sequence[Path], cache: FeatureCache, tokens_per_window: int = TOKENS_PER_WINDOW
) -> tuple[list[Row], int]:
    """Rows of record files, and how many were left out because a recording is not cached (too long, or not yet)."""
    return rows_of((record for file in files for record in read_records(file)), cache, tokens_per_window)


def rows_of(
    records: Iterable[Record], cache: FeatureCache, tokens_per_window: int = TOKENS_PER_WINDOW
) -> tuple[list[Row], int]:
    """Rows of records, and how many were left out."""
    rows, missing = [], 0
    for record in records:
        items = [cache.find(r) for r in recordings_of(record)]
        if any(i is None for i in items):
            missing += 1
        else:
            rows.append(_row(record, tuple(i for i in items if i is not None), tokens_per_window))
    return rows, missing


def _row(record: Record, items: tuple[Item, ...], tokens_per_window: int) -> Row:
    messages = tuple({"role": m.role, "content": m.content} for m in record.messages)
    written = sum(len(m["content"].encode()) for m in messages)  # bytes: a letter of many scripts is a token or more
    length = written // 4 + tokens_per_window * sum(i.windows for i in items) + 30 * len(items)
    rivals = worded(record) if record.split == "test" else ()
    return Row(record.id, task_of(record), record.source, record.split, messages, items, length, rivals)


def task_of(record: Record) -> str:
    """The record's task; questions that are answered "no" are a task of their own, so that the mix can weigh them."""
    return DENY if record.task == "yes_no" and record.meta.get("answer") == "no" else record.task


def by_task(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Indices of rows, by task in alphabetical order."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        found[row.task].append(index)
    return {t: found[t] for t in sorted(found)}


def companions(rows: Sequence[Row]) -> dict[tuple[str, ...], list[int]]:
    """Rows that ask about the same recordings, which come first in each: they can share what was read of them."""
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        found[row.key].append(index)
    return dict(found)


@dataclass
class Schedule:
    """Bundles of every batch of a stage, each a list of indices of rows about the same recordings.

    Tasks are drawn by weight (by the square root of their size without weights), each row once before any comes twice;
    then up to `together - 1` further questions about the same recording join the row that was drawn. Batches have about
    equal lengths.
    """

    rows: Sequence[Row]
    weights: Mapping[str, float]
    seed: str

    def batches(self, steps: int, batch_size: int, together: int = 1) -> list[list[list[int]]]:
        """`steps` batches of at most `batch_size` rows in bundles of at most `together`."""
        rng, count = rng_for(self.seed, "schedule"), max(1, batch_size // together)
        bundles = self.bundles(steps * count, together, rng)
        batches: list[list[list[int]]] = []
        for first in range(0, len(bundles), CHUNK_BATCHES * count):
            chunk = sorted(bundles[first : first + CHUNK_BATCHES * count], key=lambda b: self.rows[b[0]].length)
            own = [chunk[i : i + count] for i in range(0, len(chunk), count)]
            batches += [own[i] for i in rng.permutation(len(own))]
        return batches

    def bundles(self, count: int, together: int, rng: np.random.Generator) -> list[list[int]]:
        """`count` bundles of at most `together` rows, in the order of drawing."""
        share = self._shares()
        drawn = self._drawn(share, count, rng)
        near = companions(self.rows) if together > 1 else {}
        return [self._joined(i, near, share, together, rng) for i in drawn]

    def _shares(self) -> dict[str, float]:
        sizes = {t: len(own) for t, own in by_task(self.rows).items()}
        wanted = {t: self.weights.get(t, 0.0) if self.weights else n**0.5 for t, n in sizes.items()}
        return {t: w for t, w in wanted.items() if w > 0}

    def _drawn(self, share: Mapping[str, float], count: int, rng: np.random.Generator) -> list[int]:
        tasks, names, parts = by_task(self.rows), list(share), np.array(list(share.values()))
        queues: dict[str, list[int]] = {t: [] for t in names}
        drawn = []
        for which in rng.choice(len(names), size=count, p=parts / parts.sum()):
            queue = queues[names[which]]
            if not queue:
                queue.extend(int(i) for i in rng.permutation(tasks[names[which]]))
            drawn.append(queue.pop())
        return drawn

    def _joined(
        self,
        index: int,
        near: Mapping[tuple[str, ...], list[int]],
        share: Mapping[str, float],
        together: int,
        rng: np.random.Generator,
    ) -> list[int]:
        """A row with companions, tasks again by weight."""
        others = [i for i in near.get(self.rows[index].key, []) if i != index and self.rows[i].task in share]
        if not others:
            return [index]
        parts = np.array([share[self.rows[i].task] for i in others])
        more = rng.choice(others, min(together - 1, len(others)), replace=False, p=parts / parts.sum())
        return [index, *map(int, more)]


@dataclass
class Collator:
    """Rows to batches."""

    processor: AlmProcessor
    cache: FeatureCache
    knowledge: Knowledge
    system: str
    question_aware: bool = False
    """The aligner reads each row's last question, too, so that rows cannot share a reading."""

    def __post_init__(self) -> None:
        plain = self.processor.encoder()
        self.encoder = MessageEncoder(
            tokenizer=plain.tokenizer,
            audio_token_id=plain.audio_token_id,
            tokens_per_window=plain.tokens_per_window,
            count_windows=lambda item: item.windows,  # type: ignore[union-attr]
            open_recording=lambda part: part["audio"],
            chat_template=plain.chat_template,
        )
        self.vocabulary = Vocabulary(self.knowledge.words)
        self.phrases = {label: words[0] for label, words in self.knowledge.words.items() if words}

    def encode(
        self, row: Row, evidence: EvidenceConfig, rng: np.random.Generator, prompt_only: bool = False
    ) -> Encoded:
        """Ids of a row with the evidence that this draw gives it; without the last answer if `prompt_only`."""
        messages, _ = self._told(row, evidence, rng, prompt_only)
        return self.encoder.encode(messages, add_generation_prompt=prompt_only)

    def _told(
        self, row: Row, evidence: EvidenceConfig, rng: np.random.Generator, prompt_only: bool = False
    ) -> tuple[list[dict[str, Any]], bool]:
        """Messages with evidence, and whether something was heard of sounds that a question names."""
        parts = from_row([dict(m) for m in row.messages], row.items)
        if prompt_only:
            parts = parts[: max(i for i, m in enumerate(parts) if m["role"] == "assistant")]
        with_tags, with_words = rng.random() < evidence.tags, rng.random() < evidence.transcript
        asked = False
        if rng.random() < evidence.asked:
            parts, asked = self._with_asked(parts)
        for message in parts:
            for part in message["content"] if isinstance(message["content"], list) else ():
                if part["type"] == "audio":
                    part["evidence"] = self._evidence(part["audio"], with_tags, with_words, evidence.wrong, rng)
        if parts[0]["role"] != "system" and self.system:
            parts.insert(0, {"role": "system", "content": self.system})
        return parts, asked

    def _with_asked(self, messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
        """Each question with what was heard of the sounds that it names, and whether any names one."""
        told: list[dict[str, Any]] = []
        named = False
        for index, message in enumerate(messages):
            if message["role"] == "user":
                message, found = with_asked(
                    message, messages[:index], self.vocabulary, self.knowledge.labels,
                    lambda item: self.knowledge.scores.get(item.path), self.knowledge.likeliest,
                )  # fmt: skip
                named |= bool(found)
            told.append(message)
        return told, named

    def _evidence(self, item: Item, tags: bool, words: bool, wrong: float, rng: np.random.Generator) -> str:
        known = self.knowledge.sounds.get(item.path, Sounds()) if tags else Sounds()

        def told(label: str) -> str:
            return str(rng.choice(self.knowledge.labels)) if rng.random() < wrong else label

        events = tuple(Tag(told(t.label), t.start, t.end, t.score) for t in known.tags)
        guesses = tuple(dict.fromkeys(told(g) for g in known.guesses))
        transcript = self.knowledge.transcripts.get(item.path, "") if words else ""
        return evidence_text(Sounds(events, guesses), transcript, self.phrases)

    def batch(self, bundles: Sequence[Sequence[Row]], evidence: EvidenceConfig, rng: np.random.Generator) -> Batch:
        """Rows with answers; those of one bundle share recordings and evidence. Padded on the right.

        An answer that stands before a row's last recording is context and not learned from.
        """
        known = [self._encode_bundle(b, evidence, rng) for b in bundles]
        encoded = [[item for item, _ in own] for own in known]
        astray = self._astray(bundles, [[asked for _, asked in own] for own in known], evidence.astray, rng)
        split = [self._shared(own) for own in encoded]
        shared, shared_mask = padded([own[0].ids[:n] for own, n in zip(encoded, split, strict=True)])
        flat = [(b, e, n) for b, (own, n) in enumerate(zip(encoded, split, strict=True)) for e in own]
        owner = torch.tensor([b for b, _, _ in flat])
        ids, mask = padded([e.ids[n:] for _, e, n in flat])
        labels = torch.full_like(ids, -100)
        for index, (_, item, n) in enumerate(flat):
            own = torch.tensor(item.ids[n:])
            labels[index, : len(own)] = own.masked_fill(~torch.tensor(item.answer[n:]), -100)
        firsts = [b[0] for b in bundles]
        heard, inputs = self._audio(firsts)
        inputs |= self._questions(firsts) if self.question_aware and "audio_windows" in inputs else {}
        answers = (labels != -100).sum(1).clamp_min(1)
        inputs |= {"input_ids": shared, "attention_mask": shared_mask}
        whole = torch.cat([shared_mask[owner], mask], dim=1)
        tasks = tuple(r.task for b in bundles for r in b)
        return Batch(inputs, heard, astray, owner, ids, whole, labels, answers.float().rsqrt(), tasks, int(whole.sum()))

    def _encode_bundle(
        self, bundle: Sequence[Row], evidence: EvidenceConfig, rng: np.random.Generator
    ) -> list[tuple[Encoded, bool]]:
        """All rows with the same draw of evidence, so that they begin alike; each with whether it names sounds."""
        seed = int(rng.integers(2**31))
        told = [self._told(r, evidence, np.random.default_rng(seed)) for r in bundle]
        return [(self.encoder.encode(messages), asked) for messages, asked in told]

    def _astray(
        self, bundles: Sequence[Sequence[Row]], asked: Sequence[Sequence[bool]], chance: float, rng: np.random.Generator
    ) -> Tensor:
        """How far each window is led astray: only where evidence speaks on at least half of a bundle's questions."""
        shares: list[float] = []
        for bundle, own in zip(bundles, asked, strict=True):
            led = rng.random() < chance and 2 * sum(own) >= len(own)
            shares += [float(rng.random()) if led else 0.0] * sum(i.windows for i in bundle[0].items)
        return torch.tensor(shares)

    def _shared(self, own: Sequence[Encoded]) -> int:
        """How many ids a bundle shares: all audio; the id before an answer is each row's own, since it predicts."""
        marks = [i for i, token in enumerate(own[0].ids) if token == self.encoder.audio_token_id]
        audio_ends = marks[-1] + 1 if marks else 1
        if len(own) == 1:
            return audio_ends
        alike = 0
        for column in zip(*(e.ids[:-1] for e in own), strict=False):
            if len(set(column)) > 1:
                break
            alike += 1
        assert alike >= audio_ends, "rows of a bundle begin with the same recordings and evidence"
        answered = next((i for i, marked in enumerate(own[0].answer) if marked), alike + 1)
        return max(audio_ends, min(alike, answered - 1))

    def prompt(self, row: Row, evidence: EvidenceConfig, rng: np.random.Generator) -> dict[str, Tensor]:
        """Inputs of one row without its last answer, to generate from."""
        ids = torch.tensor([self.encode(row, evidence, rng, prompt_only=True).ids])
        return {**self.audio_inputs([row]), "input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def audio_inputs(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """What the model takes of the rows' recordings, and of their questions if the aligner reads them."""
        heard, inputs = self._audio(rows)
        asked = self._questions(rows) if self.question_aware and "audio_windows" in inputs else {}
        return {**inputs, **as_inputs(heard), **asked}

    def _questions(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Ids of the last question `[recordings, words]`, once for each recording of its row."""
        texts = [next(m["content"] for m in reversed(r.messages) if m["role"] == "user") for r in rows for _ in r.items]
        tokenizer = self.processor.tokenizer
        known = [tokenizer(t.replace("<audio>", " ").strip(), split_special_tokens=True)["input_ids"] for t in texts]
        ids, mask = padded(known)
        return {"question_ids": ids, "question_mask": mask}

    def _audio(self, rows: Sequence[Row]) -> tuple[dict[str, Heard], dict[str, Tensor]]:
        parts = [self.cache.read(i) for r in rows for i in r.items]
        if not parts:
            return {}, {}
        return collate(parts, self.cache.frame_seconds), {"audio_windows": torch.tensor([p.windows for p in parts])}


def rounded(length: int) -> int:
    """The next of few lengths: kernels for bfloat16 are made anew for every shape, which costs more than padding."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and their mask `[rows, time]`, padded on the right."""
    longest = rounded(max(len(r) for r in rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = torch.tensor(list(row)), 1
    return ids, mask


def with_noise(batch: Batch, size: float) -> dict[str, Tensor]:
    """Model inputs of a batch with noise on its features, and with some led astray."""
    return {**batch.inputs, **as_inputs(add_noise(lead_astray(batch.heard, batch.astray), size))}
