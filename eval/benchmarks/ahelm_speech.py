"""AHELM's scenarios that are transcripts or translations: hearing, robustness, languages, fairness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from eval.benchmarks import prompts
from eval.benchmarks.ahelm import scenario
from eval.benchmarks.download import Download
from eval.benchmarks.embedded import extracted
from eval.benchmarks.records import Piece, Unusable
from eval.benchmarks.speech import librispeech_items, speaker_sexes, transcript_item
from eval.harness.items import Clip, Item, TranscriptWant

WER, BLEU = "ahelm-wer", "ahelm-bleu"
FLEURS = {
    "fi_fi": ("fi", "Finnish"), "en_us": ("en", "English"), "he_il": ("he", "Hebrew"), "zu_za": ("zu", "Zulu"),
    "bn_in": ("bn", "Bengali"), "th_th": ("th", "Thai"),
}
MLS = {
    "dutch": ("nl", "Dutch"), "spanish": ("es", "Spanish"), "italian": ("it", "Italian"), "german": ("de", "German"),
    "french": ("fr", "French"), "portuguese": ("pt", "Portuguese"), "polish": ("pl", "Polish"),
}
COVOST = {"zh-CN_en": "Chinese", "es_en": "Spanish"}
ROBUST = {"gnoise": "gnoise.1", "env-noise": "env_noise_esc50.1"}


def _librispeech(source: Download, split: str) -> Iterator[Piece]:
    yield from librispeech_items(source, "test-clean", WER, {})


def _librispeech_fair(source: Download, split: str) -> Iterator[Piece]:
    yield from librispeech_items(source, "test-clean", WER, speaker_sexes(source))


def _fleurs_items(source: Download, code: str) -> Iterator[Piece]:
    """The table has no header: id, file, text as written, text in lower case, letters, samples, sex."""
    columns = ("id", "file", "raw", "text", "letters", "samples", "sex")
    table = source.csv_rows(f"{code}/test.tsv", f"data/{code}/test.tsv", columns=columns, delimiter="\t", quoted=False)
    for row in table:
        file = row.text("file")
        path = source.recording(*(f"{d}{code}/{f}{file}" for d in ("", "data/") for f in ("test/", "audio/test/")))
        sex = row.text("sex", "unknown").lower()
        tags = {"sex": sex}
        yield transcript_item(f"{code}/{file}", path, row.text("text", ""), WER, FLEURS[code], row.text("id"), tags)


def _fleurs(source: Download, split: str) -> Iterator[Piece]:
    yield from _fleurs_items(source, split)


def _fleurs_fair(source: Download, split: str) -> Iterator[Piece]:
    yield from _fleurs_items(source, "en_us")


def _mls(source: Download, split: str) -> Iterator[Piece]:
    folder = source.folder(f"mls_{split}/test", f"mls_{split}_opus/test", "test")
    for row in source.csv_rows(f"{folder}/transcripts.txt", columns=("id", "text"), delimiter="\t", quoted=False):
        name = row.text("id")
        speaker, _, rest = name.partition("_")
        stem = f"{folder}/audio/{speaker}/{rest.partition('_')[0]}/{name}"
        path = source.recording(f"{stem}.flac", f"{stem}.opus", f"{stem}.ogg")
        yield transcript_item(name, path, row.text("text", ""), WER, MLS[split], speaker)


def _covost(source: Download, split: str) -> Iterator[Piece]:
    """The translations' table; recordings are the clips of Common Voice 4 of the language."""
    language = split.partition("_")[0]
    for row in source.csv_rows(f"covost_v2.{split}.tsv", delimiter="\t", quoted=False):
        if row.text("split") != "test":
            continue
        if not row.has("translation"):
            yield Unusable("no translation")
            continue
        file = row.text("path")
        path = source.recording(f"clips/{file}", f"{language}/clips/{file}", f"{COVOST[split]}/clips/{file}")
        yield Item(
            id=file,
            messages=prompts.asked(prompts.TRANSLATE, language=COVOST[split], target="English"),
            audios=(Clip(path=path),),
            want=TranscriptWant(reference=row.text("translation"), normaliser="none", metric="bleu"),
            official=BLEU,
            group=path,
            tags={"language": language},
            max_tokens=256,
        )


def _robust(source: Download, split: str) -> Iterator[Piece]:
    """Each utterance 30 times under the noise, inside Parquet files."""
    for place in source.files("", ".parquet"):
        if not PurePosixPath(place).name.startswith(ROBUST[split]):
            continue
        for number, row in enumerate(source.parquet_rows(place), start=1):
            name = f"{PurePosixPath(place).stem}-{number:05d}"
            path = extracted(source, row, "audio", name)
            yield transcript_item(name, path, row.text("text", "").lower(), WER, tags={"noise": split})


_LIBRI = ("CC BY 4.0", "https://www.openslr.org/12", "the unpacked test-clean.tar.gz (folder LibriSpeech/)")
_FLEURS = ("CC BY 4.0", "https://huggingface.co/datasets/google/fleurs", "data/CODE/test.tsv and data/CODE/audio/test/")

BENCHMARKS = (
    scenario("librispeech", "LibriSpeech", "hearing", "Words of read English", "transcript", WER, _librispeech,
             prompts.TRANSCRIBE, *_LIBRI, {"test-clean": 2620},
             "HELM gives the mean over utterances, and no errors to an empty answer."),
    scenario("speech-robust-bench", "Speech Robust Bench", "robustness", "Words of read English under noise",
             "transcript", WER, _robust, prompts.TRANSCRIBE, "see the data set's page",
             "https://huggingface.co/datasets/mshah1/speech_robust_bench",
             "the Parquet files of librispeech_asr-test.clean_pertEval_500_30; recordings are unpacked beside them",
             dict.fromkeys(ROBUST), "HELM takes 3 of the 30 versions of each utterance; ours all."),
    scenario("covost2", "CoVoST 2", "languages", "Translation of speech into English", "transcript", BLEU, _covost,
             prompts.TRANSLATE, "CC0 (Common Voice 4), CC BY-NC 4.0 (translations)",
             "https://github.com/facebookresearch/covost",
             "covost_v2.zh-CN_en.tsv (or es_en) beside clips/ of Common Voice 4", dict.fromkeys(COVOST)),
    scenario("fleurs", "FLEURS", "languages", "Words of read sentences in six languages", "transcript", WER, _fleurs,
             prompts.TRANSCRIBE, *_FLEURS, dict.fromkeys(FLEURS)),
    scenario("mls", "Multilingual LibriSpeech", "languages", "Words of read books in seven languages", "transcript",
             WER, _mls, prompts.TRANSCRIBE, "CC BY 4.0", "https://www.openslr.org/94",
             "the unpacked mls_LANGUAGE: test/transcripts.txt and test/audio/", dict.fromkeys(MLS)),
    scenario("fleurs-fairness", "FLEURS by sex", "fairness", "Words of read English, by the speaker's sex",
             "transcript", WER, _fleurs_fair, prompts.TRANSCRIBE, *_FLEURS),
    scenario("librispeech-fairness", "LibriSpeech by sex", "fairness", "Words of read English, by the speaker's sex",
             "transcript", WER, _librispeech_fair, prompts.TRANSCRIBE, *_LIBRI[:2],
             f"{_LIBRI[2]} with SPEAKERS.TXT", {"test-clean": 2620}),
)
