"""What the operator of a server decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from serve.api.recordings import Opener


@dataclass(frozen=True)
class ServerSettings:
    """Names, keys and limits."""

    model: str = "tiny"
    """Name under which the model is offered."""
    keys: tuple[str, ...] = ()
    """Bearer keys, any of which opens /v1; none: everybody may ask."""
    most_new_tokens: int = 512
    """Longest answer that may be asked for."""
    new_tokens: int = 256
    """Longest answer if a request names none."""
    opener: Opener = field(default_factory=Opener)
    most_transcriptions: int = 8
    """Recordings to transcribe that may be here at once, the one being read among them."""
