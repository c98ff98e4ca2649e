"""Score many stored answers in a process of its own: `python -m tests.score_many FOLDER KIND COUNT`.

Prints seconds of the processor and of the clock for reading, scoring and reporting, and the peak memory in MiB.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.memory import peak_mebibytes
from eval.harness.answers import Answered
from eval.harness.asking import Asking
from eval.harness.grading import score_run
from eval.harness.items import (
    BenchCard,
    ChoiceWant,
    Clip,
    Item,
    LabelWant,
    Message,
    PairWant,
    StructuredWant,
    TranscriptWant,
    Want,
)
from eval.harness.making import make_run
from eval.harness.prepared import write_prepared
from eval.harness.report import write_report
from eval.harness.store import replace_records
from eval.kinds.base import LabelSet
from tests.harness_helpers import ScriptModel

WORDS = "a dog barks while rain falls on the old roof and somebody walks home over wet stones".split()
LABELS = LabelSet("fifty", {f"sound {n}": (f"noise {n}",) for n in range(50)})


def sentence(draw: random.Random, words: int = 12) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def choice(draw: random.Random, number: int) -> tuple[Want, str, str]:
    options = [f"{sentence(draw, 3)} {n}" for n in range(4)]
    said = draw.choice([*options, "B", "The answer is C.", "I'm sorry", ""])
    return ChoiceWant(choices=tuple(options), answer=number % 4), said, "mmau"


def label(draw: random.Random, number: int) -> tuple[Want, str, str]:
    names = list(LABELS.labels)
    return LabelWant(labels=(names[number % 50],), label_set="fifty"), draw.choice([*names, "something"]), ""


def transcript(draw: random.Random, number: int) -> tuple[Want, str, str]:
    reference = sentence(draw)
    return TranscriptWant(reference=reference), draw.choice([reference, sentence(draw), ""]), ""


def structured(draw: random.Random, number: int) -> tuple[Want, str, str]:
    want = StructuredWant(form="number", answer=float(number % 60), unit="s", tolerance=1.0)
    return want, draw.choice([f"{number % 60} seconds", f"about 0:{number % 60:02d}", "long"]), ""


def pair(draw: random.Random, number: int) -> tuple[Want, str, str]:
    want = PairWant(mode="two-clip", choices=("first", "second"), answer=number % 2)
    return want, draw.choice(["first", "second", "B", "both"]), ""


KINDS: dict[str, Callable[[random.Random, int], tuple[Want, str, str]]] = {
    "choice": choice, "label": label, "transcript": transcript, "structured": structured, "pair": pair,
}  # fmt: skip


def main() -> None:
    folder, kind, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    make(folder, kind, count)
    started, used = time.perf_counter(), time.process_time()
    from eval.harness.runs import read_run

    run = read_run(folder / "run")
    score_run(run)
    write_report(run.folder)
    spent = {"cpu_seconds": time.process_time() - used, "seconds": time.perf_counter() - started}
    sys.stdout.write(json.dumps({**spent, "mebibytes": peak_mebibytes()}) + "\n")


def make(folder: Path, kind: str, count: int) -> None:
    """The benchmark and its answers, four items to a recording."""
    draw, items, said = random.Random(0), list[Item](), list[str]()
    for number in range(count):
        want, text, official = KINDS[kind](draw, number)
        clip = Clip(path=f"{number // 4}.wav", sha256=f"{number // 4:064x}")
        message = Message(role="user", content="<audio>What is it? " + " ".join(getattr(want, "choices", ())))
        tags = {"category": f"c{number % 27}", "difficulty": ("easy", "hard")[number % 2]}
        item = Item(
            id=f"i{number:06d}", messages=(message,), audios=(clip,), want=want, official=official,
            group=clip.path, tags=tags,
        )  # fmt: skip
        items.append(item)
        said.append(text)
    card = BenchCard(bench="many", version="1", split="test", licence="CC0-1.0", source="made up", items=count)
    prepared = write_prepared(folder / "prepared", card, items, [LABELS])
    run = make_run(folder / "run", prepared, None, ScriptModel(), Asking())
    keys = run.keys("heard", prepared.items)
    answers = (Answered(id=i.id, key=keys[i.id], text=t, finish="stop") for i, t in zip(items, said, strict=True))
    replace_records(run.place("generate", "heard"), answers)


if __name__ == "__main__":
    main()
