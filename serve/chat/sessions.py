"""Conversations of the chat page, one per browser tab, kept on the server within bounds.

Nothing here knows Gradio: a tab is a key, a question is text and paths of uploads, an answer is an iterator of
pieces. What the page shows, and what the model reads, is always drawn from a session's turns; an answer is a job of an
engine, so that several people are answered at the same time.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm.batching import Sampling
from alm.errors import AlmError, ContextError, ConversationError
from serve.chat.clips import Clip, HeardClip, delete, open_clip
from serve.chat.limits import ChatLimits
from serve.chat.models import Models, Served
from serve.chat.turns import AnswerOptions, Turn
from serve.engines.jobs import Ended, Engine, Event, Failed, Job, JobCancelledError, Piece

if TYPE_CHECKING:
    from alm.assistant import Assistant

_DROPPED_KEYS_KEPT = 1000


@dataclass
class Session:
    """One conversation and its recordings."""

    limits: ChatLimits
    folder: Path
    """Where the players' files lie."""
    turns: list[Turn] = field(default_factory=list)
    used: float = field(default_factory=time.monotonic)
    busy: bool = False
    """While an answer is being made, or waits for the model."""
    rated: Turn | None = None
    """The turn that got the last thumb."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    _stopped: bool = False
    _job: Job | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def clips(self) -> list[HeardClip]:
        """Recordings of all turns, in order."""
        return [clip for turn in self.turns for clip in turn.clips]

    @property
    def seconds(self) -> float:
        return sum(clip.waveform.seconds for clip in self.clips)

    @property
    def held_bytes(self) -> int:
        return sum(clip.held_bytes for clip in self.clips)

    def history(self) -> list[dict[str, Any]]:
        """Messages that the model reads before the next question."""
        return [m for turn in self.turns if turn.answered and not turn.forgotten for m in turn.messages()]

    def stop(self) -> None:
        """End the answer that is being made, or will be next; from any thread."""
        with self._turn:
            self._stopped, job = True, self._job
        if job is not None:
            job.cancel()

    def take(self, question: str, uploads: Sequence[Path]) -> Turn:
        """Check and decode a question's recordings and put it at the end, waiting for its answer.

        A recording that an imported question misses goes there.

        Raises:
            ConversationError: something about the question or its recordings cannot be used; the message has
            a line for each problem, and nothing was changed.
        """
        self._check(question, len(uploads))
        if self.turns and self.turns[-1].state == "waiting":
            self.withdraw(self.turns[-1])  # its answer was never begun: the queue was full, or the browser gone
        clips = self.open_all(uploads)
        self._check_seconds(clips)
        turn = Turn(question.strip(), [])
        turn.recordings = [clip for clip in clips if not self._put_back(clip, turn)]
        return self._begin(turn)

    def take_again(self) -> Turn | None:
        """Take the last question back and put it again; None when there is none."""
        if self.busy or not self.turns:
            return None
        last = self.turns.pop()
        return self._begin(Turn(last.question, last.recordings))

    def edit(self, turn: Turn, question: str) -> Turn:
        """Put another question in place of an earlier one, with its recordings; everything after it goes.

        Raises:
            ConversationError: the new question cannot be used; nothing was changed.
        """
        self._check(question, 0)
        later = self.turns[self.turns.index(turn) + 1 :]
        for gone in reversed([turn, *later]):
            self.turns.remove(gone)
            delete(gone.recordings if gone is not turn else ())
        fresh = Turn(question.strip(), turn.recordings)
        if later:
            fresh.notes.append(f"{_count(len(later), 'later question')} went with the edit.")
        return self._begin(fresh)

    def replace(self, turns: list[Turn]) -> None:
        """Put other turns in place of these."""
        delete(self.clips)
        self.turns = turns
        self.used = time.monotonic()

    def answer(self, turn: Turn, options: AnswerOptions, models: Models) -> Generator[str, None, None]:
        """The answer so far, again and again; the turn holds the rest of what is known.

        Closing the generator ends the answer as `stop` does. A question that fails, or is stopped before the
        first word, is taken back. What no longer fits the model's context is left out, oldest first, and the turn's
        notes say so.

        Raises:
            AlmError: the model cannot be loaded, or not answer this.
            QueueFullError: too many others wait already.
        """
        turn.options, turn.model = options, options.model or models.first.name
        try:
            if not models.is_loaded(turn.model):
                yield ""  # this will take a while
            served = models.get(turn.model)
            yield from self._heard(options, served.assistant)
            yield from self._fitted(turn, options, served)
        except JobCancelledError:
            pass  # stopped before the first word
        finally:
            if not turn.answered:
                self.withdraw(turn)

    def withdraw(self, turn: Turn) -> None:
        """Take a turn that has no answer out again."""
        if turn in self.turns:
            self.turns.remove(turn)
        delete(turn.recordings)

    def undo(self) -> Turn | None:
        """Take back the last question and its answer; None when there is none or it is being answered."""
        if self.busy or not self.turns:
            return None
        turn = self.turns.pop()
        delete(turn.recordings)
        return turn

    def close(self) -> None:
        """End what is going on and delete the players' files."""
        self.stop()
        delete(self.clips)
        self.turns.clear()

    def open_all(self, uploads: Sequence[Path]) -> list[HeardClip]:
        """Decode uploads.

        Raises:
            ConversationError: some cannot be used; the message has a line for each.
        """
        clips: list[HeardClip] = []
        problems: list[str] = []
        for upload in uploads:
            try:
                clips.append(open_clip(upload, self.folder, self.limits.audio()))
            except AlmError as error:
                problems.append(str(error))
        if problems:
            delete(clips)
            raise ConversationError("\n".join(problems))
        return clips

    def _begin(self, turn: Turn) -> Turn:
        self.turns.append(turn)
        with self._turn:
            self._stopped, self._job = False, None
        self.used = time.monotonic()
        return turn

    def _check(self, question: str, count: int) -> None:
        limits = self.limits
        if self.busy:
            raise ConversationError("the answer before is not finished; wait for it or stop it")
        if not question.strip():
            raise ConversationError("the question is empty; write what you want to know")
        if len(question) > limits.max_question_characters:
            raise ConversationError(
                f"the question has {len(question)} characters; the limit is {limits.max_question_characters}"
            )
        if count > limits.max_recordings_per_turn:
            raise ConversationError(
                f"{count} recordings at once; the limit for one question is {limits.max_recordings_per_turn}"
            )
        if len(self.clips) + count > limits.max_recordings:
            raise ConversationError(
                f"this conversation would hold {len(self.clips) + count} recordings; the limit is "
                f"{limits.max_recordings}. Clear it to begin a new one, or edit an earlier question"
            )

    def _check_seconds(self, clips: Sequence[HeardClip]) -> None:
        if self.seconds + sum(clip.waveform.seconds for clip in clips) > self.limits.max_seconds:
            delete(clips)
            raise ConversationError(
                f"the recordings of this conversation would last more than {self.limits.max_seconds:g} s; "
                "use shorter ones or clear the conversation"
            )

    def _put_back(self, clip: HeardClip, asking: Turn) -> bool:
        """Put a recording where an imported question misses it; False when none does."""
        for turn in self.turns:
            for place, missing in enumerate(turn.recordings):
                if not isinstance(missing, HeardClip) and missing.sha256 == clip.waveform.sha256:
                    turn.recordings[place] = clip
                    asking.notes.append(f"{clip.waveform.source} is back in its place.")
                    return True
        return False

    def _heard(self, options: AnswerOptions, assistant: Assistant) -> Iterator[str]:
        """Evidence of new recordings, shown before the first word of the answer."""
        wanted = assistant.use_evidence if options.evidence is None else options.evidence
        for clip in self.clips if wanted else ():
            if clip.evidence is None and not self._stopped:
                clip.evidence = assistant.analyse(clip.waveform)
                yield ""

    def _fitted(self, turn: Turn, options: AnswerOptions, served: Served) -> Iterator[str]:
        """The answer; while the conversation is too long, its oldest turn is left out."""
        left_out: list[Turn] = []
        try:
            while True:
                try:
                    yield from self._streamed(turn, options, served.engine)
                    return
                except ContextError:
                    oldest = next((t for t in self.turns if t.answered and not t.forgotten), None)
                    if oldest is None:
                        raise
                    oldest.forgotten = True
                    left_out.append(oldest)
        finally:
            if turn.answered and left_out:
                turn.notes.append(_left_out(left_out))
            for other in () if turn.answered else left_out:
                other.forgotten = False  # the question alone is too long, or was stopped: they were not in its way

    def _streamed(self, turn: Turn, options: AnswerOptions, engine: Engine) -> Iterator[str]:
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        job = self._submitted(turn, options, engine, events)
        event: Event = Piece("")
        try:
            while isinstance(event := events.get(), Piece):
                turn.answer += event.text
                yield turn.answer
        finally:
            job.cancel()  # no effect once it is done
            while isinstance(event, Piece):
                event = events.get()
            if isinstance(event, Ended):
                _settle(turn, event)
        if isinstance(event, Failed):
            raise event.error

    def _submitted(
        self, turn: Turn, options: AnswerOptions, engine: Engine, events: queue.SimpleQueue[Event]
    ) -> Job:
        """Raises: JobCancelledError, QueueFullError."""
        system = [{"role": "system", "content": options.system}] if options.system else []
        messages = [*system, *self.history(), turn.messages()[0]]
        seed = secrets.randbelow(2**31) if options.temperature > 0 else 0  # another try says something else
        sampling = Sampling(options.max_new_tokens, options.temperature, seed)
        job = Job(messages, events.put, sampling, evidence=options.evidence)
        with self._turn:
            if self._stopped:
                raise JobCancelledError("stopped before it was asked")
            self._job = job
        engine.submit(job)
        return job


