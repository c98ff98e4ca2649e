"""CompA: does a model tell two recordings apart whose descriptions differ in order or in who does what? And CompA-R."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks import prompts
from eval.benchmarks.download import Download, Row
from eval.benchmarks.records import Benchmark, Piece, Reader, Unusable
from eval.harness.items import Clip, Item, JudgeSpec, OpenWant, PairWant

_RECORDINGS = ("the first recording", "the second recording")


def _pairs(folder: str) -> Reader:
    def read(source: Download, split: str) -> Iterator[Piece]:
        for number, row in enumerate(source.csv_rows(source.only(".csv")), start=1):
            files = [row.text("pair_file"), row.text("reversed_pair_file")]
            clips = tuple(Clip(path=source.recording(f"{folder}/{f}", f)) for f in files)
            captions = row.text("pair_caption"), row.text("reversed_pair_caption")
            if captions[0] == captions[1]:
                yield Unusable("both captions are the same")
                continue
            yield from _four(f"{number:04d}", clips, captions)

    return read


def _four(name: str, clips: tuple[Clip, ...], captions: tuple[str, str]) -> Iterator[Item]:
    """Each recording with both captions, each caption with both recordings."""
    for i in (0, 1):
        options = prompts.lettered(captions)
        yield Item(
            id=f"{name}-audio{i}",
            messages=prompts.asked(prompts.CHOICE_LETTER, question=prompts.WHICH_CAPTION, options=options),
            audios=(clips[i],),
            want=PairWant(mode="matrix", choices=captions, answer=i, cell=f"audio{i}"),
            official="compa",
            group=name,
            max_tokens=64,
        )
    for i in (0, 1):
        question = prompts.WHICH_RECORDING.format(captions[i])
        options = prompts.lettered(_RECORDINGS)
        yield Item(
            id=f"{name}-text{i}",
            messages=prompts.asked(prompts.CHOICE_LETTER, 2, question=question, options=options),
            audios=clips,
            want=PairWant(mode="matrix", choices=_RECORDINGS, answer=i, cell=f"text{i}"),
            official="compa",
            group=name,
            max_tokens=64,
        )


def _reasoning(source: Download, split: str) -> Iterator[Piece]:
    for row in source.json_rows("GAMA_Benchmark_new.json", "compa_r_test.json", "CompA-R-test.json"):
        file = row.text("audio_id").replace("\\", "/").rpartition("/")[2]
        clip = Clip(path=source.recording(f"audio/{file}", file, f"audios/{file}", f"CompA-R-test/{file}"))
        for number, asked in enumerate(row.rows("instruction_output"), start=1):
            yield Item(
                id=f"{file}-{number}",
                messages=prompts.asked(prompts.QUESTION, question=asked.text("instruction")),
                audios=(clip,),
                want=OpenWant(
                    references=(asked.text("output"),),
                    context=_context(row),
                    judge=JudgeSpec(prompt="compa-r", scale=(1.0, 5.0)),
                ),
                official="compa-r",
                group=file,
                max_tokens=400,
            )


def _context(row: Row) -> str:
    """What the judge may read: the scene and what happens when, never the sound."""
    events = row.values.get("timestamp_events")
    return f"Scene: {row.text('caption', '')}\nEvents: {str(events if events is not None else '')[:10_000]}"


def _compa(part: str, title: str, measures: str) -> Benchmark:
    return Benchmark(
        name=f"compa-{part}",
        title=title,
        version="ICLR 2024",
        licence="Apache-2.0 (code); recordings from AudioSet",
        source="https://github.com/Sreyan88/CompA",
        how_to_get=f"the unpacked archive: one CSV and the folder CompA_{part}_files/",
        measures=measures,
        kinds=("pair",),
        official=("compa",),
        splits={"test": None},
        prompts={"choice": prompts.CHOICE_LETTER},
        read=_pairs(f"CompA_{part}_files"),
        note="Published figures are of two-tower similarities. Ours are of forced choices, and of log-likelihoods "
        "where the model gives them. Triplets of the order part are not asked.",
    )


REASONING = Benchmark(
    name="compa-r-test",
    title="CompA-R-test",
    version="2024-06",
    licence="Apache-2.0 (code); recordings from AudioSet",
    source="https://github.com/Sreyan88/GAMA",
    how_to_get="GAMA_Benchmark_new.json beside a folder audio/ with the recordings",
    measures="Open answers that need reasoning over what is heard, graded by a judge that reads events and scene",
    kinds=("open",),
    official=("compa-r",),
    splits={"test": None},
    prompts={"question": prompts.QUESTION},
    read=_reasoning,
)

BENCHMARKS = (
    _compa("order", "CompA-order", "Which of two orders of the same sounds a recording has"),
    _compa("attribute", "CompA-attribute", "Which of two sources makes which sound"),
    REASONING,
)
