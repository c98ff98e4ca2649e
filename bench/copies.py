"""Planted copies among recordings of a store: `python -m bench.copies --corpus CORPUS`; a table in Markdown.

Recordings are changed as copies in the wild are (encoded anew, moved in pitch, cut, mixed) and looked up in an index of
the originals. A match counts as wrong when it is neither the planted one nor one that the unchanged recording has, too:
data sets do share sounds. `--distractors` adds made-up recordings to the index: landmarks of real ones, shaken so that
they are nobody's copy.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import soundfile
import soxr
import typer
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from alm.audio import Waveform, load_audio
from bench.memory import peak_mebibytes
from data_prep.copies.index import Fingerprint, Index, Known, Writer, fingerprint, merge
from data_prep.copies.landmarks import BANDS, Points
from data_prep.copies.matching import find
from data_prep.corpus import StoredClip, read_index

LENGTHS = ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 5.0), (5.0, 60.0))
"""Seconds."""
RATES_HZ = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
Change = Callable[[Waveform, Generator], Waveform]


def encoded(waveform: Waveform, kind: str, subtype: str) -> Waveform:
    rate = 16_000 if subtype == "OPUS" or waveform.rate not in RATES_HZ else waveform.rate
    target = io.BytesIO()
    samples = waveform.resampled(rate)
    soundfile.write(target, samples, rate, format=kind, subtype=subtype, compression_level=0.9)
    return load_audio(target.getvalue(), name=f"copy.{kind.lower()}")


def played(waveform: Waveform, semitones: float) -> Waveform:
    """Pitch and tempo together."""
    factor = 2 ** (semitones / 12)
    samples = soxr.resample(waveform.samples, waveform.rate * factor, waveform.rate)
    return Waveform(np.asarray(samples, dtype=np.float32), waveform.rate)


def shifted(waveform: Waveform, semitones: float) -> Waveform:
    """Pitch alone, by FFmpeg's `atempo`."""
    factor, rate = 2 ** (semitones / 12), waveform.rate
    graph = av.filter.Graph()
    source = graph.add_abuffer(format="flt", sample_rate=rate, layout="mono", time_base=Fraction(1, rate))
    chain = [graph.add("asetrate", str(round(rate * factor))), graph.add("atempo", f"{1 / factor:.6f}")]
    chain += [graph.add("aresample", str(rate)), graph.add("aformat", "sample_fmts=flt"), graph.add("abuffersink")]
    for one, following in zip([source, *chain[:-1]], chain, strict=True):
        one.link_to(following)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(waveform.samples[None, :].copy(), format="flt", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    source.push(frame)
    source.push(None)
    return Waveform(np.concatenate(list(_pulled(chain[-1]))).astype(np.float32), rate)


def _pulled(sink: av.filter.context.FilterContext) -> Iterator[NDArray[np.float32]]:
    while True:
        try:
            frame: Any = sink.pull()
            yield frame.to_ndarray()[0]
        except (av.error.EOFError, av.error.BlockingIOError):
            return


def cut(waveform: Waveform, rng: Generator) -> Waveform:
    """Half of it."""
    start = rng.uniform(0, waveform.seconds / 2)
    return waveform.segment(start, start + waveform.seconds / 2)


def mixed(waveform: Waveform, other: Waveform, decibels: float, rng: Generator) -> Waveform:
    """Within another recording that goes on for two seconds more and is so many dB softer."""
    before = int(rng.integers(0, waveform.rate))
    bed = np.resize(other.resampled(waveform.rate), len(waveform.samples) + 2 * waveform.rate).copy()
    power = float(np.square(waveform.samples).mean() + 1e-12) / float(np.square(bed).mean() + 1e-12)
    bed *= np.float32(np.sqrt(power) * 10 ** (-decibels / 20))
    bed[before : before + len(waveform.samples)] += waveform.samples
    return Waveform(bed / max(1.0, float(np.abs(bed).max())), waveform.rate)


def changes(beds: list[Waveform]) -> dict[str, Change]:
    """Every kind of copy by name."""

    def bed(rng: Generator) -> Waveform:
        return beds[int(rng.integers(len(beds)))]

    return {
        "MP3, lowest quality": lambda w, _: encoded(w, "MP3", "MPEG_LAYER_III"),
        "Opus at 16 kHz, lowest quality": lambda w, _: encoded(w, "OGG", "OPUS"),
        "played 1 semitone higher": lambda w, _: played(w, 1),
        "played 2 semitones lower": lambda w, _: played(w, -2),
        "shifted 1 semitone up, same tempo": lambda w, _: shifted(w, 1),
        "shifted 2 semitones down, same tempo": lambda w, _: shifted(w, -2),
        "half of it": cut,
        "in a mixture, other sound 6 dB softer": lambda w, rng: mixed(w, bed(rng), 6, rng),
        "in a mixture, other sound as loud": lambda w, rng: mixed(w, bed(rng), 0, rng),
    }


def shaken(found: Fingerprint, rng: Generator) -> Fingerprint:
    """Landmarks that are nobody's: each point moved by itself, all in another tempo and order."""
    _, points = found[int(rng.integers(len(found)))]
    time = points.time * rng.uniform(0.7, 1.4) + rng.normal(0, 3, len(points))
    band = np.clip(points.band + rng.normal(0, 5, len(points)), 1, BANDS - 2)
    order = np.argsort(time)
    first = float(time.min(initial=0.0))
    return [(0.0, Points((time[order] - first).astype(np.float32), band[order].astype(np.float32), points.rank[order]))]


def make_index(folder: Path, prints: dict[str, Fingerprint], distractors: int) -> Index:
    """Real recordings and so many made-up ones."""
    writer, rng = Writer(folder), default_rng(0)
    for name, found in prints.items():
        writer.add(Known(name, 0, 0, 0.0, ""), found)
    pool = [found for found in prints.values() if found and len(found[0][1]) > 20]
    for number in range(distractors):
        made = shaken(pool[int(rng.integers(len(pool)))], rng)
        writer.add(Known(f"made-{number}", 0, 0, 0.0, ""), made)
    writer.flush()
    return merge(folder)


def table(
    index: Index, asked: list[StoredClip], corpus: Path, beds: list[Waveform], say: Callable[[str], None]
) -> None:
    """A row for every kind of change."""
    names = [f"{low:g} to {high:g} s" if high < 60 else f"over {low:g} s" for low, high in LENGTHS]
    say("| change | " + " | ".join(names) + " | wrong matches | ms a look-up |")
    say("|---" * (len(LENGTHS) + 3) + "|")
    own = {item.clip.id: {m.recording for m in find(index, prints_of(corpus, item))} for item in asked}
    for name, change in changes(beds).items():
        rng = default_rng(1)
        right, total = np.zeros(len(LENGTHS), int), np.zeros(len(LENGTHS), int)
        wrong, spent = 0, 0.0
        for item in asked:
            found = fingerprint(change(load_audio(corpus / item.audio), rng))
            began = time.perf_counter()
            matches = {match.recording for match in find(index, found)}
            spent += time.perf_counter() - began
            place = next(n for n, (low, high) in enumerate(LENGTHS) if low <= item.seconds < high)
            total[place] += 1
            right[place] += item.clip.id in matches
            wrong += len(matches - own[item.clip.id] - {item.clip.id})
        shares = " | ".join(f"{r} of {t}" for r, t in zip(right, total, strict=True))
        say(f"| {name} | {shares} | {wrong} | {1000 * spent / len(asked):.0f} |")


def prints_of(corpus: Path, item: StoredClip) -> Fingerprint:
    """Landmarks of a clip."""
    return fingerprint(load_audio(corpus / item.audio))


def main(
    corpus: Annotated[Path, typer.Option(help="Folder of the audio store.")] = Path("corpus"),
    clips: Annotated[int, typer.Option(help="Recordings in the index.")] = 1500,
    planted: Annotated[int, typer.Option(help="Recordings of these that are changed and looked up.")] = 200,
    distractors: Annotated[int, typer.Option(help="Made-up recordings in the index.")] = 0,
) -> None:
    """Print which planted copies were found."""
    rng = default_rng(0)
    items = [i for i in read_index(corpus / "clips.jsonl") if i.seconds < LENGTHS[-1][1] and i.clip.kind != "render"]
    chosen = [items[n] for n in rng.permutation(len(items))[: clips + 100]]
    beds = [load_audio(corpus / item.audio) for item in chosen[clips:]]
    folder = Path(tempfile.mkdtemp(prefix="alm-copies-"))
    try:
        began = time.perf_counter()
        prints = {item.clip.id: prints_of(corpus, item) for item in chosen[:clips]}
        read = time.perf_counter() - began
        index = make_index(folder, prints, distractors)
        made = time.perf_counter() - began - read
        size = sum(segment.bytes for segment in index.segments)
        hours = sum(item.seconds for item in chosen[:clips]) / 3600
        typer.echo(f"{len(prints)} recordings ({hours:.2f} h) read in {read:.0f} s; with {distractors} made-up ones")
        typer.echo(f"the index of {size / 1e6:.0f} MB and {index.triangles:,} triangles was made in {made:.0f} s.\n")
        table(index, chosen[:planted], corpus, beds, typer.echo)
        typer.echo(f"\nPeak memory {peak_mebibytes():.0f} MB.")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    typer.run(main)
