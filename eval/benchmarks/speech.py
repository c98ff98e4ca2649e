"""Transcripts: LibriSpeech, and what readers of other sets of speech share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from eval.benchmarks import prompts
from eval.benchmarks.download import Download
from eval.benchmarks.records import Benchmark, Piece, Unusable
from eval.harness.items import Clip, Item, TranscriptWant

_TOKENS = 448


def transcript_item(
    name: str,
    path: str,
    reference: str,
    official: str,
    language: tuple[str, str] = ("en", "English"),
    group: str = "",
    tags: Mapping[str, str] | None = None,
) -> Item | Unusable:
    """One utterance to write down; a language is its code and its English name.

    Scripts without spaces are scored by letters.
    """
    if not reference.strip():
        return Unusable("nothing is said by the reference")
    code, spoken = language
    want = TranscriptWant(
        reference=reference,
        language=code,
        normaliser="whisper-en" if code == "en" else "whisper-basic",
        metric="cer" if code in ("zh", "th", "ja") else "wer",
    )
    return Item(
        id=name,
        messages=prompts.asked(prompts.TRANSCRIBE, language=spoken),
        audios=(Clip(path=path),),
        want=want,
        official=official,
        group=group or path,
        tags={**(tags or {}), "language": code},
        max_tokens=_TOKENS,
    )


def speaker_sexes(source: Download) -> dict[str, str]:
    """`M` or `F` by speaker, from SPEAKERS.TXT."""
    place = source.file("SPEAKERS.TXT", "LibriSpeech/SPEAKERS.TXT")
    columns = ("id", "sex", "subset", "minutes", "name")
    rows = source.csv_rows(place, columns=columns, delimiter="|", quoted=False)
    return {r.text("id"): r.text("sex") for r in rows if not r.text("id").startswith(";")}


def librispeech_items(source: Download, part: str, official: str, sexes: Mapping[str, str]) -> Iterator[Piece]:
    """Utterances of one part, by its transcripts."""
    folder = source.folder(part, f"LibriSpeech/{part}")
    for place in source.files(folder, ".txt"):
        if not place.endswith(".trans.txt"):
            continue
        for row in source.csv_rows(place, columns=("line",), delimiter="\t", quoted=False):
            name, _, text = row.text("line").partition(" ")
            speaker = name.split("-")[0]
            path = source.recording(str(PurePosixPath(place).parent / f"{name}.flac"))
            tags = {"part": part, **({"sex": sexes[speaker]} if speaker in sexes else {})}
            yield transcript_item(name, path, text, official, group=speaker, tags=tags)


def _librispeech(source: Download, split: str) -> Iterator[Piece]:
    yield from librispeech_items(source, split, "librispeech", {})


LIBRISPEECH = Benchmark(
    name="librispeech",
    title="LibriSpeech",
    version="SLR12",
    licence="CC BY 4.0",
    source="https://www.openslr.org/12",
    how_to_get="the unpacked test-clean.tar.gz or test-other.tar.gz (folder LibriSpeech/)",
    measures="Words of read English",
    kinds=("transcript",),
    official=("librispeech",),
    splits={"test-clean": 2620, "test-other": 2939},
    prompts={"transcribe": prompts.TRANSCRIBE},
    read=_librispeech,
    note="The normaliser moves the figure and stands beside it.",
)

BENCHMARKS = (LIBRISPEECH,)
