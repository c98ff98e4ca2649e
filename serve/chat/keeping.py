"""What people keep of a conversation on the chat page: its file, to and fro, and thumbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from alm.errors import AlmError, ConversationError
from alm.long_audio import open_audio
from serve.chat.cards import chat_messages, feedback_values, missing_text, recordings_panel, status
from serve.chat.examples import EXAMPLES
from serve.chat.exchange import Imported, Known, read_conversation, row_of
from serve.chat.feedback import FeedbackFile, entry_of
from serve.chat.sessions import Session, Sessions
from serve.chat.tabs import key_of, refused
from serve.chat.turns import Turn, turn_at

_STORED = (
    "A thumb keeps the text of this conversation, the settings and the recordings' hashes in a file on the machine "
    "that runs this page; never the sound."
)
_NOTHING = "There is no answered question to export yet."


class Keeping:
    """Buttons for export and import, the row for a thumb's reason, and what they do."""

    def __init__(self, sessions: Sessions, feedback: FeedbackFile | None) -> None:
        self.sessions = sessions
        self.feedback = feedback

    def add_buttons(self) -> None:
        """In the row of the page's buttons."""
        self.export_button = gr.Button("Export", elem_id="export", size="sm", min_width=60)
        self.import_button = gr.UploadButton(
            "Import", elem_id="import", size="sm", min_width=60, file_types=[".json"], file_count="single"
        )
        self.parcel = gr.JSON(visible=False)

    def add_reason(self) -> None:
        """Below the buttons; shown after a thumb."""
        self.reason = gr.Textbox(
            label="What was good or wrong about it? (optional)",
            max_length=1000,
            submit_btn="Send",
            visible=False,
            elem_id="reason",
        )
        if self.feedback is not None:
            gr.HTML(f'<p class="alm-note">{_STORED}</p>', elem_id="stored")

    def connect(
        self, chatbot: gr.Chatbot, box: gr.MultimodalTextbox, system: gr.Textbox, shown: Sequence[Any], **quiet: Any
    ) -> None:
        """Tie the events to the page's components; `shown` are box, chatbot, panel and status."""
        saved = self.export_button.click(self.on_export, [system], [self.parcel, shown[3]], **quiet)
        saved.then(None, [self.parcel], None, js="(row) => { window.almSave(row); return []; }")
        self.import_button.upload(self.on_import, [self.import_button, box], [*shown, system], **quiet)
        if self.feedback is not None:
            thumb = [self.reason, shown[3]]
            chatbot.like(self.on_like, None, thumb, **quiet)
            self.reason.submit(self.on_reason, [self.reason], thumb, **quiet)

    def on_export(self, system: str, request: gr.Request) -> tuple[Any, Any]:
        """The conversation as the browser will save it."""
        session = self.sessions.find(key_of(request))
        if session is None or not any(turn.answered for turn in session.turns):
            return None, status(_NOTHING)
        row = row_of(session.turns, session.id, system.strip())
        count = len(row["audios"])
        with_names = f" It names {count} recording{'s' if count != 1 else ''}; keep the sound files beside it."
        return row, status("The conversation was saved by your browser." + (with_names if count else ""))

    def on_import(self, file: str, box: dict[str, Any] | None, request: gr.Request) -> tuple[Any, ...]:
        """Put the conversation of a file in the place of this one."""
        attached = [Path(name) for name in (box or {}).get("files") or []]
        try:
            session = self.sessions.get(key_of(request))
            if session.busy:
                raise ConversationError("the answer is not finished; wait for it or stop it before you import")
            known = self._known(session, attached)
            imported = read_conversation(Path(file), known, session.folder, session.limits)
        except AlmError as error:
            return (*refused(error, "Not imported"), gr.skip())
        session.replace(imported.turns)
        kept = [str(path) for path in attached if not _used(path, imported)]
        question = imported.open_question or (box or {}).get("text") or ""
        return (
            {"text": question, "files": kept},
            gr.Chatbot(value=chat_messages(session.turns), feedback_value=feedback_values(session.turns)),
            recordings_panel(session.turns),
            self._told(imported),
            imported.system[: session.limits.max_system_characters],
        )

    def on_like(self, like: gr.LikeData, request: gr.Request) -> tuple[Any, Any]:
        """Keep a thumb at once; a reason may follow."""
        session = self.sessions.find(key_of(request))
        turn = turn_at(session.turns, like.index) if session is not None else None
        if session is None or turn is None or not turn.answered:
            return _reason(False), status("That answer is not part of the conversation any more.")
        turn.rating = "up" if like.liked is True else "down" if like.liked is False else None
        session.rated = turn
        return self._keep(session, turn, "")

    def on_reason(self, reason: str, request: gr.Request) -> tuple[Any, Any]:
        """Keep the thumb once more, with its reason."""
        session = self.sessions.find(key_of(request))
        turn = session.rated if session is not None else None
        if session is None or turn is None or turn not in session.turns or not reason.strip():
            return _reason(False), status("")
        return self._keep(session, turn, reason)

    def _keep(self, session: Session, turn: Turn, reason: str) -> tuple[Any, Any]:
        assert self.feedback is not None
        try:
            self.feedback.append(entry_of(session, turn, self.sessions.models.offers.get(turn.model), reason))
        except AlmError as error:
            return _reason(False), status(str(error), problem=True)
        told = "Thank you; that was kept." if turn.rating else "The thumb was taken back."
        return _reason(turn.rating is not None and not reason), status(told)

    def _known(self, session: Session, attached: Sequence[Path]) -> Mapping[str, Known]:
        """Recordings of this tab and of the page itself; never those of other people."""
        known = {clip.waveform.sha256: Known(clip.waveform, clip.upload) for clip in session.clips}
        examples = {path for example in EXAMPLES for path in example.paths}
        for path in (*examples, *attached[: session.limits.max_recordings]):
            if path.is_file():
                waveform = open_audio(path, limits=session.limits.audio())
                known[waveform.sha256] = Known(waveform, path)
        return known

    def _told(self, imported: Imported) -> str:
        count = len(imported.turns)
        what = f"{count} question{'s' if count != 1 else ''} imported. "
        if not imported.missing:
            return status(what + "Go on with the next one.")
        text = missing_text(imported.missing)
        gr.Warning(escape(text), title="Recordings are missing")
        return status(what + text, problem=True)


def _reason(visible: bool) -> Any:
    return gr.Textbox(value="", visible=visible)


def _used(path: Path, imported: Imported) -> bool:
    return any(clip.upload == path for turn in imported.turns for clip in turn.clips)
