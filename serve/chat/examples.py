"""Questions to begin with, about recordings that come with the page (licences beside them)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

FOLDER = Path(str(resources.files("serve.chat").joinpath("assets", "examples")))


@dataclass(frozen=True)
class Example:
    """A question about one or several of the recordings."""

    question: str
    files: tuple[str, ...]

    @property
    def paths(self) -> list[Path]:
        return [FOLDER / name for name in self.files]


EXAMPLES = (
    Example("What do you hear?", ("birds.ogg",)),
    Example("Is there thunder or rain, and which comes first?", ("thunder.ogg",)),
    Example("Which of the two recordings holds a bird?", ("rain.ogg", "birds.ogg")),
    Example("Is this a clock or a dog?", ("clock.ogg",)),
    Example("What is said, and when?", ("market.ogg",)),
    Example("In which of the two does somebody speak?", ("clock.ogg", "market.ogg")),
)


def chat_examples() -> list[Any]:
    """As the chatbot shows them."""
    return [
        {"text": e.question, "display_text": f"{e.question} ({', '.join(e.files)})", "files": list(map(str, e.paths))}
        for e in EXAMPLES
    ]
