"""One's own questions, from an OpenAQA file to an adapter that answers them: `python -m bench.own --corpus CORPUS`.

The task is one that no training knew: file a recording as a line of JSON. Its rows are made of the corpus's labels, and
everything after that is done by the commands that `docs/tuning.md` shows, in a folder of their own.
"""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from alm.presets import adapter_folder
from bench.harness import ALM, command_block
from eval.metrics import share
from eval.results import between, markdown_table
from training.sounds import Sound, read_clips

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "training/configs/own.yaml"
"""What the commands name in a checkout."""
START = "tiny"
QUESTION = "File this recording."
OTHER = "What do you hear?"
"""Asked, too, and in no row: its answer is to stay a sentence."""
REHEARSED = ("Describe this recording.", "Which sound is this?")
"""What the adapter answers as before is learned along."""
ADAPTERS = {
    "before": str(adapter_folder(START)),
    "after": "own/adapter",
    "mean of before and after": "own/mean",
    "after, with rehearsal": "own/rehearsed",
}


def drawn(clips: Sequence[Sound], split: str, count: int, classes: Sequence[str], seed: int) -> list[Sound]:
    """Clips of one sound each, the classes about equally often."""
    rng = np.random.default_rng(seed)
    left: dict[str, list[Sound]] = defaultdict(list)
    for clip in clips:
        if clip.split == split and len(clip.classes) == 1 and clip.classes[0] in classes:
            left[clip.classes[0]].append(clip)
    found: list[Sound] = []
    while len(found) < count and left:
        for name in rng.permutation(sorted(left))[: count - len(found)]:
            found.append(left[name].pop(int(rng.integers(len(left[name])))))
            if not left[name]:
                del left[name]
    return found


def write_openaqa(clips: Sequence[Sound], questions: Sequence[str], place: Path) -> None:
    """Rows as OpenAQA publishes them."""
    rows = [
        {
            "instruction": question, "input": "", "audio_id": str(clip.path.resolve()), "dataset": clip.source,
            "task": "filing", "output": json.dumps({"sound": clip.classes[0]}),
        }
        for question in questions
        for clip in clips
    ]  # fmt: skip
    place.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def write_questions(clips: Sequence[Sound], place: Path) -> None:
    """What is to be rehearsed about these recordings, as a table that `alm batch` answers."""
    with place.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("audio", "question"))
        table.writerows((clip.path.resolve(), question) for clip in clips for question in REHEARSED)


def steps(audio: str) -> list[str]:
    """The commands that a user gives, in order; recordings lie in `audio`."""
    convert = f"alm data convert {{0}}.json own/{{0}}.jsonl --from openaqa --to alm --audio-root {audio} --split {{0}}"
    return [
        convert.format("train"),
        convert.format("dev"),
        f"python -m training features {CONFIG}",
        f"alm train {CONFIG} --start {START}",
        "alm export runs/own own/adapter",
        f"python -m training average {START} own/adapter own/mean",
        f"alm batch rehearsal.csv said.csv --preset {START}",
        f"alm data convert said.csv own/rehearsal.jsonl --from csv --to alm --audio-root {audio}",
        f"alm train {CONFIG} --start {START} --out runs/rehearsed",
        "alm export runs/rehearsed own/rehearsed",
    ]


def run(command: str, folder: Path) -> float:
    """Do one of them in `folder`, as in a checkout; gives the seconds it took."""
    words = shlex.split(command)
    program = ALM if words[0] == "alm" else (sys.executable,)
    began = time.monotonic()
    done = subprocess.run([*program, *(str(ROOT / w) if w == CONFIG else w for w in words[1:])], cwd=folder)
    if done.returncode:
        raise SystemExit(f"{command}: exit code {done.returncode}")
    return time.monotonic() - began


def filed(answer: str) -> str | None:
    """The sound that an answer files, if it is a line of JSON as the rows have it."""
    try:
        found: Any = json.loads(answer)
    except ValueError:
        return None
    return str(found["sound"]) if isinstance(found, dict) and list(found) == ["sound"] else None


