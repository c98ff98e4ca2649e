"""MMAU, MMAU-Pro, MMAR, AIR-Bench, BLAB, Clotho-AQA, CompA, Dynamic-SUPERB, TeleAntiFraud: invented rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bench_fixtures.sounds import sound, sounds, write_json, write_jsonl, write_parquet, write_table


def mmau(folder: Path) -> None:
    """Four items and one whose key is none of the choices."""
    rows = [
        ("u1", "Which animal is heard last?", ["Dog", "Owl", "Frog", "Cow"], "Owl", "sound", "Reasoning"),
        ("u2", "How fast is the music?", ["Slow", "Fast"], "Fast", "music", "['Reasoning']"),
        ("u3", "Who speaks?", ["A man", "A man", "A child"], "A child", "speech", "Information Extraction"),
        ("u4", "What follows <audio> here?", ["One", "Two", "Three", "Four", "Five"], "five", "sound", "Reasoning"),
        ("u5", "Which bell?", ["Big", "Small"], "Wooden", "sound", "Reasoning"),
    ]
    write_json(
        folder / "mmau-test-mini.json",
        [
            {
                "id": name, "audio_id": f"./test-mini-audios/{name}.wav", "question": question, "choices": choices,
                "answer": answer, "dataset": "invented", "task": task, "split": "test-mini", "category": category,
                "sub-category": "Temporal Event Reasoning", "difficulty": "easy",
            }
            for name, question, choices, answer, task, category in rows
        ],
    )
    sounds(folder / "test-mini-audios", (f"{r[0]}.wav" for r in rows))


def _pro(name: str, files: list[str], category: str, **more: Any) -> dict[str, Any]:
    usual = {
        "id": name, "audio_path": files, "category": category, "question": f"What about {name}?", "choices": None,
        "answer": None, "task_identifier": None, "kwargs": None, "length_type": "short",
    }
    return {**usual, **more}


def mmau_pro(folder: Path) -> None:
    """Two closed, one open, two instructions; one with a single choice, one open without an answer."""
    rows = [
        _pro("p1", ["data/a.wav", "data/b.wav"], "multi", choices=["first", "second"], answer="second"),
        _pro("p2", ["data/a.wav"], "sound", choices=["rain", "wind", "fire"], answer="wind"),
        _pro("p3", ["data/b.wav"], "open", answer="A kettle boils."),
        _pro("p4", ["data/a.wav"], "instruction following", answer="", task_identifier="Number Words (at most)",
             kwargs={"N": 5, "keyword": None}),
        _pro("p5", ["data/b.wav"], "instruction following", answer="quiet", task_identifier="No Commas"),
        _pro("p6", ["data/a.wav"], "speech", choices=["only"], answer="only"),
        _pro("p7", ["data/a.wav"], "open", answer=""),
    ]
    write_parquet(folder / "test.parquet", rows)
    sounds(folder / "data", ("a.wav", "b.wav"))


def mmar(folder: Path) -> None:
    rubric = [{"name": f"C{n}", "scoring_point": f"says point {n}", "note": "", "choices": [0, 1]} for n in range(1, 6)]
    rows = [
        {
            "id": f"m{n}", "audio_path": f"./audio/m{n}.wav", "question": "How many times is the door struck?",
            "choices": ["2", "3", "4"], "answer": str(n + 1), "modality": modality, "category": "Perception Layer",
            "sub-category": "Counting and Statistics", "language": "en", "source": "invented", "url": "",
            "timestamp": "00:01,00:21", "thinking": "", "cue": ["knocks"], "rubric": rubric,
        }
        for n, modality in enumerate(("sound", "music", "mix-sound-speech"), start=1)
    ]
    write_jsonl(folder / "MMAR-meta.jsonl", rows)
    sounds(folder / "audio", (f"m{n}.wav" for n in range(1, 4)))


AIR_FOUNDATION = (
    ("Speech_Emotion_Recognition", "toy", "x.wav", "x.wav", ("happy", "sad"), "sad"),
    ("Audio_Grounding", "toy", "y.wav", "y.flac", ("[0,1]", "[1,2]", "[2,3]", "[3,4]"), "[2,3]"),
    ("Music_Genre_Recognition", "toy", "z.wav", "z.wav", ("jazz", "rock", "folk", "pop"), "folk"),
    ("Music_AQA", "toy", "q.wav", "q.wav", ("yes", "no"), "yes"),
)


def air_foundation(folder: Path) -> None:
    rows = []
    for number, (task, dataset, path, file, choices, answer) in enumerate(AIR_FOUNDATION):
        options = {f"choice_{c}": text for c, text in zip("abcd", choices, strict=False)}
        about = {"path": path, "task_name": task, "dataset_name": dataset, "uniq_id": number}
        rows.append({**about, "question": "Which is it?", **options, "answer_gt": answer})
        sound(folder / f"{task}_{dataset}" / file)
    write_json(folder / "Foundation_meta.json", rows)


def air_chat(folder: Path) -> None:
    tasks = ("speech_QA", "sound_QA", "music_generation_analysis_QA", "speech_and_sound_QA")
    rows = []
    for number, task in enumerate(tasks):
        rows.append({
            "meta_info": "A tone, then noise.", "question": "What happens?", "answer_gt": "A tone stops.",
            "path": f"{number}.wav", "task_name": task, "dataset_name": "toy", "uniq_id": number,
        })
        sound(folder / f"{task}_toy" / f"{number}.wav")
    write_json(folder / "Chat_meta.json", rows)


WORDS = [{"word": "hello", "start": 0.1, "end": 0.2}, {"word": "there", "start": 0.2, "end": 0.35}]
BLAB: dict[str, list[dict[str, Any]]] = {
    "word_localization": [{"groundtruth": WORDS}, {"groundtruth": WORDS[:1]}],
    "named_entity_localization": [
        {"groundtruth": {"entities": [{"entity": "Rome", "start": 0.1, "end": 0.2}], "word_timestamp": WORDS}},
        {"groundtruth": {"entities": [], "word_timestamp": WORDS}},
    ],
    "advertisement_localization": [
        {"groundtruth": {"ads_segment": [{"text": "Buy now", "start": 0.0, "end": 0.3}], "word_timestamp": WORDS}}
    ],
    "speaker_number_estimation": [{"groundtruth": 3}, {"groundtruth": "[4, 6]"}, {"groundtruth": "2"}],
    "event_duration": [
        {"groundtruth": "95.", "answer_type": "seconds"}, {"groundtruth": "12:34", "answer_type": "seconds"},
        {"groundtruth": "2", "answer_type": "minutes"},
    ],
    "entire_duration": [{"groundtruth": 3054}],
    "emotion_ranking": [
        {"options": ["(A) joy, fear", "(B) fear, joy"], "correct_option": "B"},
        {"options": {"A": "calm, angry", "B": "angry, calm"}, "correct_option": "(A)"},
    ],
    "emotion_reasoning": [{"options": ["A. glad", "B. sad", "C. cross"], "correct_option": "C"}],
}


def blab(task: str, folder: Path) -> None:
    rows = [
        {"video_url": "", "audio": f"long/{n}.wav", "question": f"Tell {n}.", "answer_type": "x", **r}
        for n, r in enumerate(BLAB[task])
    ]
    write_json(folder / f"{task}.json", rows)
    sounds(folder / "audio", (f"{n}.wav" for n in range(len(rows))))


_AQA = (
    ("rain.wav", "Is it raining?", ("yes", "yes", "yes")),
    ("rain.wav", "Is it loud?", ("yes", "no", "no")),
    ("café.wav", "What is heard?", ("cups", "cups", "cups")),
    ("café.wav", "Who speaks?", ("people", "women", "people")),
)


def clotho_aqa(folder: Path) -> None:
    rows = [(file, question, answer, "yes") for file, question, given in _AQA for answer in given]
    header = ("file_name", "QuestionText", "answer", "confidence")
    write_table(folder / "clotho_aqa_test.csv", rows, header, encoding="latin-1")
    sounds(folder / "audio_files", ("rain.wav", "café.wav"))


def clotho_aqa_qwen(folder: Path) -> None:
    rows = [
        {"audio": f"clotho_aqa/{file}", "gt": given[0], "source": "clothoaqa", "question": f"{question} <|a|>"}
        for file, question, given in _AQA
    ]
    write_jsonl(folder / "clothoaqa_eval.jsonl", rows)
    sounds(folder / "audio_files", ("rain.wav", "café.wav"))


def compa(part: str, folder: Path) -> None:
    """Two pairs, and one whose captions are the same."""
    captions = (("A dog, then a cat.", "A cat, then a dog."), ("Wind, rain.", "Rain, wind."), ("One.", "One."))
    rows = [(f"{n}a.wav", f"{n}b.wav", *pair) for n, pair in enumerate(captions)]
    header = ("pair_file", "reversed_pair_file", "pair_caption", "reversed_pair_caption")
    write_table(folder / f"compa_{part}.csv", rows, header)
    sounds(folder / f"CompA_{part}_files", (f for r in rows for f in r[:2]))


def compa_r(folder: Path) -> None:
    rows = [
        {
            "audio_id": f"somewhere/{n}.wav", "caption": "A busy street.", "timestamp_events": "(horn, 0.1-0.2)",
            "instruction_output": [{"instruction": f"Why {k}?", "output": "Because of the horn."} for k in range(n)],
        }
        for n in (1, 2)
    ]
    write_json(folder / "GAMA_Benchmark_new.json", rows)
    sounds(folder / "audio", ("1.wav", "2.wav"))


def dynamic_superb(folder: Path) -> None:
    """Seven of the tasks: classes of three domains, two recordings, a number, a transcript, no recording."""
    base = folder / "DynamicSUPERB_TextGeneration_Tasks"
    tasks: dict[str, dict[str, str | float]] = {
        "SpeechDetection_LJSpeech": {"label": "yes"},
        "EnvironmentalSoundClassification_ESC50-Animals": {"label": "dog"},
        "ChordClassification_AcousticGuitarAndPiano": {"label": "minor"},
        "SpeakerVerification_VCTK": {"label": "no"},
        "PhoneSegmentCounting_VoxAngeles": {"label": 4},
        "SuperbASR_LibriSpeech-TestClean": {"label": "hello there"},
        "NBestCorrection_Librispeech-TestOther": {"label": "the first"},
    }
    for task, row in tasks.items():
        names = [f"{task}_{n}.wav" for n in "ab"]
        write_json(base / task / "metadata.json", {n: {"instruction": "Say what it is.", **row} for n in names})
        if not task.startswith("NBest"):
            sounds(base / task, names)
    sounds(base / "SpeakerVerification_VCTK", (f"SpeakerVerification_VCTK_{n}_pair2.wav" for n in "ab"))


def teleantifraud(folder: Path) -> None:
    asks = {
        "scene": ("场景 scene", '{"scene": "咨询客服", "reason": "", "confidence": 0.9}'),
        "is_fraud": ("是否 is_fraud", '{"reason": "", "confidence": 0.9, "is_fraud": true}'),
        "fraud_type": ("类型 fraud_type", "客服诈骗"),
    }
    rows = [
        {
            "prompt": [{"role": "user", "content": [
                {"type": "audio", "audio_url": "audio/call1.wav"}, {"type": "text", "text": text},
            ]}],
            "response": f"<answer>{answer}</answer>", "reasoning": "先听再想。", "answer": answer,
        }
        for text, answer in asks.values()
    ]
    write_json(folder / "test.json", rows)
    sound(folder / "audio" / "call1.wav")
