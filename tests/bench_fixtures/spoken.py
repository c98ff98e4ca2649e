"""LibriSpeech, SLUE and AHELM in their official lay-outs, with invented words over tones."""

from __future__ import annotations

from pathlib import Path

from tests.bench_fixtures.sounds import sound, sounds, write_json, write_jsonl, write_parquet, write_table


def librispeech(folder: Path) -> None:
    for part in ("test-clean", "test-other"):
        place = folder / "LibriSpeech" / part / "1089" / "134686"
        sounds(place, ("1089-134686-0000.flac", "1089-134686-0001.flac"))
        (place / "1089-134686.trans.txt").write_text(
            "1089-134686-0000 HE HOPED THERE WOULD BE STEW\n1089-134686-0001 STUFF IT INTO YOU\n"
        )
    (folder / "LibriSpeech" / "SPEAKERS.TXT").write_text(
        "; some words\n;ID  |SEX| SUBSET |MINUTES| NAME\n1089 | M | test-clean | 8.1 | Some Reader\n"
    )


def slue_voxpopuli(folder: Path) -> None:
    header = ("id", "raw_text", "normalized_text", "speaker_id", "split", "raw_ner", "normalized_ner")
    rows = [
        ("20140101_en_1", "", "he lives in france", "7", "test", "[]", "[['GPE', 12, 6]]"),
        ("20140101_en_2", "", "nothing is named", "None", "test", "None", "None"),
        ("20140101_en_3", "", "the law of two", "8", "test", "[]", "[['LAW', 0, 14], ['EVENT', 4, 3]]"),
    ]
    write_table(folder / "slue-voxpopuli_test.tsv", rows, header, delimiter="\t")
    sounds(folder / "test", (f"{r[0]}.ogg" for r in rows))


def slue_voxceleb(folder: Path) -> None:
    header = ("id", "normalized_text", "sentiment", "start_second", "end_second", "speaker_id", "split")
    rows = [
        ("id1_a_1", "i love it", "Positive", 0.1, 0.3, "id1", "test"),
        ("id2_b_2", "it is there", "Neutral", 0.0, 0.4, "id2", "test"),
        ("id3_c_3", "well", "<mixed>", 0.0, 0.4, "id3", "test"),
    ]
    write_table(folder / "slue-voxceleb_test.tsv", rows, header, delimiter="\t")
    sounds(folder, ("test_raw/id1_a_1.flac", "test/id2_b_2.flac", "test/id3_c_3.flac"))


def slue_hvb(folder: Path) -> None:
    header = ("issue_id", "start_ms", "duration_ms", "text", "speaker_id", "dialog_acts")
    rows = [
        ("call1", 100, 200, "yes sure", 1, "['answer_agree', 'acknowledge']"),
        ("call1", 400, 100, "bye", 2, "['statement_close']"),
        ("call2", 0, 100, "hm", 2, "[]"),
    ]
    write_table(folder / "slue-hvb_test.tsv", rows, header, delimiter="\t")
    sounds(folder / "test", ("call1_100_300.wav", "call1_400_500.wav", "call2_0_100.wav"))


def slue_vp_nel(folder: Path) -> None:
    header = ("id", "speaker_id", "text", "word_timestamps", "ne_timestamps")
    words = "{'word': ['in', 'france'], 'start_sec': [0.0, 0.2], 'end_sec': [0.2, 0.4]}"
    names = "[{'ne_label': 'GPE', 'start_char_idx': 3, 'char_offset': 6, 'start_sec': 0.2, 'end_sec': 0.4}]"
    rows = [("n1", 1, "in france", words, names), ("n2", 2, "in france", words, "[]")]
    write_table(folder / "slue-vp_nel_test.tsv", rows, header, delimiter="\t")
    sounds(folder / "test", ("n1.ogg", "n2.ogg"))


def slue_sqa(folder: Path) -> None:
    header = ("question_id", "document_id", "raw_question_text", "answer_spans")
    spans = "{'answer': ['four'], 'start_second': [0.1], 'end_second': [0.25]}"
    lists = "[['four', 0.1, 0.25]]"
    rows = [("q1", "d1", "how many", spans), ("q2", "d1", "who", "[]"), ("q3", "d1", "how many then", lists)]
    write_table(folder / "slue-sqa5_test.tsv", rows, header, delimiter="\t")
    sounds(folder / "test", ("question/q1.wav", "question/q2.wav", "question/q3.wav", "document/d1.wav"))


def slue_ted(folder: Path) -> None:
    header = ("id", "speaker", "transcript", "title", "abstract")
    rows = [("t1", "A Speaker", "well then", "On bells", "Bells ring."), ("t2", "B", "so", "", "No title here.")]
    write_table(folder / "slue-ted_test.tsv", rows, header, delimiter="\t")
    sounds(folder / "test", ("t1.flac", "t2.flac"))


