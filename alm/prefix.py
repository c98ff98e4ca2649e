"""What two prompts share: whether keys and values of an earlier one may serve a later one."""

from __future__ import annotations

from collections.abc import Sequence

from alm.configuration import AlmConfig
from alm.messages import Encoded


def position_keys(prompt: Encoded, config: AlmConfig) -> list[int]:
    """The prompt's ids, but each recording's positions hold its content hash: same length is not same sound."""
    keys = list(prompt.ids)
    places = iter([i for i, token in enumerate(keys) if token == config.audio_token_id])
    for recording, windows in zip(prompt.recordings, prompt.windows, strict=True):
        mark = -1 - int(recording.sha256[:15], 16)
        for _ in range(windows * config.tokens_per_window):
            keys[next(places)] = mark
    return keys


def shared_length(keys: Sequence[int], known: Sequence[int], ids: Sequence[int], config: AlmConfig) -> int:
    """How many positions of a prompt are known, as far as they may be used; at least the last one is read anew.

    A cut inside a recording's tokens goes back to before the recording. What was read with the LoRA of another kind of
    conversation is no use: 0 if the known part holds no recording but the prompt does, or the other way round.

    Args:
        keys: the prompt's [`position_keys`].
        known: those of what was read before.
        ids: the prompt's ids.
    """
    most = min(len(keys) - 1, len(known))
    shared = next((i for i in range(most) if keys[i] != known[i]), most)
    audio = config.audio_token_id
    while 0 < shared < len(ids) and ids[shared] == audio and ids[shared - 1] == audio:
        shared -= 1
    heard_before = any(k < 0 for k in known)
    if heard_before != (audio in ids):
        return 0
    return shared
