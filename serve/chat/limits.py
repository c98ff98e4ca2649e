"""Bounds of the chat page."""

from __future__ import annotations

from dataclasses import dataclass, replace

from alm.audio import AudioLimits
from alm.errors import ConfigError
from alm.long_audio import LONG_LIMITS


@dataclass(frozen=True)
class ChatLimits:
    """What one conversation, and the page as a whole, may take.

    Raises:
        ConfigError: a bound is not positive.
    """

    max_file_megabytes: int = 200
    """Size of one upload."""
    max_recordings_per_turn: int = 4
    """Recordings that one question may bring."""
    max_recordings: int = 12
    """Recordings in one conversation."""
    max_seconds: float = 10_800.0
    """Length of all recordings of one conversation."""
    max_question_characters: int = 4000
    """Length of one question."""
    max_system_characters: int = 2000
    """Length of a system prompt."""
    max_import_megabytes: int = 1
    """Size of a conversation's file."""
    max_new_tokens: int = 512
    """Upper end of the slider for the length of an answer."""
    max_conversations: int = 32
    """Conversations kept at a time; the one unused for longest makes room."""
    max_held_megabytes: int = 1024
    """Audio of all conversations, decoded or (where it is long) as files; beyond it, too, the oldest makes room."""
    max_idle_minutes: float = 120.0
    """A conversation unused for so long is dropped."""
    max_queue: int = 32
    """Questions that may wait beside those that are being answered."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"{name} is {value}; it must be above 0")

    def audio(self) -> AudioLimits:
        """The same bounds for the decoder."""
        return replace(LONG_LIMITS, max_file_bytes=self.max_file_megabytes * 2**20, max_seconds=self.max_seconds)
