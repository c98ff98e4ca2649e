"""The chat page: Gradio around the conversations of `serve.chat.sessions`."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from alm.errors import AlmError, ConfigError
from alm.terminal import printable
from serve.chat.cards import chat_messages, feedback_values, recordings_panel, status, usage_text
from serve.chat.examples import EXAMPLES, FOLDER, chat_examples
from serve.chat.feedback import FeedbackFile
from serve.chat.keeping import Keeping
from serve.chat.limits import ChatLimits
from serve.chat.look import about, asset, head, theme, title
from serve.chat.models import Models
from serve.chat.security import SecurityHeaders
from serve.chat.sessions import Session, Sessions
from serve.chat.tabs import Updates, key_of, nothing, refused, unchanged
from serve.chat.turns import AnswerOptions, Turn, turn_at
from serve.engines.jobs import QueueFullError

_LOG = logging.getLogger(__name__)
_AUDIO_TYPES = ["audio", ".opus", ".amr", ".gsm", ".g722", ".ulaw", ".alaw", ".caf", ".w64", ".au", ".mka"]
_DROPPED = "Your conversation was closed because it was unused for long or room was needed. A new one begins."
_THREADS = 40
"""For all that is no answer: clicks, uploads, files."""
_EMPTY_BOX: dict[str, Any] = {"text": "", "files": []}


@dataclass(frozen=True)
class PageSettings:
    """Where and for whom the page opens."""

    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    auth: tuple[str, str] | None = None
    open_browser: bool = True
    feedback: Path | None = None
    """File for thumbs; without one the page has none."""


class ChatPage:
    """The page's components and what happens when they are used."""

    def __init__(self, sessions: Sessions, feedback: FeedbackFile | None = None) -> None:
        self.sessions = sessions
        self.keeping = Keeping(sessions, feedback)
        limits = sessions.limits
        idle = int(60 * limits.max_idle_minutes)
        with gr.Blocks(
            title="alm", analytics_enabled=False, fill_height=False, delete_cache=(600, idle)
        ) as self.blocks:
            gr.HTML(title(list(sessions.models.offers.values())), elem_id="title")
            with gr.Row(equal_height=False):
                with gr.Column(scale=3, min_width=280, elem_id="talk"):
                    self._add_conversation(limits)
                    self._add_settings(sessions.models, limits)
                with gr.Column(scale=2, min_width=280):
                    self.panel = gr.HTML(recordings_panel([]), elem_id="recordings", label="Recordings")
            self._connect()
        self.blocks.queue(max_size=4 * limits.max_conversations, default_concurrency_limit=4)

    def _add_conversation(self, limits: ChatLimits) -> None:
        self.chatbot = gr.Chatbot(
            elem_id="conversation",
            label="Conversation",
            show_label=False,
            height="58vh",
            min_height=260,
            latex_delimiters=[],
            allow_tags=False,
            buttons=["copy"],
            editable="user",
            examples=chat_examples(),
            placeholder="What would you like to know about a recording?",
        )
        self.box = gr.MultimodalTextbox(
            elem_id="question",
            label="Question",
            show_label=False,
            sources=["upload", "microphone"],
            file_count="multiple",
            file_types=_AUDIO_TYPES,
            placeholder="Ask about recordings",
            max_plain_text_length=10 * limits.max_question_characters,
            autofocus=True,
            stop_btn=False,
        )
        self.status = gr.HTML(status(""), elem_id="status")
        with gr.Row(elem_id="actions"):
            self.retry = gr.Button("Retry", elem_id="retry", size="sm", min_width=60)
            self.undo = gr.Button("Undo", elem_id="undo", size="sm", min_width=60)
            self.clear = gr.Button("Clear", elem_id="clear", size="sm", min_width=60)
            self.keeping.add_buttons()
        self.keeping.add_reason()

    def _add_settings(self, models: Models, limits: ChatLimits) -> None:
        first = models.first
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            self.model = gr.Dropdown(
                [(offer.label, name) for name, offer in models.offers.items()],
                value=first.name,
                label="Model",
                info="Each answer is given by the model that is chosen when it is asked for.",
                filterable=False,
                interactive=True,
                elem_id="model",
            )
            self.about = gr.HTML(about(first), elem_id="about")
            self.evidence = gr.Checkbox(
                models.get(first.name).assistant.use_evidence,
                label="Evidence",
                info="Events and transcript are given to the language model as text, too.",
                elem_id="evidence",
            )
            self.max_new_tokens = gr.Slider(
                8,
                limits.max_new_tokens,
                value=min(256, limits.max_new_tokens),
                step=8,
                label="Longest answer (tokens)",
                elem_id="max-new-tokens",
            )
            self.temperature = gr.Slider(
                0.0, 1.5, value=0.0, step=0.1, label="Temperature", info="0 takes the likeliest word.",
                elem_id="temperature",
            )  # fmt: skip
            self.system = gr.Textbox(
                "",
                label="System prompt",
                info="Stands before the conversation; empty for the preset's own.",
                lines=2,
                max_length=limits.max_system_characters,
                elem_id="system",
            )

    def _connect(self) -> None:
        shown = [self.box, self.chatbot, self.panel, self.status]
        options = [self.evidence, self.max_new_tokens, self.temperature, self.system, self.model]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # As many as there can be: a conversation has one answer at a time, and the engine bounds how many wait.
        most = self.sessions.limits.max_conversations
        model: dict[str, Any] = {**quiet, "concurrency_limit": most, "concurrency_id": "answers"}
        self.box.submit(self.on_submit, [self.box], shown, **quiet).then(self.on_answer, options, shown, **model)
        self.retry.click(self.on_retry, None, shown, **quiet).then(self.on_answer, options, shown, **model)
        self.chatbot.edit(self.on_edit, None, shown, **quiet).then(self.on_answer, options, shown, **model)
        self.chatbot.example_select(self.on_example, None, [self.box], **quiet)
        self.undo.click(self.on_undo, None, shown, **quiet)
        self.clear.click(self.on_clear, None, shown, **quiet)
        self.chatbot.clear(self.on_clear, None, shown, **quiet)
        self.box.stop(self.on_stop, None, None, queue=False, **quiet)
        self.model.change(self.on_model, [self.model], [self.about], **quiet)
        self.blocks.unload(self.on_unload)
        self.keeping.connect(self.chatbot, self.box, self.system, shown, **quiet)

    def on_submit(self, message: dict[str, Any], request: gr.Request) -> Updates:
        """Take the question; it is shown at once and answered by `on_answer`."""
        try:
            key = key_of(request)
            session = self.sessions.get(key)
            if self.sessions.was_dropped(key):
                gr.Info(_DROPPED)
            session.take(message.get("text") or "", [Path(name) for name in message.get("files") or []])
        except AlmError as error:
            return refused(error, "Not asked")
        return self._running(session, "")

    def on_retry(self, request: gr.Request) -> Updates:
        """Put the last question again."""
        session = self._session(request)
        if session is None or session.take_again() is None:
            return self._nothing_left(request, "There is no finished answer to try again.")
        return self._running(session, "")

    def on_edit(self, edit: gr.EditData, request: gr.Request) -> Updates:
        """Put another question in an earlier one's place; what came after it is dropped."""
        session = self._session(request)
        turn = turn_at(session.turns, edit.index) if session is not None else None
        if session is None or turn is None:
            return self._nothing_left(request, "That question is not part of the conversation any more.")
        try:
            session.edit(turn, str(edit.value))
        except AlmError as error:
            note = refused(error, "Not changed")[3]
            return (gr.skip(), *self._drawn(session), note)  # the page shows the new text already
        return self._running(session, "")

    def on_example(self, chosen: gr.SelectData) -> Any:
        """Put an example into the box; asking it is a key more."""
        example = EXAMPLES[int(chosen.index) % len(EXAMPLES)]
        return {"text": example.question, "files": [str(path) for path in example.paths]}

    def on_answer(
        self, evidence: bool, max_new_tokens: float, temperature: float, system: str, model: str, request: gr.Request
    ) -> Iterator[Updates]:
        """Stream the answer to the question that waits, if one does."""
        session = self._session(request)
        turn = session.turns[-1] if session is not None and session.turns else None
        if session is None or turn is None or turn.state != "waiting":
            yield unchanged()  # Gradio empties the outputs of a generator that yields nothing
            return
        told = (system or "").strip()[: session.limits.max_system_characters]
        options = AnswerOptions(evidence, int(max_new_tokens), float(temperature), told, model or "")
        answer = self.sessions.answer(session, turn, options)
        try:
            yield from self._streaming(session, turn, answer, request)
        except QueueFullError as full:
            yield self._taken_back(session, turn, request, error=_busy(full))
        except AlmError as error:
            yield self._taken_back(session, turn, request, error=str(error))
        except Exception:
            mark = secrets.token_hex(4)
            _LOG.exception("answering failed (%s)", mark)
            yield self._taken_back(
                session, turn, request, error=f"Something went wrong inside; the log has it under {mark}. Try again."
            )
        else:
            yield self._ended(session, turn, request)
        finally:
            answer.close()

    def on_stop(self, request: gr.Request) -> None:
        """End the answer; the stream notices within a token."""
        session = self._session(request)
        if session is not None:
            session.stop()

    def on_model(self, name: str) -> str:
        """Tell about the model that was chosen; it is loaded when it is asked."""
        return about(self.sessions.models.offers[name])

    def on_undo(self, request: gr.Request) -> Updates:
        """Take back the last question and put it into the box again."""
        session = self._session(request)
        turn = session.undo() if session is not None else None
        if session is None or turn is None:
            return self._nothing_left(request, "There is nothing to take back.")
        note = "The last question was taken back." + _expired(turn)
        return (_refilled(turn), *self._drawn(session), status(note))

    def on_clear(self, request: gr.Request) -> Updates:
        """Begin anew; an answer that is being written ends."""
        self.sessions.close(key_of(request))
        return (_idle_box(_EMPTY_BOX), _no_bubbles(), recordings_panel([]), status(""))

    def on_unload(self, request: gr.Request) -> None:
        """The tab was closed."""
        self.sessions.close(key_of(request))

    def _session(self, request: gr.Request) -> Session | None:
        return self.sessions.find(key_of(request))

    def _is_current(self, session: Session, request: gr.Request) -> bool:
        """False once the conversation was cleared: a late piece must not bring it back."""
        return self._session(request) is session

    def _streaming(
        self, session: Session, turn: Turn, answer: Iterator[str], request: gr.Request
    ) -> Iterator[Updates]:
        with_evidence = -1
        for _ in answer:
            if not self._is_current(session, request):
                return
            known = sum(clip.evidence is not None for clip in session.clips)
            panel = gr.skip() if known == with_evidence else recordings_panel(session.turns, listening=True)
            with_evidence = known
            yield (gr.skip(), chat_messages(session.turns), panel, status(self._doing(turn)))

    def _doing(self, turn: Turn) -> str:
        if not self.sessions.models.is_loaded(turn.model):
            return f"Loading {turn.model}: nobody has used it yet, so this takes a moment\u2026"
        return "Answering\u2026" if turn.answer else "Listening\u2026"

    def _ended(self, session: Session, turn: Turn, request: gr.Request) -> Updates:
        if not turn.answered or not self._is_current(session, request):
            return self._taken_back(session, turn, request)
        told = status("\n".join([*turn.notes, usage_text(turn)]))
        return (_idle_box(), chat_messages(session.turns), recordings_panel(session.turns), told)

    def _taken_back(self, session: Session, turn: Turn, request: gr.Request, error: str | None = None) -> Updates:
        """The question goes back into the box: it failed, or was stopped before the first word."""
        if not self._is_current(session, request):
            return self._as_it_is(request)
        note = status((error or "Stopped before the first word.") + _expired(turn), problem=error is not None)
        if error:
            gr.Warning(escape(printable(error, keep="")), title="No answer")
        return (_refilled(turn), *self._drawn(session), note)

    def _as_it_is(self, request: gr.Request) -> Updates:
        """For an answer that outlived its conversation: its last piece may have reached the page after the clearing."""
        session = self._session(request)
        if session is None:
            return (gr.skip(), [], recordings_panel([]), status(""))
        return (gr.skip(), chat_messages(session.turns), recordings_panel(session.turns, session.busy), gr.skip())

    def _running(self, session: Session, text: str) -> Updates:
        box = gr.MultimodalTextbox(value=_EMPTY_BOX, submit_btn=False, stop_btn=True)
        panel = recordings_panel(session.turns, listening=True)
        return (box, self._bubbles(session), panel, status(text or "Listening\u2026"))

    def _bubbles(self, session: Session) -> Any:
        return gr.Chatbot(value=chat_messages(session.turns), feedback_value=feedback_values(session.turns))

    def _nothing_left(self, request: gr.Request, text: str) -> Updates:
        """The button does not apply; perhaps because the conversation had to go while nobody looked."""
        if not self.sessions.was_dropped(key_of(request)):
            return nothing(text)
        gr.Info(_DROPPED)
        return (gr.skip(), _no_bubbles(), recordings_panel([]), status(_DROPPED, problem=True))

    def _drawn(self, session: Session) -> tuple[Any, Any]:
        return self._bubbles(session), recordings_panel(session.turns)