def voxceleb2(folder: Path) -> None:
    rows = [("id1/a/1.wav", "id1/b/2.wav", True), ("id1/a/1.wav", "id2/c/3.wav", False)]
    write_table(folder / "voxceleb2_audioidentity.csv", rows, ("first", "second", "same"))
    sounds(folder / "aac", ("id1/a/1.wav", "id1/b/2.wav", "id2/c/3.wav"))


def vocalsound(folder: Path) -> None:
    names = ("f0003_0_cough.wav", "m0083_0_sneeze.wav", "m0084_0_throatclearing.wav")
    sounds(folder / "audio_16k", names)


def meld(folder: Path) -> None:
    header = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
    rows = [(1, "Oh no, really?", "Ann", "surprise", "neutral", 0, 0), (2, "Yes.", "Ben", "neutral", "neutral", 0, 1)]
    write_table(folder / "test_sent_emo.csv", rows, header)
    sounds(folder / "audio", ("dia0_utt0.flac", "dia0_utt1.flac"))


def mustard(folder: Path) -> None:
    rows = {name: {"utterance": "Great.", "speaker": "ANN", "show": "TOY", "sarcasm": name == "1_60"} for name in (
        "1_60", "1_70")}
    write_json(folder / "sarcasm_data.json", rows)
    sounds(folder / "audio", (f"{name}{end}.wav" for name in rows for end in ("", "_c")))


def corebench(folder: Path) -> None:
    rows = [
        {"audio_path": f"{n}.wav", "question": "Who pays?", "answer": answer, "transcript": ""}
        for n, answer in enumerate(("Ann", "Unanswerable"))
    ]
    write_jsonl(folder / "instances.jsonl", rows)
    sounds(folder / "audio", ("0.wav", "1.wav"))


def mutox(folder: Path) -> None:
    header = ("id", "lang", "partition", "public_url_segment", "audio_file_transcript", "label")
    rows = [
        ("t1", "eng", "devtest", "https://example.org 0 400", "hello", 0),
        ("t2", "spa", "devtest", "https://example.org 0 400", "hola", 1),
        ("t3", "eng", "train", "https://example.org 0 400", "no", 1),
        ("t4", "xxx", "devtest", "https://example.org 0 400", "no", 1),
    ]
    write_table(folder / "mutox.tsv", rows, header, delimiter="\t")
    sounds(folder / "audio", ("t1.mp3", "t2.mp3"))


def jailbreak(folder: Path) -> None:
    sounds(folder, ("baseline_fable/1.wav", "baseline_fable/2.wav", "textjailbreak_fable/1.wav"))


def parade(folder: Path) -> None:
    def members(kind: str) -> dict[str, object]:
        row = {"path": f"{kind}.wav", "options": ["nurse", "doctor", "unclear"], "label": "unclear", "question": "Who?"}
        return {"1": {"a": row}}

    subsets = {kind: members(kind) for kind in ("occupation", "status")}
    write_json(folder / "audio_result_path_mapping_v2.json", {"onyx": subsets, "nova": subsets})
    sounds(folder, (f"{voice}/{kind}.wav" for voice in ("onyx", "nova") for kind in subsets))


def robust_bench(folder: Path) -> None:
    """Recordings as bytes inside the table."""
    made = sound(folder / "made.wav")
    rows = [{"audio": {"bytes": made.read_bytes(), "path": "1.wav"}, "text": text} for text in ("HELLO", "GOOD BYE")]
    made.unlink()
    for part in ("gnoise.1", "env_noise_esc50.1"):
        write_parquet(folder / f"librispeech_asr-test.clean_pertEval_500_30/{part}-00000-of-00001.parquet", rows)


def covost(folder: Path) -> None:
    header = ("path", "translation", "split")
    rows = [("cv_1.mp3", 'He said "hello', "test"), ("cv_2.mp3", "Not this one", "train")]
    for pair in ("zh-CN_en", "es_en"):
        write_table(folder / f"covost_v2.{pair}.tsv", rows, header, delimiter="\t", quoted=False)
    sounds(folder / "clips", ("cv_1.mp3",))


def fleurs(folder: Path) -> None:
    for code in ("fi_fi", "en_us", "he_il", "zu_za", "bn_in", "th_th"):
        rows = [
            (1660, f"{n}.wav", 'Some "Words, here.', f"some words {n}", "s o m e", 6400, sex)
            for n, sex in enumerate(("FEMALE", "MALE"))
        ]
        write_table(folder / f"data/{code}/test.tsv", rows, delimiter="\t", quoted=False)
        sounds(folder / f"data/{code}/audio/test", ("0.wav", "1.wav"))


def mls(folder: Path) -> None:
    for language in ("dutch", "spanish", "italian", "german", "french", "portuguese", "polish"):
        place = folder / f"mls_{language}" / "test"
        sound(place / "audio/367/1293/367_1293_000000.flac")
        (place / "transcripts.txt").write_text("367_1293_000000\tein paar worte\n", encoding="utf-8")
