"""Captioning: AudioCaps and Clotho."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from eval.benchmarks import prompts
from eval.benchmarks.closed_sets import youtube
from eval.benchmarks.download import Download
from eval.benchmarks.records import Benchmark, Piece
from eval.harness.items import CaptionWant, Clip, Item


def _item(name: str, path: str, references: list[str], official: str) -> Item:
    return Item(
        id=name,
        messages=prompts.asked(prompts.CAPTION),
        audios=(Clip(path=path),),
        want=CaptionWant(references=tuple(references)),
        official=official,
        group=path,
        max_tokens=128,
    )


def audiocaps_clips(source: Download) -> Iterator[tuple[str, str, list[str]]]:
    """Name, recording and captions of each clip of the test part: five rows a clip."""
    captions: dict[tuple[str, float], list[str]] = defaultdict(list)
    first: dict[tuple[str, float], str] = {}
    for row in source.csv_rows("test.csv", "dataset/test.csv"):
        key = row.text("youtube_id"), row.number("start_time")
        captions[key].append(row.text("caption"))
        first.setdefault(key, row.text("audiocap_id"))
    for (video, start), texts in captions.items():
        folders = ("audio", "test", "wav_files", "audio/test")
        path = youtube(source, folders, video, start, start + 10)
        by_number = source.recording(f"wav_files/{first[video, start]}.wav", f"audio/{first[video, start]}.wav")
        present = source.recording(path, by_number)
        yield f"{video}_{start:g}", present, texts


def _audiocaps(source: Download, split: str) -> Iterator[Piece]:
    for name, path, texts in audiocaps_clips(source):
        yield _item(name, path, texts, "audiocaps")


def _clotho(source: Download, split: str) -> Iterator[Piece]:
    for row in source.csv_rows("clotho_captions_evaluation.csv"):
        file = row.text("file_name")
        path = source.recording(f"evaluation/{file}", f"clotho_audio_evaluation/evaluation/{file}", f"audio/{file}")
        yield _item(file, path, [row.text(f"caption_{n}") for n in range(1, 6)], "clotho")


AUDIOCAPS = Benchmark(
    name="audiocaps",
    title="AudioCaps",
    version="1.0 or 2.0: the hash of test.csv on the card tells which",
    licence="MIT (captions), for academic use; recordings are of YouTube",
    source="https://github.com/cdjkim/audiocaps",
    how_to_get="test.csv, and a folder audio/ with the clips by their YouTube names or audiocap_id",
    measures="Captions beside five of people's",
    kinds=("caption",),
    official=("audiocaps",),
    splits={"test": 975},
    prompts={"caption": prompts.CAPTION},
    read=_audiocaps,
    note="Scores are of the whole test part together; say how many clips remained.",
)
CLOTHO = Benchmark(
    name="clotho",
    title="Clotho",
    version="2.1",
    licence="Tampere University, non-commercial (captions); each clip by its Freesound licence",
    source="https://zenodo.org/records/4783391",
    how_to_get="clotho_captions_evaluation.csv beside the unpacked folder evaluation/",
    measures="Captions beside five of people's",
    kinds=("caption",),
    official=("clotho",),
    splits={"evaluation": 1045},
    prompts={"caption": prompts.CAPTION},
    read=_clotho,
)

BENCHMARKS = (AUDIOCAPS, CLOTHO)
