"""Many clients of `alm serve` at once, some of them wrong: `python -m bench.load --corpus CORPUS`.

Every answer is compared with the same request asked alone. Written to `docs/load.md`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer

from bench.questions import Asked, questions

MALFORMED: tuple[dict[str, Any], ...] = (
    {"messages": []},
    {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]}]},
    {"messages": [{"role": "user", "content": "a"}], "max_tokens": 10**6},
    {"messages": [{"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": "http://127.0.0.1/"}}]}]},
    {"messages": "none"},
)
STARTED_SECONDS = 60.0
PAUSE_SECONDS = 5.0


@dataclass
class Seen:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    """Of requests that are right."""
    malformed: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Ids whose answer was another than alone."""
    first: list[float] = field(default_factory=list)
    """Seconds to the first word."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the beginning, megabytes of the server."""


def request(asked: Asked, tokens: int) -> dict[str, Any]:
    """A streamed request."""
    data = base64.b64encode(asked.audio.read_bytes()).decode()
    parts = [{"type": "input_audio", "input_audio": {"data": data}}, {"type": "text", "text": asked.question}]
    return {"messages": [{"role": "user", "content": parts}], "max_tokens": tokens, "stream": True}


async def answered(client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, str, float]:
    """Status, text and seconds to the first word."""
    started, first, text = time.monotonic(), 0.0, ""
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            await answer.aread()
            return answer.status_code, "", 0.0
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    return 500, "", 0.0
                piece = event["choices"][0]["delta"].get("content", "") if event["choices"] else ""
                if piece and not first:
                    first = time.monotonic() - started
                text += piece
    return 200, text, first


@dataclass
class Load:
    """One run against a server."""

    url: str
    process: int
    asked: Sequence[Asked]
    tokens: int
    share_malformed: float = 0.05
    seen: Seen = field(default_factory=Seen)

    async def run(self, clients: int, seconds: float) -> Seen:
        """Ask each question alone, then all clients at once for so long."""
        limits = httpx.Limits(max_connections=clients)
        async with httpx.AsyncClient(base_url=self.url, timeout=300, limits=limits) as client:
            alone = {a.id: (await answered(client, request(a, self.tokens)))[1] for a in self.asked}
            began = time.monotonic()
            watch = asyncio.create_task(self._watch(began))
            await asyncio.gather(*(self._client(client, n, began + seconds, alone) for n in range(clients)))
            watch.cancel()
        return self.seen

    async def _client(self, client: httpx.AsyncClient, number: int, ends: float, alone: dict[str, str]) -> None:
        chance = random.Random(number)
        while time.monotonic() < ends:
            if chance.random() < self.share_malformed:
                status, _, _ = await answered(client, chance.choice(MALFORMED))
                self.seen.malformed[status] += 1
                continue
            one = chance.choice(self.asked)
            status, text, first = await answered(client, request(one, self.tokens))
            self.seen.statuses[status] += 1
            if status == 200:
                self.seen.first.append(first)
                if text != alone[one.id]:
                    self.seen.wrong.append(f"{one.id}: {text!r} is {alone[one.id]!r} alone")

    async def _watch(self, began: float) -> None:
        while True:
            self.seen.memory.append((time.monotonic() - began, resident_megabytes(self.process)))
            await asyncio.sleep(PAUSE_SECONDS)


def resident_megabytes(process: int) -> float:
    """Memory of a process (Linux)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def page(seen: Seen, clients: int, seconds: float) -> str:
    """Markdown table."""
    minute = [m for at, m in seen.memory if at <= 60.0]
    after, last = minute[-1], seen.memory[-1][1]
    total = sum(seen.statuses.values())
    rows = [
        ("clients, seconds", f"{clients}, {seconds:.0f}"),
        ("requests answered", f"{seen.statuses[200]} of {total} ({seen.statuses[200] / seconds:.2f} a second)"),
        ("malformed requests, by status", ", ".join(f"{n} x {s}" for s, n in sorted(seen.malformed.items()))),
        ("5xx", str(sum(n for s, n in (seen.statuses + seen.malformed).items() if s >= 500))),
        ("answers that differ from the same request alone", str(len(seen.wrong))),
        ("first word, median and 95 %", "{:.2f} s, {:.2f} s".format(*np.percentile(seen.first, [50, 95]))),
        ("memory after a minute, at the end", f"{after:.0f} MB, {last:.0f} MB ({100 * (last / after - 1):+.1f} %)"),
    ]
    return "\n".join(["| what | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def serve(port: int) -> subprocess.Popen[bytes]:
    """`alm serve`, ready to answer.

    Raises:
        TimeoutError: it does not answer.
    """
    code = "from alm.cli import app_main; app_main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--port", str(port)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    ends = time.monotonic() + STARTED_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
        except httpx.TransportError:
            time.sleep(0.5)
        else:
            return process
    process.kill()
    raise TimeoutError(f"alm serve does not answer on port {port}")


def main(
    corpus: Annotated[Path, typer.Option(help="Folder that `python -m data_prep fetch` filled.")],
    clients: Annotated[int, typer.Option(min=1)] = 20,
    seconds: Annotated[float, typer.Option(min=1.0)] = 300.0,
    recordings: Annotated[int, typer.Option(min=1)] = 12,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 32,
    port: Annotated[int, typer.Option()] = 8123,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/load.md"),
) -> None:
    """Load a server of its own."""
    process = serve(port)
    try:
        asked = questions(corpus, recordings, 3)
        load = Load(f"http://127.0.0.1:{port}", process.pid, asked, max_new_tokens)
        seen = asyncio.run(load.run(clients, seconds))
    finally:
        process.terminate()
        process.wait(30)
    text = page(seen, clients, seconds)
    options = f"--clients={clients} --seconds={seconds:.0f} --recordings={recordings}"
    command = f"python -m bench.load --corpus CORPUS {options}"
    head = f"# Load\n\n`alm serve` with {len(asked)} different questions, 5 % of the requests malformed.\n\n"
    differing = "".join(f"\n- {line}" for line in seen.wrong[:10])
    out.write_text(f"{head}```\n{command}\n```\n\n{text}\n{differing}\n", encoding="utf-8")
    sys.stdout.write(text + differing + "\n")


if __name__ == "__main__":
    typer.run(main)
