"""MusicQA: questions and answers about music, made out of captions and tags for MU-LLaMA."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import Row, RowError, json_items
from data_prep.samples import Asked, Sample

SPLITS = {"Pretrain": "train", "Finetune": "train", "Eval": "test"}
_MOST_QUESTIONS = 1000


def _asked(row: Row) -> tuple[str, Asked]:
    """Name of the recording, and the one question of a row."""
    turns = row.rows("conversation")
    if len(turns) != 2 or turns[0].text("from") != "human" or turns[1].text("from") != "gpt":
        raise row.fault("conversation", "must be one question by 'human' and one answer by 'gpt'")
    return row.text("audio_name"), Asked(turns[0].text("value"), turns[1].text("value"), task="music question")


def _grouped(found: Iterable[Row | Lost]) -> Iterator[tuple[str, str, list[Asked]] | Lost]:
    """Questions that follow one another about the same recording, with its name and the place of the first."""
    name, where, asked = "", "", list[Asked]()
    for row in found:
        try:
            if isinstance(row, Lost):
                yield row
                continue
            other, question = _asked(row)
        except (RowError, ValueError) as fault:
            yield Lost(getattr(fault, "reason", rows.BAD_ROW), row.where, str(fault))
            continue
        if asked and (other != name or len(asked) >= _MOST_QUESTIONS):
            yield where, name, asked
            asked = []
        name, where = other, where if asked else row.where
        asked.append(question)
    if asked:
        yield where, name, asked


def _sample(source: Download, own: str, split: str, number: int, name: str, asked: list[Asked]) -> Sample:
    audio = source.recording(f"audios/{name}", f"MusicQA/audios/{name}", name)
    described = [one.answer for one in asked if one.question.lower().startswith("describe the audio")]
    return source.sample(
        f"{own}/{name}#{number}", audio, split, group=name, captions=tuple(described), questions=tuple(asked)
    )


def _read(source: Download) -> Found:
    for own, split, path in source.present(SPLITS, "{}MusicQA.json", "MusicQA/{}MusicQA.json"):
        for number, group in enumerate(_grouped(json_items(path, source.name(path)))):
            if isinstance(group, Lost):
                yield group
            else:
                where, name, asked = group
                made = source.one(where, _sample, source, own, split, number, name, asked)
                yield made
                if isinstance(made, Lost):
                    yield from [Lost(made.reason, f"{where}, question {n}") for n in range(2, len(asked) + 1)]


MUSICQA = Source(
    name="musicqa",
    title="MusicQA (MU-LLaMA)",
    licence="see the page; recordings of MusicCaps, MagnaTagATune and MTG-Jamendo keep their terms",
    home="https://huggingface.co/datasets/mu-llama/MusicQA",
    how_to_get="PretrainMusicQA.json, FinetuneMusicQA.json, EvalMusicQA.json and the unpacked audios/ from the page",
    size="70,011 questions on 7,779 recordings (finetune), 5,040 on 560 (eval), and the pretraining part",
    tells=("questions", "captions", "group"),
    layout="PretrainMusicQA.json, FinetuneMusicQA.json, EvalMusicQA.json (some may be absent)\naudios/NAME.wav",
    read=reading("musicqa", "see the page; recordings keep their terms", _read),
    splits=tuple(SPLITS),
    benchmark=True,
)
