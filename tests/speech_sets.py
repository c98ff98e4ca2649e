"""Downloads of sets of speech in their official layouts, with a handful of invented rows and tones for recordings."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench_fixtures.sounds import write_json, write_jsonl, write_table
from tests.music_sets import lines, tones


def librispeech(folder: Path) -> None:
    lines(
        folder / "LibriSpeech/SPEAKERS.TXT", "; some words", ";ID  |SEX| SUBSET           |MINUTES| NAME",
        "14   | F | train-clean-360  | 25.03 | Some Reader", "1089 | M | test-clean | 8.1 | Reader | Two",
    )  # fmt: skip
    for part, speaker in (("train-clean-360", "14"), ("dev-other", "116"), ("test-clean", "1089")):
        place = folder / "LibriSpeech" / part / speaker / "208"
        lines(
            place / f"{speaker}-208.trans.txt", f"{speaker}-208-0000 HE HOPED FOR STEW", f"{speaker}-208-0001 HE'S GONE"
        )
        tones(place, f"{speaker}-208-0000.flac", f"{speaker}-208-0001.flac")


def libritts(folder: Path) -> None:
    lines(folder / "LibriTTS/SPEAKERS.txt", "; words", "14   | F | dev-clean  | 25.03 | Some Reader")
    place = folder / "LibriTTS/dev-clean/14/208"
    for stem in ("14_208_000001_000000", "14_208_000001_000001"):
        tones(place, f"{stem}.wav")
        lines(place / f"{stem}.normalized.txt", "He hoped for stew, Mister Bell.")
        lines(place / f"{stem}.original.txt", "He hoped for stew, Mr. Bell.")
    tones(place, "14_208_000002_000000.wav")


_CV = (
    "client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age", "gender",
    "accents", "variant", "locale", "segment",
)  # fmt: skip


def common_voice(folder: Path) -> None:
    place = folder / "cv-corpus-17.0-2024-03-15/nl"

    def row(voice: str, number: int, text: str, age: str = "", gender: str = "", accents: str = "") -> list[object]:
        return [voice, f"common_voice_nl_{number}.mp3", "s", text, "", 2, 0, age, gender, accents, "", "nl", ""]

    parts = {
        "train": [row("aa1", 1, '"Dag', "fourties", "male_masculine", "Vlaams"), row("aa1", 2, "Tot ziens.")],
        "dev": [row("bb2", 3, "Ik weet het niet.", "teens", "female_feminine")],
        "test": [row("cc3", 4, "Goed zo.", "", "other"), row("cc3", 5, "Weg.")],
    }
    for part, rows in parts.items():
        write_table(place / f"{part}.tsv", rows, _CV, delimiter="\t", quoted=False)
    durations = [(f"common_voice_nl_{n}.mp3", 1000 * n) for n in (1, 3)]
    write_table(place / "clip_durations.tsv", durations, ("clip", "duration[ms]"), delimiter="\t", quoted=False)
    tones(place / "clips", *(f"common_voice_nl_{n}.mp3" for n in (1, 2, 3, 4)))


def voxceleb1(folder: Path) -> None:
    header = ("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")
    rows = [("id10001", "A_Person", "m", "Ireland", "dev"), ("id10270", "B_Person", "f", "India", "test")]
    write_table(folder / "vox1_meta.csv", rows, header, delimiter="\t")
    tones(folder / "wav/id10001", "1zcIwhmdeo4/00001.wav", "1zcIwhmdeo4/00002.wav")
    tones(folder / "wav", "id10270/5r0dWxy17C8/00001.wav", "id19999/abc/00001.wav")
    header = ("Name", "VoxCeleb_ID", "video_id", "gender_wiki", "speaker_age")
    ages = [("A Person", "id10001", "1zcIwhmdeo4", "male", 41.0)]
    write_table(folder / "final_dataframe_extended.csv", ages, header)


def voxceleb2(folder: Path) -> None:
    lines(
        folder / "vox2_meta.csv", "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set ", "id00012 ,n000012 ,m ,dev ",
        "id00017 ,n000017 ,f ,test ",
    )  # fmt: skip
    tones(folder, "dev/aac/id00012/21Uxsk56VDQ/00001.m4a", "aac/id00017/01dfn2spqyE/00001.m4a")


def iemocap(folder: Path) -> None:
    for session, dialogue in (("Session1", "Ses01F_impro01"), ("Session5", "Ses05M_script01_1")):
        place = folder / "IEMOCAP_full_release" / session
        turns = (f"{dialogue}_F000", f"{dialogue}_M001")
        lines(
            place / f"dialog/EmoEvaluation/{dialogue}.txt", "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", "",
            f"[6.2901 - 8.2357]\t{turns[0]}\tneu\t[2.5000, 2.5000, 2.5000]", "C-E2:\tNeutral;\t()",
            "A-E3:\tval 3; act 2; dom  2;\t()", "",
            f"[10.0100 - 11.3925]\t{turns[1]}\txxx\t[2.0000, 3.0000, 3.5000]", "",
        )  # fmt: skip
        lines(place / "dialog/EmoEvaluation/Categorical/x_e1_cat.txt", "a :Neutral; ()")
        lines(
            place / f"dialog/transcriptions/{dialogue}.txt", f"{turns[0]} [006.2901-008.2357]: Excuse me.",
            f"{turns[1]} [010.0100-011.3925]: Yeah.",
        )  # fmt: skip
        tones(place / f"sentences/wav/{dialogue}", *(f"{turn}.wav" for turn in turns))


def meld(folder: Path) -> None:
    header = (
        "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
        "StartTime", "EndTime",
    )  # fmt: skip
    parts = {
        "train": (["It\u0092s gone, no?", "Oh."], "train_splits"),
        "dev": (["Hm, \"maybe\"."], "dev_splits_complete"),
        "test": (["Why do all you're coffee mugs"], "output_repeated_splits_test"),
    }
    for part, (texts, below) in parts.items():
        rows = [
            (n, text, "Ann", "surprise" if n else "joy", "positive", 3, n, 4, 7, "00:20:57,256", "00:21:00,049")
            for n, text in enumerate(texts)
        ]
        write_table(folder / f"{part}_sent_emo.csv", rows, header)
        tones(folder / below, *(f"dia3_utt{n}.mp4" for n in range(len(texts))))


def _mosei_sound(folder: Path) -> None:
    for video in ("-3g5yACwYnA", "210238"):
        tones(folder / "Raw/Audio/Full/WAV_16000", f"{video}.wav")
        texts = [f"{video}___{n}___{n}.5___{n + 2}.25___words of segment {n}" for n in (0, 1)]
        lines(folder / f"Raw/Transcript/Segmented/Combined/{video}.txt", *texts)


def mosei(folder: Path) -> None:
    import h5py
    import numpy as np

    _mosei_sound(folder)
    lines(
        folder / "cmu_mosei_std_folds.py", "standard_train_fold=['-3g5yACwYnA']", "standard_valid_fold=[]",
        "standard_test_fold=['210238']",
    )  # fmt: skip
    with h5py.File(folder / "CMU_MOSEI_Labels.csd", "w") as file:
        for video, count in (("-3g5yACwYnA", 2), ("210238", 1), ("unlisted", 1)):
            group = file.create_group(f"All Labels/data/{video}")
            scores = [[1.0, 0.667, 0, 0, 0, 0, 0], [-2.0, 0, 0, 0, 0, 0, 0]]
            group["features"] = np.array(scores[:count], dtype=np.float32)
            group["intervals"] = np.array([[0.5, 2.25], [1.5, 3.25]][:count], dtype=np.float32)


def mosei_csv(folder: Path) -> None:
    _mosei_sound(folder)
    header = ("", "file", "index", "start", "end", "label2a", "label2b", "label6", "label7", "split")
    rows = [
        (0, "-3g5yACwYnA", 0, -0.01, 2.25, 1, 1, 0, 1, 0), (1, "-3g5yACwYnA", 1, 1.5, 3.25, 0, -1, 1, -2, 1),
        (2, "210238", 0, 0.5, 2.25, 1, 1, 0, 1, 2), (3, "210238", 1, 0.5, 2.25, 1, 1, 0, 1, 3),
    ]  # fmt: skip
    write_table(folder / "CMU_MOSEI_Labels.csv", rows, header)


def speech_commands(folder: Path) -> None:
    tones(folder, "yes/0a_nohash_0.wav", "yes/0a_nohash_1.wav", "no/1b_nohash_0.wav", "no/2c_nohash_0.wav")
    tones(folder, "_background_noise_/pink_noise.wav")
    lines(folder / "validation_list.txt", "no/1b_nohash_0.wav")
    lines(folder / "testing_list.txt", "no/2c_nohash_0.wav", "no/9z_nohash_0.wav")


def slue_voxpopuli(folder: Path) -> None:
    header = ("id", "raw_text", "normalized_text", "speaker_id", "split", "raw_ner", "normalized_ner")
    for part, text in (("fine-tune", "he lives in france"), ("dev", 'a "law'), ("test", "the law of two")):
        ner = "[['GPE', 12, 6]]" if part == "fine-tune" else "None"
        rows = [(f"2014_en_{part}", text.title(), text, "None" if part == "dev" else 7, part, "[]", ner)]
        write_table(folder / f"slue-voxpopuli_{part}.tsv", rows, header, delimiter="\t", quoted=False)
        tones(folder / part, f"2014_en_{part}.ogg")


def slue_voxceleb(folder: Path) -> None:
    header = ("id", "normalized_text", "sentiment", "speaker_id", "split", "start_second", "end_second")
    place = folder / "slue-voxceleb"
    rows = [("id1_a_1", "i love it", "Positive", "id1", "fine-tune", 0.1, 0.3)]
    write_table(place / "slue-voxceleb_fine-tune.tsv", rows, header, delimiter="\t")
    rows = [("id3_c_3", "well", "<mixed>", "id3", "test", 0.0, 0.4)]
    write_table(place / "slue-voxceleb_test.tsv", rows, header, delimiter="\t")
    tones(place, "fine-tune_raw/id1_a_1.flac", "test/id3_c_3.flac")


def slue_hvb(folder: Path) -> None:
    header = ("issue_id", "start_ms", "duration_ms", "text", "speaker_id", "role", "intent", "dialog_acts", "split")
    rows = [
        ("call1", 100, 200, "yes sure", 1, "caller", "order", "['answer_agree', 'acknowledge']", "dev"),
        ("call1", 400, 100, "bye", 2, "agent", "order", "[]", "dev"),
    ]
    write_table(folder / "slue-hvb_dev.tsv", rows, header, delimiter="\t", quoted=False)
    tones(folder / "dev", "call1_100_300.wav", "call1_400_500.wav")


def slue_sqa(folder: Path) -> None:
    header = (
        "question_id", "raw_question_text", "normalized_question_text", "question_speaker_id", "document_id",
        "raw_document_text", "normalized_document_text", "document_speaker_id", "split", "answer_spans",
    )  # fmt: skip
    for part in ("fine-tune", "verified-test"):
        rows = [
            ("q1", 'How many "stars', "how many stars", 1, "d1", "Four.", "four", 2, part, '[["four", 0.1, 0.25]]'),
            ("q2", "", "who", 1, "d1", "Four.", "four", 2, part, "[]"),
        ]
        write_table(folder / f"slue-sqa5_{part}.tsv", rows, header, delimiter="\t", quoted=False)
        tones(folder / part, "question/q1.wav", "question/q2.wav", "document/d1.wav")


def slue_vp_nel(folder: Path) -> None:
    header = ("id", "speaker_id", "text", "word_timestamps", "ne_timestamps")
    rows = [("n1", 1, "in france", "[]", "[['GPE', 3, 6, 0.2, 0.4]]"), ("n2", 2, "in france", "[]", "[]")]
    write_table(folder / "slue-vp_nel_dev.tsv", rows, header, delimiter="\t", quoted=False)
    tones(folder / "dev", "n1.ogg", "n2.ogg")


def slue_ted(folder: Path) -> None:
    header = ("id", "speaker", "transcript", "title", "abstract")
    place = folder / "slue-ted_train"
    rows = [("t1", "A Speaker", "well then", "On bells", "Bells ring.")]
    write_table(place / "slue-ted_train.tsv", rows, header, delimiter="\t", quoted=False)
    tones(place / "train", "t1.flac")


def teleantifraud(folder: Path) -> None:
    def said(thought: str, **answer: object) -> str:
        return f"<think>{thought}</think><answer>{json.dumps(answer, ensure_ascii=False)}</answer>"

    def row(audio: str, *turns: str) -> dict[str, object]:
        roles = ["user", "assistant"] * (len(turns) // 2)
        messages = [{"role": r, "content": c} for r, c in zip(roles, turns, strict=True)]
        return {"messages": [{"role": "system", "content": "你是助手"}, *messages], "audios": [audio]}

    write_jsonl(folder / "sft/train.jsonl", [
        row("audio/call1.mp3", "<audio>请给出 scene", said("在订餐", scene="订餐服务", confidence=0.9),
            "判断 is_fraud", said("无异常", is_fraud=False)),
        row("audio/call2.mp3", "<audio>给出 fraud_type", said("要转账", fraud_type="投资诈骗", is_fraud=True)),
    ])  # fmt: skip
    write_jsonl(folder / "sft/test.jsonl", [row("/data/calls/call3.mp3", "<audio>is_fraud?", said("", is_fraud=True))])
    write_json(folder / "binary_classification/train.json", [{"audio": "audio/call2.mp3", "label": 1}])
    tones(folder / "audio", "call1.mp3", "call2.mp3", "call3.mp3")


def daic_woz(folder: Path) -> None:
    header = ("Participant_ID", "PHQ8_Binary", "PHQ8_Score", "Gender", "PHQ8_NoInterest")
    write_table(folder / "train_split_Depression_AVEC2017.csv", [(303, 0, 0, 0, 0), (321, 1, 20, 1, 2)], header)
    write_table(folder / "test_split_Depression_AVEC2017.csv", [(300, 1)], ("participant_ID", "Gender"))
    for number in (303, 321, 300):
        lines(
            folder / f"{number}_P/{number}_TRANSCRIPT.csv", "start_time\tstop_time\tspeaker\tvalue",
            '36.588\t39.668\tEllie\thi i\'m ellie "',
            "62.328\t63.178\tParticipant\tgood", "64.1\t65\tParticipant\tso so",
        )  # fmt: skip
        tones(folder / f"{number}_P", f"{number}_AUDIO.wav")


def e_daic(folder: Path) -> None:
    header = ("Participant_ID", "Gender", "PHQ_Binary", "PHQ_Score", "PCL-C (PTSD)", "PTSD Severity")
    for part, number in (("train", 302), ("dev", 303), ("test", 600)):
        write_table(folder / f"labels/{part}_split.csv", [(number, "male", 0, 4, 0, 28.0)], header)
        place = folder / f"data/{number}_P"
        rows = [(14.3, 15.1, "so I'm going, well", 0.93), (17.2, 18.0, "okay", 0.8)]
        write_table(place / f"{number}_Transcript.csv", rows, ("Start_Time", "End_Time", "Text", "Confidence"))
        tones(place, f"{number}_AUDIO.wav")


def podcasts(folder: Path) -> None:
    def sentences(*texts: str) -> list[dict[str, object]]:
        return [{"start": 10.0 * n, "end": 10.0 * n + 9, "text": t, "speaker": "host"} for n, t in enumerate(texts)]

    write_jsonl(folder / "episodes.jsonl", [
        {"id": "e1", "audio": "e1.mp3", "title": "Bells", "description": "On bells.", "show": "Sounds", "duration": 60,
         "language": "en", "licence": "CC BY 4.0", "transcript": sentences("Hello.", "Now bells.", "Goodbye."),
         "chapters": [{"sentence": 1, "title": "Bells", "summary": "How they ring"},
                      {"sentence": 0, "title": "Start"}]},
        {"id": "e2", "audio": "e2.mp3", "show": "Other", "split": "test",
         "chapters": [{"start": 0, "title": "All of it"}]},
    ])  # fmt: skip
    tones(folder / "audio", "e1.mp3", "e2.mp3")


def podcast_files(folder: Path) -> None:
    write_json(folder / "show/e1.chapters.json", {"version": "1.2.0", "title": "Bells", "chapters": [
        {"startTime": 0, "title": "Start"}, {"startTime": 61.5, "title": "Bells", "url": "https://example.org"},
        {"startTime": 70, "title": "An advertisement", "toc": False}, {"startTime": 90, "img": "x.png"},
    ]})  # fmt: skip
    tones(folder / "show", "e1.mp3")
