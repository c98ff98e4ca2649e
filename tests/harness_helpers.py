"""A benchmark of tones in a folder, and a model that answers from a script, for the harness's tests.

Run as `python -m harness_helpers FILE COUNT` to be killed while it writes records.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alm.audio import waveform_to_wav_bytes
from alm.endpoints import EndpointError
from alm.testing import tone
from eval.harness.answers import Answered
from eval.harness.asking import Asked, Asking
from eval.harness.items import BenchCard, ChoiceWant, Clip, Item, LabelWant, Message, OpenWant, Want
from eval.harness.making import make_run
from eval.harness.prepared import Prepared, write_prepared
from eval.harness.runs import Run
from eval.harness.store import StageWriter
from eval.kinds.base import LabelSet

PETS = LabelSet("pets", {"dog": ("a dog",), "cat": (), "owl": ()})
CHOICES = ("dog", "cat", "owl", "frog")


def recording(folder: Path, number: int, seconds: float = 0.2) -> Clip:
    """A tone of its own pitch in a file."""
    place = folder / f"tone{number}.wav"
    if not place.exists():
        place.write_bytes(waveform_to_wav_bytes(tone(seconds, 200.0 + 40 * number)))
    return Clip(path=place.name, sha256=hashlib.sha256(place.read_bytes()).hexdigest())


def choice_item(number: int, clip: Clip, **changes: Any) -> Item:
    fields: dict[str, Any] = {
        "id": f"q{number:05d}",
        "messages": (Message(role="user", content="<audio>Which animal?\n" + "\n".join(CHOICES)),),
        "audios": (clip,),
        "want": ChoiceWant(choices=CHOICES, answer=number % 4),
        "group": clip.path,
        "official": "mmau",
        "tags": {"category": "night" if number % 3 else "day", "aspect": "abc"[number % 3]},
        "max_tokens": 8,
    }
    return Item.model_validate({**fields, **changes})


def items(folder: Path, count: int, clips: int = 4, wants: Callable[[int], Want] | None = None) -> list[Item]:
    """So many questions about so many recordings."""
    found = [recording(folder, n) for n in range(clips)]
    made = [choice_item(n, found[n % clips]) for n in range(count)]
    return [i.model_copy(update={"want": wants(n), "official": ""}) if wants else i for n, i in enumerate(made)]


def toy(folder: Path, count: int = 12, clips: int = 4, made: Iterable[Item] | None = None) -> Prepared:
    """A prepared benchmark in `folder/prepared`, its recordings in `folder/data`."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    own = list(made) if made is not None else items(data, count, clips)
    card = BenchCard(
        bench="toy", version="1", split="test", licence="CC0-1.0", source="made up", items=len(own), data_root="../data"
    )
    return write_prepared(folder / "prepared", card, own, [PETS])


def right_text(item: Item) -> str:
    want = item.want
    if isinstance(want, ChoiceWant):
        return want.choices[want.answer]
    return want.labels[0] if isinstance(want, LabelWant) else ""


@dataclass
class ScriptModel:
    """Answers by a function; tells what it was asked. Satisfies `eval.harness.models.Model`."""

    say: Callable[[Asked], str] = lambda one: right_text(one.item)
    fails: Callable[[Asked], bool] = lambda one: False
    name: str = "script"
    identity: dict[str, Any] = field(default_factory=lambda: {"script": 1})
    max_audio_seconds: float = float("inf")
    backwards: bool = False
    asked: list[Asked] = field(default_factory=list)
    closed: bool = False

    def answers(self, asked: Iterable[Asked]) -> Iterator[Answered]:
        for one in reversed(list(asked)) if self.backwards else asked:
            self.asked.append(one)
            if self.fails(one):
                yield Answered(**one.about(), error="made to fail")
            else:
                yield Answered(**one.about(), text=self.say(one), finish="stop")

    def loglik(self, asked: Asked) -> tuple[float, ...]:
        raise EndpointError("no")

    def close(self) -> None:
        self.closed = True


def toy_run(
    folder: Path, prepared: Prepared, model: ScriptModel | None = None, asking: Asking = Asking(), **more: Any
) -> Run:
    return make_run(folder, prepared, None, model or ScriptModel(), asking, **more)


def open_want(number: int) -> Want:
    return OpenWant(references=("yes",))


def main() -> None:
    """Write records until killed."""
    with StageWriter[Answered](Path(sys.argv[1])) as writer:
        for number in range(int(sys.argv[2])):
            writer.add(Answered(id=f"a{number}", key="k", text="x" * (number % 5000)))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