def marked(answers: Path) -> list[list[str]]:
    """Cells of one adapter: JSON, the right sound by its name in whatever form, no JSON for the other question."""
    rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    own = [r for r in rows if r["instruction"] == QUESTION]
    other = [r for r in rows if r["instruction"] == OTHER]
    found = [
        ([filed(r["answer"]) is not None for r in own], own),
        ([json.loads(r["output"])["sound"] in r["answer"].lower() for r in own], own),
        ([filed(r["answer"]) is None for r in other], other),
    ]
    estimates = [share(right, [r["dataset"] for r in asked]) for right, asked in found]
    return [[f"{100 * e.value:.0f} %", between(e.source_low, e.source_high)] for e in estimates]


def page(clips: tuple[int, int], rows: Sequence[Sequence[str]], seconds: Sequence[float], command: str) -> str:
    """What was done, how long it took, what came of it."""
    told = [(f"`{command}`", f"{took:.0f}") for command, took in zip(steps("CORPUS"), seconds, strict=True)]
    return "\n".join([
        "# Your own questions: an example with figures",
        "",
        f'`{QUESTION}` is to be answered by a line of JSON such as `{{"sound": "dog"}}`, which no training knew.',
        f"The adapter of `{START}` learns {clips[0]} such rows in OpenAQA's format, and is asked about {clips[1]}",
        "recordings of packages that no training heard.",
        "",
        *markdown_table(("command", "seconds"), told),
        "",
        *markdown_table(("adapter", "JSON", "95 %", "names the sound", "95 %", f"`{OTHER}`: no JSON", "95 %"), rows),
        "",
        "Intervals are over source packages; a sound is named by the very word of its class alone. The last question",
        "is in none of the rows: what learns one form of answer may give it to every question. Two ways out were",
        "tried: the mean of the adapters before and after, and rows in which the adapter's own answers to other",
        "questions about a quarter of the recordings are learned along, in the manner of self-synthesized rehearsal",
        "(arXiv 2403.01244).",
        "",
        "Made by",
        *command_block(command),
    ])  # fmt: skip


def main(
    corpus: Annotated[Path, typer.Option(help="Folder that `python -m data_prep fetch` filled.", exists=True)],
    out: Annotated[Path, typer.Option(help="New folder to work in.")] = Path("runs/own-example"),
    to: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/own.md"),
    train: Annotated[int, typer.Option(min=16, help="Rows to learn.")] = 400,
    asked: Annotated[int, typer.Option(min=1, help="Recordings asked about.")] = 120,
    seed: Annotated[int, typer.Option(help="Of the draw of recordings.")] = 0,
) -> None:
    """Make the rows, give the commands, ask before and after."""
    if out.is_dir() and any(out.iterdir()):
        raise SystemExit(f"{out} holds files; give another --out")
    (out / "own").mkdir(parents=True)
    clips = read_clips(corpus / "clips.jsonl")
    known = sorted({c.classes[0] for c in clips if c.split == "train" and not c.classes[0].startswith("other ")})
    learned, dev, held = (
        drawn(clips, split, count, known, seed) for split, count in (("train", train), ("dev", 48), ("test", asked))
    )
    write_openaqa(learned, (QUESTION,), out / "train.json")
    write_openaqa(dev, (QUESTION,), out / "dev.json")
    write_openaqa(held, (QUESTION, OTHER), out / "held.json")
    write_questions(learned[: train // 4], out / "rehearsal.csv")
    seconds = [run(command, out) for command in steps(shlex.quote(str(corpus.resolve())))]
    rows: list[list[str]] = []
    for number, (name, adapter) in enumerate(ADAPTERS.items()):
        run(f"alm batch held.json answers-{number}.jsonl --preset {START} --adapter {adapter}", out)
        rows.append([name, *(cell for pair in marked(out / f"answers-{number}.jsonl") for cell in pair)])
    text = page((len(learned), len(held)), rows, seconds, "python -m bench.own --corpus CORPUS")
    to.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{to}\n")


if __name__ == "__main__":
    typer.run(main)