def open_page(models: Models, limits: ChatLimits, page: PageSettings) -> None:
    """Serve the page until it is interrupted; at the end everything that was uploaded is deleted, and engines close.

    Raises:
        ConfigError: the port is taken, or the address cannot be listened on.
    """
    with tempfile.TemporaryDirectory(prefix="alm-chat-", ignore_cleanup_errors=True) as folder:
        uploads, players = Path(folder, "uploads"), Path(folder, "players")
        players.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)
        sessions = Sessions(models, limits, players)
        chat = ChatPage(sessions, FeedbackFile(page.feedback) if page.feedback else None)
        signal.signal(signal.SIGTERM, _interrupted)  # or the recordings would stay behind
        try:
            _launch(chat.blocks, limits, page, players)
        finally:
            sessions.close_all()
            models.close()


def _launch(blocks: gr.Blocks, limits: ChatLimits, page: PageSettings, players: Path) -> None:
    try:
        _, address, _ = blocks.launch(
            server_name=page.host,
            server_port=page.port or _free_port(page.host),
            share=page.share,
            auth=page.auth,
            inbrowser=page.open_browser,
            max_file_size=limits.max_file_megabytes * 2**20,
            allowed_paths=[str(players), str(FOLDER)],
            max_threads=_THREADS + limits.max_conversations,
            state_session_capacity=4 * limits.max_conversations,
            run_history=False,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
            enable_monitoring=False,
            ssr_mode=False,
            theme=theme(),
            css=asset("page.css"),
            head=head(),
            app_kwargs={"middleware": [(SecurityHeaders, (), {})], "docs_url": None, "redoc_url": None},
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {page.host} port {page.port} ({error}); choose another with --port, or 0 for any"
        ) from None
    gr_address = blocks.share_url or address
    _say(f"The page is open on {gr_address} - stop it with Ctrl-C")
    blocks.block_thread()


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    from alm.terminal import reporter

    reporter()(text)


def _free_port(host: str) -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _idle_box(value: Any = ...) -> Any:
    fields: dict[str, Any] = {"submit_btn": True, "stop_btn": False}
    return gr.MultimodalTextbox(**fields) if value is ... else gr.MultimodalTextbox(value=value, **fields)


def _refilled(turn: Turn) -> Any:
    """The box with a question as it was, without uploads that have expired since."""
    uploads = [str(clip.upload) for clip in turn.clips if clip.upload.is_file()]
    return _idle_box({"text": turn.question, "files": uploads})


def _no_bubbles() -> Any:
    return gr.Chatbot(value=[], feedback_value=[])


def _busy(full: QueueFullError) -> str:
    seconds = math.ceil(full.seconds)
    return f"Many people are asking at the moment. Your question is still here: send it again in about {seconds} s."


def _expired(turn: Turn) -> str:
    """Names the uploads that could not be put back into the box."""
    lost = [clip.waveform.source for clip in turn.clips if not clip.upload.is_file()]
    return f" No longer here, attach again: {', '.join(lost)}." if lost else ""
