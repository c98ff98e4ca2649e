"""Typed errors: each names the thing, the value seen, the limit and the remedy. On the command line: exit code 2."""

from __future__ import annotations


class AlmError(Exception):
    """Base of every error that a user can cause and can mend."""


class AudioError(AlmError):
    """A recording cannot be used: not audio, empty, damaged, or beyond a limit."""


class WeightsError(AlmError):
    """Pretrained weights are missing, damaged or of another shape than the configuration says."""


class CheckpointError(AlmError):
    """A checkpoint or adapter folder is missing, damaged, or does not belong to the model."""


class ConfigError(AlmError):
    """A configuration value is unknown, out of range, or contradicts another."""


class PresetError(AlmError):
    """A preset name is unknown."""


class ConversationError(AlmError):
    """Messages and recordings do not match, or exceed a limit of the conversation."""


class ContextError(ConversationError):
    """A conversation is too long for the model's context: an earlier part must go."""


class RecordError(AlmError):
    """A data row is malformed: the message names file, line, field and value."""


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its kind where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]
