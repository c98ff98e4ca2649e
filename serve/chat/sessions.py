"""Conversations of the chat page, one per browser tab, kept on the server within bounds.

Nothing here knows Gradio: a tab is a key, a question is text and paths of uploads, an answer is an iterator of
pieces. What the page shows is always drawn from a session's turns.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from alm.errors import AlmError, ContextError, ConversationError
from serve.chat.clips import Clip, HeardClip, delete, open_clip
from serve.chat.limits import ChatLimits
from serve.chat.turns import AnswerOptions, Turn

if TYPE_CHECKING:
    from alm.assistant import Assistant
    from alm.conversation import Conversation

_DROPPED_KEYS_KEPT = 1000


class ModelGate:
    """Lets one answer at a time to the model, and gives up waiting when it is told to stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def enter(self, stop: threading.Event) -> Iterator[bool]:
        """True inside when it is this caller's turn, False when `stop` was set before it came."""
        while not (entered := self._lock.acquire(timeout=0.05)) and not stop.is_set():
            pass
        try:
            yield entered
        finally:
            if entered:
                self._lock.release()


@dataclass
class Session:
    """One conversation and its recordings."""

    conversation: Conversation
    limits: ChatLimits
    folder: Path
    """Where the players' files lie."""
    turns: list[Turn] = field(default_factory=list)
    used: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)
    busy: bool = False
    """While an answer is being made, or waits for the model."""
    stale: bool = False
    """The turns are not what the model's history holds; it is told anew before the next answer."""
    rated: Turn | None = None
    """The turn that got the last thumb."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def clips(self) -> list[HeardClip]:
        """Recordings of all turns, in order."""
        return [clip for turn in self.turns for clip in turn.clips]

    @property
    def seconds(self) -> float:
        return sum(clip.waveform.seconds for clip in self.clips)

    @property
    def held_bytes(self) -> int:
        return sum(clip.waveform.samples.nbytes for clip in self.clips)

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
        self._forget_answer(last)
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
            self._forget_answer(gone)
            delete(gone.recordings if gone is not turn else ())
        fresh = Turn(question.strip(), turn.recordings)
        if later:
            fresh.notes.append(f"{_count(len(later), 'later question')} went with the edit.")
        return self._begin(fresh)

    def replace(self, turns: list[Turn]) -> None:
        """Put other turns in place of these; what was heard of their recordings is told to the model later."""
        delete(self.clips)
        self.turns, self.stale = turns, True
        self.used = time.monotonic()

    def answer(self, turn: Turn, options: AnswerOptions, assistant: Assistant) -> Generator[str, None, None]:
        """The answer so far, again and again; the turn holds the rest of what is known.

        Closing the generator ends the answer as `stop` does. A question that fails, or is stopped before the
        first word, is taken back. What no longer fits the model's context is left out, oldest first, and the turn's
        notes say so.

        Raises:
            AlmError: as `Conversation.stream`.
        """
        stop = self.stop
        turn.options = options
        try:
            yield from self._heard(options, assistant)
            if self.stale:
                self._retell(assistant)
            self.conversation.system = options.system or None
            yield from self._fitted(turn, options, stop, assistant)
        finally:
            stop.set()
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
        self._forget_answer(turn)
        delete(turn.recordings)
        return turn

    def close(self) -> None:
        """End what is going on and delete the players' files."""
        self.stop.set()
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
        self.stop = threading.Event()
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
                    turn.recordings[place], self.stale = clip, True
                    asking.notes.append(f"{clip.waveform.source} is back in its place.")
                    return True
        return False

    def _heard(self, options: AnswerOptions, assistant: Assistant) -> Iterator[str]:
        """Evidence of new recordings, shown before the first word of the answer."""
        if options.evidence is not None:
            self.conversation.use_evidence = options.evidence
        for clip in self.clips if self.conversation.use_evidence else ():
            if clip.evidence is None and not self.stop.is_set():
                clip.evidence = assistant.analyse(clip.waveform)
                yield ""

    def _retell(self, assistant: Assistant) -> None:
        """Begin the model's history anew with the turns that it should read."""
        chat = assistant.conversation(self.conversation.system, self.conversation.use_evidence)
        for turn in self.turns:
            if turn.answered and not turn.forgotten:
                for message in turn.messages():
                    chat.remember(message)
        self.conversation, self.stale = chat, False

    def _fitted(
        self, turn: Turn, options: AnswerOptions, stop: threading.Event, assistant: Assistant
    ) -> Iterator[str]:
        """The answer; while the conversation is too long, its oldest turn is left out."""
        left_out: list[Turn] = []
        while True:
            try:
                yield from self._streamed(turn, options, stop)
                break
            except ContextError:
                oldest = next((t for t in self.turns if t.answered and not t.forgotten), None)
                if oldest is None:  # the question alone is too long: the others were not in its way
                    for other in left_out:
                        other.forgotten, self.stale = False, True
                    raise
                oldest.forgotten = True
                left_out.append(oldest)
                self._retell(assistant)
        if left_out:
            turn.notes.append(_left_out(left_out))

    def _streamed(self, turn: Turn, options: AnswerOptions, stop: threading.Event) -> Iterator[str]:
        chat = self.conversation
        before = chat.last
        waveforms = [clip.waveform for clip in turn.clips]
        if stop.is_set():
            return
        pieces = chat.stream(
            turn.question,
            audio=waveforms,
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            stop=stop,
        )
        try:
            for piece in pieces:
                turn.answer += piece
                yield turn.answer
        finally:
            pieces.close()
            self._settle(turn, before)

    def _settle(self, turn: Turn, before: object) -> None:
        """What the conversation says about the answer; a question that got none must not stay in it."""
        last = self.conversation.last
        if last is None or last is before:
            if _waits_for_answer(self.conversation):
                self.conversation.undo()
            return
        turn.answer, turn.usage, turn.asked = last.text, last.usage, last.asked
        turn.state = last.finish if last.finish in ("stop", "length") else "cancelled"  # type: ignore[assignment]

    def _forget_answer(self, turn: Turn) -> None:
        """Undo in the model's history, too; turns go from the end."""
        if turn.answered and not turn.forgotten and not self.stale:
            self.conversation.undo()


class Sessions:
    """All conversations of the page, bounded in number, age and memory."""

    def __init__(self, assistant: Assistant, limits: ChatLimits, folder: Path) -> None:
        self.assistant = assistant
        self.limits = limits
        self.folder = folder
        self.gate = ModelGate()
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
                self._open[key] = Session(self.assistant.conversation(), self.limits, self.folder)
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
        """`Session.answer` behind the gate."""
        session.busy, turn.state = True, "answering"
        try:
            with self.gate.enter(session.stop) as entered:
                if not entered:
                    session.withdraw(turn)
                    return
                answer = session.answer(turn, options, self.assistant)
                try:
                    yield from answer
                finally:
                    answer.close()
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


def _waits_for_answer(conversation: Conversation) -> bool:
    history = conversation.history
    return bool(history) and history[-1]["role"] == "user"


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
