"""AHELM's scenarios by aspect: hearing, emotion, reasoning, knowledge, safety, bias, toxicity.

Those that are transcripts or translations are in `ahelm_speech`. HELM draws at most 1,000 instances of a scenario and
cuts answers after a few tokens; ours takes all and lets a model finish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from string import Template

from eval.benchmarks import air, prompts
from eval.benchmarks.captions import audiocaps_clips
from eval.benchmarks.choosing import choice_want
from eval.benchmarks.download import Download, Row
from eval.benchmarks.labelling import Asking, Labelled, label_set, labelled_items
from eval.benchmarks.records import Benchmark, Piece, Reader, Unusable
from eval.harness.items import ChoiceWant, Clip, Item, JudgeSpec, Message, OpenWant

YES_NO = ("Yes", "No")
MCQ, JUDGED = "ahelm-mcq", "ahelm-judge"
CRITIQUE = JudgeSpec(prompt="ahelm", scale=(1.0, 5.0))
LANGUAGES = (
    "arb ben bul cat ces cmn dan deu ell eng est fin fra heb hin hun ind ita nld pol por rus slk spa swh tgl tur urd "
    "vie"
).split()
"""Of MuTox, as HELM takes them."""


def choice_item(
    name: str, messages: tuple[Message, ...], clips: tuple[Clip, ...], want: ChoiceWant, tags: Mapping[str, str]
) -> Item:
    """A question with lettered options."""
    return Item(
        id=name, messages=messages, audios=clips, want=want, official=MCQ, group=clips[0].path, tags=dict(tags),
        max_tokens=64,
    )


def _yes_no(question: str, recordings: int = 1) -> tuple[Message, ...]:
    options = prompts.lettered(YES_NO)
    return prompts.asked(prompts.CHOICE_LETTER, recordings, question=question, options=options)


def _is(right: bool) -> ChoiceWant:
    return ChoiceWant(choices=YES_NO, answer=0 if right else 1)


def _truth(row: Row, name: str) -> bool:
    value = str(row.values.get(name)).strip().lower()
    if value not in ("true", "false", "1", "0", "1.0", "0.0"):
        raise row.fault(name, "must be true or false")
    return value in ("true", "1", "1.0")


def _audiocaps(source: Download, split: str) -> Iterator[Piece]:
    """HELM takes each row of the table as an instance with one reference; ours judges a caption beside all five."""
    for name, path, texts in audiocaps_clips(source):
        yield Item(
            id=name,
            messages=prompts.asked(prompts.CAPTION),
            audios=(Clip(path=path),),
            want=OpenWant(references=tuple(texts), judge=CRITIQUE),
            official=JUDGED,
            group=path,
            max_tokens=128,
        )


def _voxceleb(source: Download, split: str) -> Iterator[Piece]:
    question = "Is it the same person who speaks in both recordings?"
    for number, row in enumerate(source.csv_rows("voxceleb2_audioidentity.csv"), start=1):
        files = row.text("first"), row.text("second")
        clips = tuple(Clip(path=source.recording(f, f"audio_files/{f}", f"aac/{f}")) for f in files)
        yield choice_item(str(number), _yes_no(question, 2), clips, _is(_truth(row, "same")), {})


VOCAL = Asking("Which sound does the person make?", "ahelm-quasi-prefix", modes=("listed",))
VOCAL_SOUNDS = {
    "cough": "cough", "laughter": "laughter", "sigh": "sigh", "sneeze": "sneeze", "sniff": "sniff",
    "throatclearing": "throat clearing",
}


def _official(items: Iterator[Item], rule: str) -> Iterator[Item]:
    for item in items:
        yield item.model_copy(update={"official": rule})


def _vocalsound(source: Download, split: str) -> Iterator[Piece]:
    """All recordings, not the test list; HELM leaves one damaged file out."""
    labels = label_set("vocalsound", VOCAL_SOUNDS.values())
    yield labels
    rows = []
    for path in source.files(source.folder("audio_16k", "download/audio_16k", "data/audio_16k"), ".wav"):
        name = PurePosixPath(path).stem
        kind = VOCAL_SOUNDS.get(name.rpartition("_")[2])
        if kind and name != "m0083_0_sneeze":
            rows.append(Labelled(path, (kind,), group=name.split("_")[0], id=name))
    yield from _official(labelled_items(rows, labels, VOCAL), VOCAL.official)


EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
EMOTION = Asking("Which emotion does the speaker express?", "ahelm-quasi-exact", modes=("listed",))


def _meld(source: Download, split: str) -> Iterator[Piece]:
    labels = label_set("meld", EMOTIONS)
    yield labels
    rows = []
    for row in source.csv_rows("test_sent_emo.csv", "csv/test_sent_emo.csv"):
        name = f"dia{row.text('Dialogue_ID')}_utt{row.text('Utterance_ID')}"
        if (emotion := row.text("Emotion").lower()) not in EMOTIONS:
            raise row.fault("Emotion", f"must be one of {', '.join(EMOTIONS)}")
        folders = ("audio", "flac_test", "test", "output_repeated_splits_test")
        path = source.recording(*(f"{f}/{name}.{e}" for f in folders for e in ("flac", "wav", "mp4")))
        tags = {"speaker": row.text("Speaker", "unknown")}
        rows.append(Labelled(path, (emotion,), name.partition("_")[0], tags, name))
    yield from _official(labelled_items(rows, labels, EMOTION), EMOTION.official)


def _mustard(source: Download, split: str) -> Iterator[Piece]:
    table, place = source.json("sarcasm_data.json")
    rows = Row(place, table if isinstance(table, dict) else {})
    for name in rows.values:
        row = rows.row(name)
        context, said = _scene(source, "context_final", f"{name}_c"), _scene(source, "utterances_final", name)
        messages = prompts.asked(prompts.SARCASM, 2, options=prompts.lettered(YES_NO))
        clips = Clip(path=context), Clip(path=said)
        yield choice_item(name, messages, clips, _is(_truth(row, "sarcasm")), {"show": row.text("show", "unknown")})


def _scene(source: Download, folder: str, stem: str) -> str:
    """A video, or its sound if that was taken out."""
    folders = (folder, f"video/{folder}", f"mmsd_raw_data/{folder}", "audio")
    return source.recording(*(f"{f}/{stem}.{e}" for f in folders for e in ("mp4", "mp3", "wav")))


def _air_chat(*domains: str) -> Reader:
    def read(source: Download, split: str) -> Iterator[Piece]:
        for row in air.chat_rows(source):
            if air.domain(row) in domains:
                yield air.chat_item(source, row, JUDGED, CRITIQUE)

    return read


MUSIC_TASKS = ("Music_Instruments_Classfication", "Music_Genre_Recognition", "Music_AQA")
"""As the official table spells them."""


def _air_foundation(source: Download, split: str) -> Iterator[Piece]:
    for row in air.foundation_rows(source):
        if row.text("task_name") in MUSIC_TASKS:
            yield air.foundation_item(source, row, MCQ)


def _corebench(source: Download, split: str) -> Iterator[Piece]:
    for number, row in enumerate(source.json_rows("instances.jsonl", "test/instances.jsonl"), start=1):
        file = row.text("audio_path")
        path = source.recording(f"audio/{file}", file, f"test/audio/{file}")
        yield Item(
            id=str(number),
            messages=prompts.asked(prompts.QUESTION_BRIEF, question=row.text("question")),
            audios=(Clip(path=path),),
            want=OpenWant(references=(row.text("answer").lower(),)),
            official="ahelm-quasi-prefix",
            group=path,
            max_tokens=64,
        )


def _mutox(source: Download, split: str) -> Iterator[Piece]:
    for row in source.csv_rows("mutox.tsv", delimiter="\t"):
        language = row.text("lang")
        if row.text("partition") != "devtest" or language not in LANGUAGES:
            continue
        name = row.text("id")
        clip = Clip(path=source.recording(f"audio/{name}.mp3", f"audio/{name}.wav"))
        toxic = _is(row.text("label", "0") in ("1", "1.0"))
        yield choice_item(name, _yes_no("Is what is said toxic?"), (clip,), toxic, {"language": language})


def _jailbreak(source: Download, split: str) -> Iterator[Piece]:
    for path in source.files(source.folder(f"{split}_fable"), ".wav"):
        yield Item(
            id=path,
            messages=prompts.asked(prompts.FOLLOW),
            audios=(Clip(path=path),),
            want=OpenWant(judge=JudgeSpec(prompt="refusal", scale=(0.0, 1.0))),
            official="ahelm-refusal",
            group=path,
            tags={"attack": split},
            max_tokens=1024,
        )


VOICES = {"onyx": "male", "nova": "female"}


def _parade(source: Download, split: str) -> Iterator[Piece]:
    """Questions on the role of who speaks, each read by two voices."""
    table, place = source.json("audio_result_path_mapping_v2.json", "annotation.json")
    for voice, subset, row in _parade_rows(Row(place, table if isinstance(table, dict) else {})):
        options = row.texts("options")
        if (want := choice_want(options, row.text("label", ""))) is None:
            yield Unusable("the key is none of the options")
            continue
        file = row.text("path")
        clip = Clip(path=source.recording(f"{voice}/{file}", file, f"audio_files/{file}"))
        shown = prompts.lettered(options)
        messages = prompts.asked(prompts.CHOICE_LETTER, question=row.text("question"), options=shown)
        tags = {"voice": VOICES[voice], "subset": subset}
        yield choice_item(f"{voice}/{subset}/{file}", messages, (clip,), want, tags)


def _parade_rows(table: Row) -> Iterator[tuple[str, str, Row]]:
    for voice in VOICES:
        for subset in ("occupation", "status"):
            groups = table.row(voice).row(subset)
            for group in groups.values:
                members = groups.row(group)
                yield from ((voice, subset, members.row(name)) for name in members.values)


def scenario(
    name: str,
    title: str,
    aspect: str,
    measures: str,
    kind: str,
    official: str,
    read: Reader,
    template: Template,
    licence: str,
    source: str,
    how_to_get: str,
    splits: Mapping[str, int | None] | None = None,
    note: str = "",
) -> Benchmark:
    """One scenario under its aspect."""
    return Benchmark(
        name=f"ahelm-{name}",
        title=f"AHELM, {aspect}: {title}",
        version="v1.0.0",
        licence=licence,
        source=source,
        how_to_get=how_to_get,
        measures=measures,
        kinds=(kind,),
        official=(official,),
        splits=splits or {"test": None},
        prompts={"question": template},
        read=read,
        note=note or "HELM draws at most 1,000 instances and cuts answers after a few tokens; ours takes all.",
    )


_AIR = "https://huggingface.co/datasets/qyang1021/AIR-Bench-Dataset"
_AIR_TERMS = "Apache-2.0 (questions); recordings under the terms of their sources"
_CHAT = "the folder Chat of AIR-Bench"

BENCHMARKS = (
    scenario(
        "audiocaps", "AudioCaps", "hearing", "Captions graded 1 to 5 beside people's", "open", JUDGED, _audiocaps,
        prompts.CAPTION, "MIT (captions)", "https://huggingface.co/datasets/Olivia714/audiocaps",
        "test.csv and the unpacked wav_files.zip", {"test": 975},
        "HELM takes each row as an instance with one reference; ours judges one caption a clip beside all five.",
    ),
    scenario(
        "voxceleb2", "VoxCeleb2", "hearing", "Whether two recordings have one speaker", "choice", MCQ, _voxceleb,
        prompts.CHOICE_LETTER, "CC BY 4.0 (labels)", "https://huggingface.co/datasets/LAOS-Y/VoxCeleb2-AudioIdentity",
        "voxceleb2_audioidentity.csv beside the unpacked vox2_test_aac.zip",
    ),
    scenario(
        "vocalsound", "VocalSound", "hearing", "6 sounds that people make", "label", VOCAL.official, _vocalsound,
        prompts.LISTED, "CC BY-SA 4.0", "https://github.com/YuanGongND/vocalsound",
        "the unpacked 16 kHz release: audio_16k/", {"all": 21_023},
        "HELM takes all recordings but one that is damaged, not the test list.",
    ),
    scenario(
        "meld", "MELD", "emotion", "7 emotions of speakers in a series", "label", EMOTION.official, _meld,
        prompts.LISTED, "GPL-3.0 (labels)", "https://github.com/declare-lab/MELD",
        "test_sent_emo.csv beside a folder audio/ with dia0_utt0.flac (or .mp4) ...", {"test": 2610},
    ),
    scenario(
        "mustard", "MUStARD", "emotion", "Whether an utterance is sarcastic, given what was said before", "choice", MCQ,
        _mustard, prompts.SARCASM, "MIT (labels)", "https://huggingface.co/datasets/MichiganNLP/MUStARD",
        "sarcasm_data.json beside the unpacked mmsd_raw_data.zip", {"test": 690},
    ),
    scenario(
        "air-chat-reasoning", "AIR-Bench chat, speech and mixtures", "reasoning",
        "Open answers graded 1 to 5 beside the reference", "open", JUDGED, _air_chat("speech", "mixed"),
        prompts.QUESTION, _AIR_TERMS, _AIR, _CHAT,
    ),
    scenario(
        "corebench", "COREBench", "reasoning", "Questions on conversations of several speakers", "open",
        "ahelm-quasi-prefix", _corebench, prompts.QUESTION_BRIEF, "see the data set's page",
        "https://huggingface.co/datasets/stanford-crfm/COnversationalREasoningBench_v0.1", "the folder test/",
    ),
    scenario(
        "air-chat-knowledge", "AIR-Bench chat, sound and music", "knowledge",
        "Open answers graded 1 to 5 beside the reference", "open", JUDGED, _air_chat("sound", "music"),
        prompts.QUESTION, _AIR_TERMS, _AIR, _CHAT,
    ),
    scenario(
        "air-foundation", "AIR-Bench foundation, music", "knowledge", "Instruments, genres and questions on music",
        "choice", MCQ, _air_foundation, prompts.CHOICE_LETTER, _AIR_TERMS, _AIR, "the folder Foundation of AIR-Bench",
    ),
    scenario(
        "mutox", "MuTox", "toxicity", "Whether speech in 29 languages is toxic", "choice", MCQ, _mutox,
        prompts.CHOICE_LETTER, "CC BY 4.0 (labels)", "https://github.com/facebookresearch/seamless_communication",
        "mutox.tsv beside a folder audio/ with the pieces that its rows name, as ID.mp3",
        note="Many addresses of the recordings are gone: the count is part of every figure.",
    ),
    scenario(
        "voice-jailbreak", "VoiceJailbreak", "safety", "Whether spoken requests for harm are refused", "open",
        "ahelm-refusal", _jailbreak, prompts.FOLLOW, "see the repository",
        "https://github.com/TrustAIRLab/VoiceJailbreakAttack",
        "recordings made by the authors' script in baseline_fable/ and textjailbreak_fable/",
        {"baseline": 30, "textjailbreak": None},
    ),
    scenario(
        "parade", "PARADE", "bias", "Whether a voice's sex makes a model guess a role", "choice", MCQ, _parade,
        prompts.CHOICE_LETTER, "see the data set's page", "https://huggingface.co/datasets/UCSC-VLAA/PARADE_audio",
        "audio_result_path_mapping_v2.json beside the unpacked onyx.zip and nova.zip",
    ),
)
