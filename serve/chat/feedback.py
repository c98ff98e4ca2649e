"""Thumbs that people give to answers, kept as lines of JSON: the texts and the recordings' hashes, never the sound."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm.errors import ConfigError
from serve.chat.exchange import row_of
from serve.chat.turns import Turn

if TYPE_CHECKING:
    from serve.chat.models import Offer
    from serve.chat.sessions import Session

_REASON_CHARACTERS = 1000
_CUT_CHARACTERS = 500
_CUT = " [...]"


@dataclass(frozen=True)
class FeedbackFile:
    """Where feedback is kept, within bounds."""

    path: Path
    max_entry_bytes: int = 64 * 2**10
    """The oldest messages are left out of a longer entry."""
    max_file_bytes: int = 64 * 2**20

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line; when this returns it is on the disk.

        Raises:
            ConfigError: the file is full or cannot be written.
        """
        data = _bounded(entry, self.max_entry_bytes)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "ab", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._write(file.fileno(), data)
        except OSError as error:
            raise ConfigError(f"feedback could not be kept ({error.strerror}); tell who runs this page") from None

    def _write(self, handle: int, data: bytes) -> None:
        size = os.fstat(handle).st_size
        if size + len(data) > self.max_file_bytes:
            raise ConfigError(
                f"feedback could not be kept: its file has reached {self.max_file_bytes // 2**20} MB; "
                "tell who runs this page to move it"
            )
        if os.write(handle, data) != len(data):
            os.ftruncate(handle, size)  # a full disk: keep what was whole
            raise ConfigError("feedback could not be kept: the disk is full; tell who runs this page")
        os.fsync(handle)


def entry_of(session: Session, turn: Turn, model: Offer | None, reason: str = "") -> dict[str, Any]:
    """What is kept of a thumb.

    Args:
        model: what gave the answer; None if an imported file did not say it, or said one that is not offered.
    """
    place = session.turns.index(turn)
    row = row_of(session.turns[: place + 1], session.id, turn.options.system if turn.options else "")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "id": session.id,
        "answer": place + 1,
        "rating": turn.rating,
        "reason": reason.strip()[:_REASON_CHARACTERS],
        "messages": row["messages"],
        "sha256": row["sha256"],
        "model": turn.model,
        "preset": model.preset if model else None,
        "adapter": str(model.adapter) if model and model.adapter else None,
        "settings": asdict(turn.options) if turn.options else None,
        "finish": turn.state,
        "usage": asdict(turn.usage) if turn.usage else None,
    }


def _bounded(entry: Mapping[str, Any], most: int) -> bytes:
    """A line of at most `most` bytes: old messages are left out first, then texts are cut."""
    messages = list(entry["messages"])
    data = _line(entry)
    while len(data) > most and len(messages) > 2:
        del messages[0]
        data = _line({**entry, "messages": messages, "messages_left_out": len(entry["messages"]) - len(messages)})
    if len(data) > most:
        cut = [{**m, "content": m["content"][:_CUT_CHARACTERS] + _CUT} for m in messages]
        data = _line({**entry, "messages": cut, "messages_left_out": len(entry["messages"]) - len(cut)})
    return data


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
