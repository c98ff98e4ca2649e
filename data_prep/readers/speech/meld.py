"""MELD: dialogues of a television series with emotions."""

from __future__ import annotations

from functools import partial

from data_prep.readers import rows
from data_prep.readers.base import Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import Row
from data_prep.samples import Sample, Voice

SPLITS = {"train": "train", "dev": "dev", "test": "test"}
EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
_FOLDERS = {
    "train": ("train_splits", "train/train_splits"),
    "dev": ("dev_splits_complete", "dev/dev_splits_complete"),
    "test": ("output_repeated_splits_test", "test/output_repeated_splits_test"),
}
_NEED = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
_ENDS = (".mp4", ".wav", ".flac")


def _repaired(text: str) -> str:
    """The tables hold some apostrophes and dashes as control letters: bytes of cp1252 that were never decoded."""
    return "".join(bytes([ord(c)]).decode("cp1252", "replace") if "\x80" <= c <= "\x9f" else c for c in text)


def _utterance(source: Download, own: str, split: str, row: Row) -> Sample:
    dialogue, number = row.integer("Dialogue_ID"), row.integer("Utterance_ID")
    if (emotion := row.text("Emotion")) not in EMOTIONS:
        raise row.fault("Emotion", f"must be one of {', '.join(EMOTIONS)}", rows.UNKNOWN)
    stem = f"dia{dialogue}_utt{number}"
    folders = [*_FOLDERS[own], f"{own}/audio", f"audio/{own}"]
    return source.sample(
        f"{own}/{stem}",
        source.recording(*(f"{folder}/{stem}{ending}" for folder in folders for ending in _ENDS)),
        split,
        group=f"{own}/dialogue {dialogue}",
        transcript=_repaired(row.text("Utterance")),
        language="en",
        voice=Voice(row.text("Speaker"), emotion=emotion),
        extras={
            "sentiment": row.text("Sentiment"),
            "season": row.maybe_integer("Season"),
            "episode": row.maybe_integer("Episode"),
        },
    )


def _read(source: Download) -> Found:
    for own, split, path in source.present(SPLITS, "{}_sent_emo.csv", "{0}/{0}_sent_emo.csv"):
        yield from source.each(source.table(path, need=_NEED), partial(_utterance, source, own, split))


MELD = Source(
    name="meld",
    title="MELD",
    licence="GPL-3.0 (annotations); recordings of a television series",
    home="https://affective-meld.github.io",
    how_to_get="MELD.Raw.tar.gz and the archives in it, unpacked",
    size="13,708 utterances of 1,433 dialogues; one file (train dia125_utt3) is damaged in the release",
    tells=("transcript", "voice", "language", "group", "extras"),
    layout="train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv\ntrain_splits/diaN_uttN.mp4\n"
    "dev_splits_complete/diaN_uttN.mp4\noutput_repeated_splits_test/diaN_uttN.mp4",
    read=reading("meld", "GPL-3.0 (annotations)", _read),
    benchmark=True,
)
