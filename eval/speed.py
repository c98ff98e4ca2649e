"""Time to an answer and memory, measured on the command line as a user runs it and on a loaded assistant."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alm.assistant import Assistant
from alm.audio import Waveform
from alm.cores import usable_cores
from alm.errors import RecordError
from eval.corpus import Clip, Corpus
from eval.listening import join
from eval.metrics import Estimate
from eval.results import Figure, Result, constant
from eval.session import Session

QUESTION = "What do you hear?"
SECONDS = 10.0
COLD_RUNS = 3
WARM_RUNS = 5
MEBI = 2**20


@dataclass(frozen=True)
class Run:
    """One call of the command line."""

    first_seconds: float
    """From starting the process to the first byte of the answer."""
    seconds: float
    peak_bytes: int
    answer: str


def write_wav(recording: Waveform, path: Path) -> Path:
    """The recording as a 16-bit file."""
    import soundfile

    soundfile.write(path, recording.samples, recording.rate, subtype="PCM_16")
    return path


def ask_cold(wav: Path, question: str, session: Session, extra: Sequence[str] = ()) -> Run:
    """`alm ask` in a process of its own, with the time of its first output and its peak memory.

    Raises:
        RecordError: the command failed; the message is its own.
    """
    options = ["--preset", session.options.preset, "--quiet", *extra]
    options += ["--adapter", str(session.options.adapter)] if session.options.adapter else []
    code = "from alm.cli import app_main; app_main()"
    started = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "ask", *options, str(wav), question], stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdout is not None
        first = process.stdout.read(1)
        first_seconds = time.perf_counter() - started
        rest = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise RecordError(f"alm ask failed with code {process.returncode}: {errors.read().decode()[-500:].strip()}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Run(first_seconds, time.perf_counter() - started, usage.ru_maxrss * scale, (first + rest).decode().strip())


def recordings(corpus: Corpus) -> dict[str, Waveform]:
    """Ten seconds of a test sound and ten seconds of speech put together from short prompts."""
    sounds = [c for c in corpus.of(corpus.judged) if c.kind == "sfx" and "speech" not in c.classes]
    speech = [c for c in corpus.clips if c.language.startswith("en") and len(c.transcript.split()) >= 4]
    return {"sound": _ten_seconds(sounds), "speech": _ten_seconds(speech)}


def _ten_seconds(clips: Sequence[Clip]) -> Waveform:
    from alm.audio import load_audio

    if not clips:
        raise RecordError("the corpus has no recordings to time with; fetch it with python -m data_prep")
    parts: list[Waveform] = []
    for clip in sorted(clips, key=lambda c: c.id):
        parts.append(load_audio(clip.path))
        if sum(p.seconds for p in parts) >= SECONDS:
            break
    whole = join(parts, 0.0)
    return whole.segment(0.0, min(SECONDS, whole.seconds))


def spread(values: Sequence[float]) -> Estimate:
    """Median with least and most of a few measurements."""
    return Estimate(float(np.median(values)), min(values), max(values), len(values), -np.inf, np.inf, 1)


def _timed(key: str, label: str, values: Sequence[float], unit: str = "s") -> Figure:
    return Figure(key, label, spread(values), unit=unit, note="median, least to most")


def warm_figures(assistant: Assistant, name: str, recording: Waveform, runs: int) -> list[Figure]:
    """A loaded assistant: first token with a recording it has not heard, second turn, tokens a second."""
    first, second, encoded, rates = [], [], [], []
    assistant.conversation().ask(QUESTION, audio=recording, max_new_tokens=4)  # libraries warm up
    for number in range(runs):
        altered = Waveform(recording.samples * np.float32(1 - 0.001 * (number + 1)), recording.rate, f"{name} {number}")
        chat = assistant.conversation()
        one = chat.ask(QUESTION, audio=altered, max_new_tokens=64)
        two = chat.ask("Describe it in one long sentence.", max_new_tokens=64)
        first.append(one.usage.first_token_seconds)
        second.append(two.usage.first_token_seconds)
        encoded.append(float(two.usage.encoded_recordings))
        rates += [
            (a.usage.new_tokens - 1) / max(1e-6, a.usage.seconds - a.usage.first_token_seconds)
            for a in (one, two)
            if a.usage.new_tokens > 8
        ]
    figures = [
        _timed(f"warm_first_{name}", f"{name}, 10 s, loaded: first token", first),
        _timed(f"warm_second_{name}", f"{name}, second turn: first token", second),
        Figure(
            f"second_encoded_{name}",
            f"{name}, second turn: recordings encoded again",
            constant(max(encoded)),
            unit="recordings",
        ),
    ]
    return [*figures, _timed(f"rate_{name}", f"{name}: tokens a second", rates, "tokens/s")] if rates else figures


def run(session: Session) -> Result:
    """Seconds to an answer."""
    found = recordings(session.corpus)
    cold, warm = (min(n, session.options.limit or n) for n in (COLD_RUNS, WARM_RUNS))
    result = Result(
        "speed", "Seconds to an answer", f"A 10 s sound and 10 s of speech; {usable_cores()} processor cores.", []
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, recording in found.items():
            wav = write_wav(recording, Path(folder) / f"{name}.wav")
            runs = [ask_cold(wav, QUESTION, session) for _ in range(cold)]
            result.figures.append(
                _timed(
                    f"cold_first_{name}",
                    f"{name}, new process: first output of alm ask",
                    [r.first_seconds for r in runs],
                )
            )
            result.figures.append(
                _timed(f"cold_{name}", f"{name}, new process: whole answer", [r.seconds for r in runs])
            )
    for name, recording in found.items():
        result.figures += warm_figures(session.assistant, name, recording, warm)
    result.facts = {"cores": usable_cores(), "counts": {"cold_runs": cold, "warm_runs": warm}}
    result.notes = [
        "Loaded: the recording's loudness is altered a little each time, so that nothing is remembered from before."
    ]
    return result


def memory(session: Session) -> Result:
    """Peak resident memory of `alm ask`."""
    found = recordings(session.corpus)
    minute = join([found["speech"], found["sound"]] * 3, 0.0)
    result = Result("memory", "Memory of alm ask", "Peak resident memory of the process, as the system counts it.", [])
    with tempfile.TemporaryDirectory() as folder:
        for name, recording in {**found, "minute": minute}.items():
            wav = write_wav(recording, Path(folder) / f"{name}.wav")
            one = ask_cold(wav, QUESTION, session)
            label = f"alm ask, {recording.seconds:.0f} s ({name})"
            result.figures.append(Figure(f"peak_{name}", label, constant(one.peak_bytes / MEBI), unit="MiB"))
    result.facts = {"counts": {"runs": len(result.figures)}}
    return result
