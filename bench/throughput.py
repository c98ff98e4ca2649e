"""Answers a second of the ways to ask many questions: `python -m bench.throughput --corpus CORPUS`.

Each way runs in a process of its own, one after the other, on the same questions; loading is not counted. Written to
`docs/throughput.md`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

import typer

from bench.questions import Asked, questions

WAYS = {
    "one by one": "`Conversation.ask`, a new conversation for each question, in the order given",
    "server": "`serve.engines.transformers`, 16 clients that each wait for their answer",
    "batch": "`alm batch` with its defaults",
    "vllm": "`alm batch --engine vllm`, in the environment that `make env-vllm` makes",
}
CLIENTS = 16


def one_by_one(asked: Sequence[Asked], tokens: int) -> tuple[float, dict[str, str]]:
    """Seconds and answers by id."""
    import alm

    assistant = alm.load("tiny")
    started = time.perf_counter()
    found = {a.id: assistant.conversation().ask(a.question, audio=a.audio, max_new_tokens=tokens).text for a in asked}
    return time.perf_counter() - started, found


def server(asked: Sequence[Asked], tokens: int) -> tuple[float, dict[str, str]]:
    """The same through the server's engine, without HTTP."""
    import alm
    from alm.batching import Sampling
    from alm.cli import load_assistant
    from serve.engines.jobs import Ended, Event, Job
    from serve.engines.transformers import TransformersEngine

    engine, found, waiting = TransformersEngine(load_assistant("tiny")), {}, list(reversed(asked))

    def client() -> None:
        while waiting:
            one, told = waiting.pop(), SimpleQueue[Event]()
            parts = [{"type": "audio", "audio": alm.load_audio(one.audio)}, {"type": "text", "text": one.question}]
            engine.submit(Job([{"role": "user", "content": parts}], told.put, Sampling(tokens)))
            while not isinstance(event := told.get(), Ended):
                pass
            found[one.id] = event.answer.text

    started = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    engine.close()
    return seconds, found


def batch(asked: Sequence[Asked], tokens: int) -> tuple[float, dict[str, str]]:
    """The same through the batch runner, with its files."""
    return _with_files(asked, "transformers", tokens)


def vllm(asked: Sequence[Asked], tokens: int) -> tuple[float, dict[str, str]]:
    """The same with vLLM's engine."""
    return _with_files(asked, "vllm", tokens)


def _with_files(asked: Sequence[Asked], name: str, tokens: int) -> tuple[float, dict[str, str]]:
    from alm.cli import load_assistant
    from serve.batch.answering import BatchAnswerer
    from serve.batch.command import ROWS_AT_ONCE
    from serve.batch.manifest import BatchSettings
    from serve.batch.runner import BatchPolicy, run_batch
    from serve.batch.sources import open_source
    from serve.batch.stages import LocalEngine
    from serve.engines.starting import start_engine

    policy, settings = BatchPolicy(), BatchSettings(max_new_tokens=tokens)
    decoding = start_engine(name, load_assistant("tiny"), ROWS_AT_ONCE, sys.maxsize, a_batch=True)
    answerer = BatchAnswerer(decoding, settings)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "questions.jsonl", Path(folder) / "answers.jsonl"
        source.write_text("".join(json.dumps(a.row()) + "\n" for a in asked), encoding="utf-8")
        rows = open_source(source, None)
        engine = LocalEngine(rows, answerer, policy.window, policy.details)
        started = time.perf_counter()
        run_batch(rows, target, settings, policy, lambda: engine)
        seconds = time.perf_counter() - started
        answered = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    decoding.close()
    return seconds, {row["id"]: row["answer"] for row in answered}


RUNS: dict[str, Callable[[Sequence[Asked], int], tuple[float, dict[str, str]]]] = {
    "one by one": one_by_one, "server": server, "batch": batch, "vllm": vllm,
}  # fmt: skip
VLLM_PYTHON = Path(".venv-vllm/bin/python")
"""vLLM has an environment of its own; where it was not made, that way is left out."""


def measure(way: str, corpus: Path, recordings: int, each: int, tokens: int) -> dict[str, Any]:
    """One way, in this process."""
    seconds, found = RUNS[way](questions(corpus, recordings, each), tokens)
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**10
    return {"way": way, "seconds": seconds, "peak_megabytes": peak, "answers": found}


def table(results: Sequence[dict[str, Any]], asked: Sequence[Asked]) -> str:
    """Markdown."""
    base, audio = results[0], sum(a.seconds for a in asked)
    lines = [
        "| way | answers/s | against one by one | seconds of audio/s | peak memory | answers as one by one |",
        "|---|---|---|---|---|---|",
    ]
    for one in results:
        same = sum(one["answers"][a.id] == base["answers"][a.id] for a in asked)
        lines.append(
            f"| {one['way']} | {len(asked) / one['seconds']:.2f} | {base['seconds'] / one['seconds']:.1f} times "
            f"| {audio / one['seconds']:.1f} | {one['peak_megabytes']:.0f} MB | {same} of {len(asked)} |"
        )
    return "\n".join(lines)


def main(
    corpus: Annotated[Path, typer.Option(help="Folder that `python -m data_prep fetch` filled.")],
    recordings: Annotated[int, typer.Option(min=1)] = 50,
    each: Annotated[int, typer.Option(min=1, max=6, help="Questions about each recording.")] = 4,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 64,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/throughput.md"),
    way: Annotated[str | None, typer.Option(help="Only this one, as JSON on standard output.")] = None,
) -> None:
    """Measure every way that runs here."""
    if way is not None:
        sys.stdout.write("\n" + json.dumps(measure(way, corpus, recordings, each, max_new_tokens)))
        return
    numbers = [f"--recordings={recordings}", f"--each={each}", f"--max-new-tokens={max_new_tokens}"]
    results = []
    ways_here = [name for name in RUNS if name != "vllm" or VLLM_PYTHON.is_file()]
    for name in ways_here:
        python = VLLM_PYTHON if name == "vllm" else sys.executable
        command = [str(python), "-m", "bench.throughput", f"--corpus={corpus}", *numbers, f"--way={name}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        sys.stderr.write(f"{name}: {results[-1]['seconds']:.1f} s\n")
    page = table(results, questions(corpus, recordings, each))
    command_line = f"python -m bench.throughput --corpus CORPUS {' '.join(numbers)}"
    ways = "\n".join(f"- {name}: {WAYS[name]}" for name in ways_here)
    what = f"{recordings * each} questions about {recordings} recordings of the test split, in random order"
    how = "each way in processes of its own, loading not counted"
    text = f"# Throughput\n\n{what}; one run,\n{how}. Memory is that of the process and of its largest child.\n\n"
    out.write_text(f"{text}```\n{command_line}\n```\n\n{page}\n\n{ways}\n", encoding="utf-8")
    sys.stdout.write(page + "\n")


if __name__ == "__main__":
    typer.run(main)