class Sessions:
    """All conversations of the page, bounded in number, age and memory."""

    def __init__(self, models: Models, limits: ChatLimits, folder: Path) -> None:
        self.models = models
        self.limits = limits
        self.folder = folder
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._dropped: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def find(self, key: str) -> Session | None:
        """The conversation of a tab, if it has one."""
        return self._open.get(key)

    def get(self, key: str) -> Session:
        """The conversation of a tab; a new one when there is none.

        Raises:
            ConversationError: all places are taken by conversations that are being answered.
        """
        with self._lock:
            if key not in self._open:
                self._make_room(self.limits.max_conversations - 1)
                self._open[key] = Session(self.limits, self.folder)
            self._open.move_to_end(key)
            self._drop_idle(key)
            return self._open[key]

    def was_dropped(self, key: str) -> bool:
        """Whether the tab's conversation had to go since this was last asked."""
        with self._lock:
            return self._dropped.pop(key, self) is None

    def close(self, key: str) -> None:
        """The tab was closed, or the conversation cleared."""
        with self._lock:
            session = self._open.pop(key, None)
        if session is not None:
            session.close()

    def close_all(self) -> None:
        for key in list(self._open):
            self.close(key)

    def answer(self, session: Session, turn: Turn, options: AnswerOptions) -> Generator[str, None, None]:
        """`Session.answer`, during which the conversation cannot make room for others."""
        session.busy, turn.state = True, "answering"
        try:
            yield from session.answer(turn, options, self.models)
        finally:
            session.busy, session.used = False, time.monotonic()

    def _make_room(self, most: int) -> None:
        while len(self._open) > most:
            victim = next((key for key, session in self._open.items() if not session.busy), None)
            if victim is None:
                raise ConversationError(
                    f"all {self.limits.max_conversations} places for conversations are in use; try again later"
                )
            self._drop(victim)

    def _drop_idle(self, current: str) -> None:
        oldest_use = time.monotonic() - 60.0 * self.limits.max_idle_minutes
        held = sum(session.held_bytes for session in self._open.values())
        for key, session in list(self._open.items()):
            too_much = held > self.limits.max_held_megabytes * 2**20
            if key != current and not session.busy and (too_much or session.used < oldest_use):
                held -= session.held_bytes
                self._drop(key)

    def _drop(self, key: str) -> None:
        self._open.pop(key).close()
        self._dropped[key] = None
        while len(self._dropped) > _DROPPED_KEYS_KEPT:
            self._dropped.popitem(last=False)


def _settle(turn: Turn, ended: Ended) -> None:
    """What the engine says about the answer; stopped before the first word it is none."""
    answer = ended.answer
    if answer.text or answer.finish in ("stop", "length"):
        turn.answer, turn.usage, turn.asked = answer.text, answer.usage, answer.asked
        turn.state = answer.finish if answer.finish in ("stop", "length") else "cancelled"  # type: ignore[assignment]


def _left_out(turns: Sequence[Turn]) -> str:
    """What the model no longer reads."""
    lost: list[Clip] = [clip for turn in turns for clip in turn.clips]
    with_recordings = f" and {_count(len(lost), 'recording')}" if lost else ""
    return (
        f"The conversation became too long for the model: it no longer reads the oldest "
        f"{_count(len(turns), 'question')}{with_recordings}."
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
