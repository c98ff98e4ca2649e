"""A needle in long recordings: what is heard once, and when, by length of the recording and depth of the needle.

The background is one recording of the corpus, repeated with cross-fades; the needle is an event of another group, well
above it. Recordings are written block by block, so that an hour takes no more memory than a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile

from alm.audio import load_audio
from alm.errors import RecordError
from eval.corpus import Clip
from eval.harness import items as harness
from eval.harness.items import Item
from eval.harness.prepared import Prepared
from eval.kinds.base import Measure, Row, Table
from eval.suites import asking, figures, signal
from eval.suites.drawing import rng_for
from eval.suites.pool import Pool
from eval.suites.signal import Samples
from eval.suites.studio import AUDIO, Order, Part, Studio, file_name

NAME = "alm-long-audio"
RATE_HZ = 16_000
LENGTHS_SECONDS = (10, 30, 60, 300, 600, 1800, 3600)
DEPTHS = (0.08, 0.42, 0.75, 0.25, 0.58, 0.92)
"""Places of the needle, as shares of the recording: two in each third, thirds in turn."""
BLOCK_SECONDS = 30
BACKGROUND_DB, NEEDLE_DB = -38.0, -22.0
BACKGROUND_LEAST_SECONDS = 2.0
AMBIENT = ("weather and water", "tool and machine", "vehicle")
"""Groups whose longer recordings serve as background; any group where the corpus has none of them."""
QUESTIONS = 3
"""About each recording: what, when, in which part."""
TOLERANCE, TOLERANCE_LEAST_SECONDS = 0.05, 1.0
"""How far a time may be off: a share of the recording, but so much at least."""
PARTS = ("at the beginning", "in the middle", "at the end")


@dataclass(frozen=True)
class Haystack:
    """One recording to be made."""

    name: str
    seconds: int
    depth: float
    background: tuple[str, Clip]
    needle: tuple[str, Clip]
    options: tuple[str, ...]
    """Three classes to choose from; each is the needle of one of three recordings of this length."""


def make(order: Order, longest_seconds: float = float("inf")) -> list[Prepared]:
    """Lengths and depths in turn; longer ones than `longest_seconds` are left out."""
    studio, items = Studio(NAME, order), list[Item]()
    lengths = [s for s in LENGTHS_SECONDS if s <= longest_seconds]
    if not lengths:
        least = LENGTHS_SECONDS[0]
        raise RecordError(f"recordings of at most {longest_seconds:g} s are wanted, and the shortest has {least} s")
    turns = max(1, order.items // (QUESTIONS * len(lengths)))
    grid = [(n, s, DEPTHS[n % len(DEPTHS)]) for n in range(turns) for s in lengths]
    with order.progress("long audio", sum(s for _, s, _ in grid)) as advance:
        for number, seconds, depth in grid:
            items += _asked(studio, _haystack(studio, number, seconds, depth))
            advance(seconds)
    return [studio.finish(items)]


def _haystack(studio: Studio, number: int, seconds: int, depth: float) -> Haystack:
    pool, three = studio.order.pool, rng_for(NAME, studio.order.seed, number // 3, seconds)
    behind = three.choice(backgrounds(pool))
    options = pool.strangers(three, 3, [behind[0]])
    needle = options[(number + number // 3) % 3]  # so that places of options and of needles do not go together
    clip = pool.clip(rng_for(NAME, studio.order.seed, number, seconds), needle)
    name = f"{seconds:05d}s-{round(100 * depth):02d}-{number:04d}"
    return Haystack(name, seconds, depth, behind, (needle, clip), tuple(options))


def backgrounds(pool: Pool) -> list[tuple[str, Clip]]:
    """Recordings that are long enough, of ambient groups where there are such."""
    long = [(n, c) for n, own in pool.clips.items() for c in own if c.seconds >= BACKGROUND_LEAST_SECONDS]
    ambient = [(n, c) for n, c in long if pool.group(n) in AMBIENT]
    if not long:
        raise RecordError(
            f"{pool.corpus.folder}: no recording has {BACKGROUND_LEAST_SECONDS:g} s, so there is no background; fetch "
            "more of the corpus"
        )
    return ambient or long


def _written(studio: Studio, hay: Haystack) -> tuple[harness.Clip, Part]:
    """The recording, and its needle."""
    needle = studio.cut(hay.needle[1], level_db=NEEDLE_DB, rate=RATE_HZ)
    needle, _ = signal.under_peak(needle, 0.8)
    loop = _loop(hay.background[1])
    count = hay.seconds * RATE_HZ
    onset = min(round(hay.depth * count), count - len(needle))
    path = studio.folder / AUDIO / f"{file_name(hay.name)}.flac"
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_16") as file:
        for start in range(0, count, BLOCK_SECONDS * RATE_HZ):
            block = _block(loop, start, min(BLOCK_SECONDS * RATE_HZ, count - start))
            first, last = max(start, onset), min(start + len(block), onset + len(needle))
            if first < last:
                block[first - start : last - start] += needle[first - onset : last - onset]
            file.write(np.clip(block, -1.0, 1.0))
    hidden = Part(hay.needle[1], hay.needle[0], onset / RATE_HZ, (onset + len(needle)) / RATE_HZ, NEEDLE_DB)
    behind = Part(hay.background[1], hay.background[0], 0.0, float(hay.seconds), BACKGROUND_DB, background=True)
    return studio.register(path.stem, hay.seconds, RATE_HZ, [behind, hidden]), hidden


def _loop(clip: Clip) -> Samples:
    """The background as a piece that may follow itself: its end fades into its beginning."""
    recording = load_audio(clip.path)
    heard = signal.heard_part(recording.samples, recording.rate)[: 60 * recording.rate]
    piece = signal.under_peak(
        signal.to_level(signal.resampled(heard, recording.rate, RATE_HZ), RATE_HZ, BACKGROUND_DB), 0.15
    )[0]
    fade = min(RATE_HZ // 2, len(piece) // 3)
    ramp = signal.as_float(np.sin(np.linspace(0, np.pi / 2, fade)) ** 2)
    joined = piece[:fade] * ramp + piece[-fade:] * (1 - ramp)
    return signal.as_float(np.concatenate([joined, piece[fade:-fade]]))


def _block(loop: Samples, start: int, count: int) -> Samples:
    """So many samples of the endless loop from a place on."""
    return signal.as_float(np.take(loop, np.arange(start, start + count), mode="wrap"))


def _asked(studio: Studio, hay: Haystack) -> list[Item]:
    """What it is, when it is, and in which third."""
    clip, part = _written(studio, hay)
    options = [studio.order.pool.phrase(n) for n in hay.options]
    answer = hay.options.index(hay.needle[0])
    phrase = options[answer]
    tags = {"seconds": str(hay.seconds), "depth": f"{hay.depth:g}", "class": hay.needle[0]}

    def tagged(asked: str) -> dict[str, str]:
        return {**tags, "asked": asked}

    third = min(2, int(3 * part.onset / hay.seconds))
    tolerance = max(TOLERANCE_LEAST_SECONDS, TOLERANCE * hay.seconds)
    return [
        asking.choice(
            f"{hay.name}-what", "One sound is heard once in this long recording. Which is it?",
            options, answer, [clip], hay.name, tagged("what"),
        ),
        asking.number(
            f"{hay.name}-when", f"At what second of the recording do you begin to hear {phrase}?", part.onset,
            tolerance, "s", [clip], hay.name, tagged("when"),
        ),
        asking.choice(
            f"{hay.name}-part", "One sound is heard once in this long recording. In which part of it?", PARTS, third,
            [clip], hay.name, tagged("part"),
        ),
    ]  # fmt: skip


def measures(rows: Sequence[Row]) -> list[Measure]:
    """Score of each question by length."""
    found = []
    for asked, own in figures.by_tag(rows, "asked").items():
        for seconds, some in sorted(figures.by_tag(own, "seconds").items(), key=lambda kv: int(kv[0])):
            found.append(Measure(f"{asked}.{seconds}", f"{asked}, {int(seconds)} s", figures.mean_of(some)))
    return found


def tables(rows: Sequence[Row]) -> list[Table]:
    """Length against depth, one table a question."""
    found = []
    for asked, own in figures.by_tag(rows, "asked").items():
        lengths = sorted({r.item.tags["seconds"] for r in own}, key=int)
        depths = sorted({r.item.tags["depth"] for r in own}, key=float)
        cells = [(f"{s} s", *(_share(own, s, d) for d in depths)) for s in lengths]
        found.append(Table(f"Needle, {asked}: length against depth", ("length", *depths), tuple(cells)))
    return found


def _share(rows: Sequence[Row], seconds: str, depth: str) -> float | None:
    """Mean score of one length and depth; None where none was asked."""
    own = [figures.right(r) for r in rows if (r.item.tags["seconds"], r.item.tags["depth"]) == (seconds, depth)]
    return sum(own) / len(own) if own else None
