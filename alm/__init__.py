"""alm: an assistant that listens. Give it recordings and a question, and it answers from what it hears.

    import alm
    a = alm.load("tiny")
    chat = a.conversation()
    print(chat.ask("What is this?", audio="dog.wav").text)

`import alm.auto` makes transformers' `Auto` classes know the model. Names below are loaded on first use, so that
importing the package takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alm.assistant import Assistant
    from alm.audio import AudioLimits, Waveform, load_audio
    from alm.configuration import AlmConfig
    from alm.conversation import Answer, Conversation
    from alm.errors import AlmError
    from alm.evidence import Evidence
    from alm.fusion import FusionCache
    from alm.listening import Listening
    from alm.loading import load
    from alm.long_audio import LongRecording, open_audio
    from alm.modeling import AlmForConditionalGeneration, AlmModel
    from alm.processing import AlmFeatureExtractor, AlmProcessor

__version__ = "0.1.0"

_HOMES = {
    "AlmConfig": "configuration",
    "AlmError": "errors",
    "AlmFeatureExtractor": "processing",
    "AlmForConditionalGeneration": "modeling",
    "AlmModel": "modeling",
    "AlmProcessor": "processing",
    "Answer": "conversation",
    "Assistant": "assistant",
    "AudioLimits": "audio",
    "Conversation": "conversation",
    "Evidence": "evidence",
    "FusionCache": "fusion",
    "Listening": "listening",
    "LongRecording": "long_audio",
    "Waveform": "audio",
    "load": "loading",
    "load_audio": "audio",
    "open_audio": "long_audio",
}

__all__ = [
    "AlmConfig",
    "AlmError",
    "AlmFeatureExtractor",
    "AlmForConditionalGeneration",
    "AlmModel",
    "AlmProcessor",
    "Answer",
    "Assistant",
    "AudioLimits",
    "Conversation",
    "Evidence",
    "FusionCache",
    "Listening",
    "LongRecording",
    "Waveform",
    "load",
    "load_audio",
    "open_audio",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"alm.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'alm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
