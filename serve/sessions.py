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
from typing import TYPE_CHECKING, Literal

import soundfile as sf

from alm.audio import Waveform, load_audio
from alm.errors import AlmError, ConversationError
from serve.limits import ChatLimits
from serve.pictures import Spectrogram, outline, spectrogram

if TYPE_CHECKING:
    from alm.asked import Asked
    from alm.assistant import Assistant
    from alm.conversation import Conversation, Usage
    from alm.evidence import Evidence

_DROPPED_KEYS_KEPT = 1000
_PLAYER_RATES_HZ = (8_000, 48_000)
TurnState = Literal["waiting", "answering", "stop", "length", "cancelled"]


@dataclass
class HeardClip:
    """A recording of a conversation."""

    waveform: Waveform
    upload: Path
    """The file as it was uploaded; it may expire."""
    player: Path
    """What the browser plays: the sound as the model gets it, in a format that every browser knows."""
    picture: Spectrogram
    outline: list[tuple[float, float]]
    evidence: Evidence | None = None


@dataclass
class Turn:
    """A question and what came of it."""

    question: str
    clips: list[HeardClip]
    answer: str = ""
    state: TurnState = "waiting"
    usage: Usage | None = None
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True)
class AnswerOptions:
    """What the settings of the page say about the next answer."""

    evidence: bool | None = None
    """None keeps the assistant's own setting."""
    max_new_tokens: int = 256
    temperature: float = 0.0


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

    @property
    def clips(self) -> list[HeardClip]:
        """Recordings of all turns, in order; the first is number 1."""
        return [clip for turn in self.turns for clip in turn.clips]

    @property
    def seconds(self) -> float:
        return sum(clip.waveform.seconds for clip in self.clips)

    @property
    def held_bytes(self) -> int:
        return sum(clip.waveform.samples.nbytes for clip in self.clips)

    def take(self, question: str, uploads: Sequence[Path]) -> Turn:
        """Check and decode a question's recordings and put it at the end, waiting for its answer.

        Raises:
            ConversationError: something about the question or its recordings cannot be used; the message has
            a line for each problem, and nothing was changed.
        """
        self._check(question, uploads)
        if self.turns and self.turns[-1].state == "waiting":
            self.withdraw(self.turns[-1])  # its answer was never begun: the queue was full, or the browser gone
        clips = self._open_all(uploads)
        if self.seconds + sum(clip.waveform.seconds for clip in clips) > self.limits.max_seconds:
            self._delete(clips)
            raise ConversationError(
                f"the recordings of this conversation would last more than {self.limits.max_seconds:g} s; "
                "use shorter ones or clear the conversation"
            )
        return self._begin(Turn(question.strip(), clips))

    def take_again(self) -> Turn | None:
        """Take the last question back and put it again; None when there is none."""
        if self.busy or not self.turns:
            return None
        last = self.turns.pop()
        self._forget_unanswered(last)
        return self._begin(Turn(last.question, last.clips))

    def answer(self, turn: Turn, options: AnswerOptions, assistant: Assistant) -> Generator[str, None, None]:
        """The answer so far, again and again; the turn holds the rest of what is known.

        Closing the generator ends the answer as `stop` does. A question that fails, or is stopped before the
        first word, is taken back.

        Raises:
            AlmError: as `Conversation.stream`.
        """
        stop = self.stop
        try:
            yield from self._heard(turn, options, assistant)
            yield from self._streamed(turn, options, stop)
        finally:
            stop.set()
            if turn.usage is None:
                self.withdraw(turn)

    def withdraw(self, turn: Turn) -> None:
        """Take a turn that has no answer out again."""
        if turn in self.turns:
            self.turns.remove(turn)
        self._delete(turn.clips)

    def undo(self) -> Turn | None:
        """Take back the last question and its answer; None when there is none or it is being answered."""
        if self.busy or not self.turns:
            return None
        turn = self.turns.pop()
        self._forget_unanswered(turn)
        self._delete(turn.clips)
        return turn

    def close(self) -> None:
        """End what is going on and delete the players' files."""
        self.stop.set()
        self._delete(self.clips)
        self.turns.clear()

    def _begin(self, turn: Turn) -> Turn:
        self.turns.append(turn)
        self.stop = threading.Event()
        self.used = time.monotonic()
        return turn

    def _check(self, question: str, uploads: Sequence[Path]) -> None:
        limits, count = self.limits, len(uploads)
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
                f"{limits.max_recordings}. Clear it to begin a new one"
            )

    def _open_all(self, uploads: Sequence[Path]) -> list[HeardClip]:
        clips: list[HeardClip] = []
        problems: list[str] = []
        for upload in uploads:
            try:
                clips.append(self._open(upload))
            except AlmError as error:
                problems.append(str(error))
        if problems:
            self._delete(clips)
            raise ConversationError("\n".join(problems))
        return clips

    def _open(self, upload: Path) -> HeardClip:
        waveform = load_audio(upload, limits=self.limits.audio())
        # A name that nobody can guess: whoever knows it may fetch the file.
        player = self.folder / f"{secrets.token_hex(16)}.flac"
        low, high = _PLAYER_RATES_HZ
        rate = min(max(waveform.rate, low), high)
        sf.write(player, waveform.resampled(rate).clip(-1.0, 1.0), rate, format="FLAC", subtype="PCM_16")
        return HeardClip(waveform, upload, player, spectrogram(waveform), outline(waveform))

    def _heard(self, turn: Turn, options: AnswerOptions, assistant: Assistant) -> Iterator[str]:
        """Evidence of new recordings, shown before the first word of the answer."""
        if options.evidence is not None:
            self.conversation.use_evidence = options.evidence
        for clip in turn.clips if self.conversation.use_evidence else ():
            if clip.evidence is None and not self.stop.is_set():
                clip.evidence = assistant.analyse(clip.waveform)
                yield ""

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

    def _forget_unanswered(self, turn: Turn) -> None:
        """Undo in the model's history, too."""
        if turn.usage is not None:
            self.conversation.undo()

    @staticmethod
    def _delete(clips: Sequence[HeardClip]) -> None:
        for clip in clips:
            clip.player.unlink(missing_ok=True)


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
