"""The assistant as the answerer of a batch: rows are prepared one by one and answered together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alm.batching import BatchDecoder, Request, Sampling, answer_all
from alm.conversation import Answer, Prepared, Usage
from alm.messages import from_row
from serve.batch.manifest import BatchSettings
from serve.batch.rows import Row
from serve.batch.stages import Ready
from serve.engines.conversations import begun_conversation
from serve.engines.pieces import TextPieces

if TYPE_CHECKING:
    from alm.assistant import Assistant

ROWS_AT_ONCE = 16


@dataclass
class _Open:
    """A row that is being answered."""

    place: int
    row: Row
    ready: Prepared
    encoded: int
    started: float


@dataclass
class BatchAnswerer:
    """Answers rows with one assistant; each row is a conversation of its own, begun with the same seed.

    Rows about the same recordings follow each other, so that each recording is encoded once and what was read of it
    serves all of its questions. Satisfies `serve.batch.stages.Answerer`.
    """

    assistant: Assistant
    settings: BatchSettings
    rows_at_once: int = ROWS_AT_ONCE
    _open: dict[Request, _Open] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.decoder = BatchDecoder(self.assistant)

    def __call__(self, rows: Sequence[Ready]) -> Iterator[tuple[int, Answer | Exception]]:
        """Place and result of each row, in the order they are done in."""
        failed: list[tuple[int, Exception]] = []
        try:
            for request in answer_all(self.decoder, self._requests(rows, failed), self.rows_at_once):
                yield from failed
                failed.clear()
                done = self._open.pop(request)
                yield done.place, request.error or self._answer(request, done)
            yield from failed
        finally:
            self.decoder.clear()
            self._open.clear()

    def _requests(self, rows: Sequence[Ready], failed: list[tuple[int, Exception]]) -> Iterator[Request]:
        for place in grouped(rows):
            started, before = time.perf_counter(), self.assistant.ears.encoded
            try:
                sampling, wishes = sampling_of(rows[place].row, self.settings), rows[place].row.wishes
                chat, question = begun_conversation(self.assistant, messages_of(rows[place]), wishes.evidence)
                ready = chat.prepare_parts(question, sampling.max_new_tokens)
            except Exception as error:  # a row must not take the other rows with it
                failed.append((place, error))
                continue
            request = Request(ready.prompt, sampling)
            self._open[request] = _Open(place, rows[place].row, ready, self.assistant.ears.encoded - before, started)
            yield request

    def _answer(self, request: Request, done: _Open) -> Answer:
        pieces = TextPieces(self.assistant.processor.tokenizer, done.row.wishes.stop)
        pieces.add(request.new_ids, last=True)
        seconds = time.perf_counter() - done.started
        usage = Usage.of(
            request.prompt,
            self.assistant.model.config.audio_token_id,
            new_tokens=len(request.new_ids),
            reused_tokens=request.reused_tokens,
            encoded_recordings=done.encoded,
            first_token_seconds=request.first_token_seconds,
            seconds=seconds,
        )
        finish = "stop" if pieces.stopped else request.finish
        return Answer(pieces.text.strip(), done.ready.evidence, usage, finish, done.ready.asked)


def grouped(rows: Sequence[Ready]) -> list[int]:
    """Places of the rows, those about the same recordings one after the other."""
    return sorted(range(len(rows)), key=lambda place: (tuple(r.sha256 for r in rows[place].recordings), place))


def sampling_of(row: Row, settings: BatchSettings) -> Sampling:
    """The settings of the batch, but for what the row wishes itself."""
    own = row.wishes
    return Sampling(
        own.max_new_tokens or settings.max_new_tokens,
        settings.temperature if own.temperature is None else own.temperature,
        settings.seed if own.seed is None else own.seed,
        {} if own.top_p in (None, 1.0) else {"top_p": own.top_p},
    )


def messages_of(own: Ready) -> list[dict[str, Any]]:
    """Of a row that marks its recordings, or of one whose messages hold them."""
    if own.row.audios or not own.recordings:
        return from_row(own.row.messages, own.recordings)
    return list(own.row.messages)
