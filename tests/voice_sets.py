"""Downloads of music and speech that tests read: how each is built, what it holds, which files are its lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import music_sets as music
from tests import speech_sets as speech


@dataclass(frozen=True)
class Built:
    """One download."""

    source: str
    build: Callable[[Path], None]
    samples: Mapping[str, int]
    """By split."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of samples by id: values by dotted name in their JSON."""
    lists: tuple[str, ...] = ()
    """Files of which each line or entry is one sample or one loss, whatever is wrong in it."""
    others: tuple[str, ...] = ()
    """Further files that are read."""


_NSYNTH = tuple(f"nsynth-{part}/examples.json" for part in ("train", "valid", "test"))
_CV = "cv-corpus-17.0-2024-03-15/nl/"
_SES = "IEMOCAP_full_release/Session5/dialog/"

SETS: dict[str, Built] = {
    "nsynth": Built("nsynth", music.nsynth, {"train": 2, "dev": 1, "test": 2}, {}, {
        "synth_lead_synthetic_001-060-075": {
            "labels": ["synth lead"], "music.pitch_midi": 60, "music.velocity": 75, "seconds": 4.0,
            "group": "synth_lead_synthetic_001", "split": "train", "complete": True,
        },
        "guitar_acoustic_010-060-075": {"extras.qualities": ["fast decay", "nonlinear env"], "split": "dev"},
    }, _NSYNTH),
    "gtzan": Built("gtzan", music.gtzan, {"test": 3}, {}, {"hiphop.00001": {"music.genre": ["hip hop"]}}),
    "gtzan-filtered": Built("gtzan", music.gtzan_filtered, {"train": 2, "dev": 1}, {"missing file": 1}, {
        "blues.00000": {"labels": ["blues"], "split": "train"},
    }, ("train_filtered.txt", "valid_filtered.txt", "test_filtered.txt")),
    "fma": Built("fma", music.fma, {"train": 1, "dev": 1, "test": 1}, {"not in this subset": 1}, {
        "000002": {"labels": ["Hip-Hop"], "licence": "CC BY-NC-SA 3.0", "group": "artist 1", "language": "en"},
        "000005": {"music.genre": ["Hip-Hop", "Pop"], "split": "dev", "music.title": "A long\nTitle, really"},
        "000140": {"licence": "per recording", "split": "test"},
    }, ("fma_metadata/tracks.csv",), ("fma_metadata/genres.csv",)),
    "musiccaps": Built("musiccaps", music.musiccaps, {"train": 2, "test": 1}, {}, {
        "-0Gj8-vB1q4_30": {
            "captions": ["A woman sings, softly."], "labels": ["Lullaby"], "seconds": 10.0, "split": "test",
            "extras.aspects": ["low quality", "a woman's voice"],
        },
    }, ("musiccaps-public.csv",), ("class_labels_indices.csv",)),
    "musicqa": Built("musicqa", music.musicqa, {"train": 2, "test": 1}, {}, {
        "Finetune/000001.wav#0": {"captions": ["A calm piece for flute."], "questions.1.answer": "A flute."},
    }, ("FinetuneMusicQA.json", "EvalMusicQA.json")),
    "magnatagatune": Built("magnatagatune", music.magnatagatune, {"train": 1, "dev": 1, "test": 1}, {"no label": 1}, {
        "2": {"labels": ["no voice", "slow beat"], "group": "An Artist", "music.title": "A Song", "split": "test"},
        "6": {"split": "train", "group": "another-album-01-a_song"},
    }, ("annotations_final.csv",), ("clip_info_final.csv",)),
    "medleydb": Built("medleydb", music.medleydb, {"train": 3}, {"no label": 1}, {
        "Ann_Song": {
            "music.instruments": ["female singer", "acoustic guitar", "tambourine"], "events.0.offset": 2.25,
            "events.1.label": "acoustic guitar", "group": "Ann Artist", "complete": None,
        },
        "Ann_Song_STEM_02": {"labels": ["acoustic guitar", "tambourine"], "complete": True},
    }, (), ("Audio/Ann_Song/Ann_Song_METADATA.yaml",
            "Annotations/Instrument_Activations/SOURCEID/Ann_Song_SOURCEID.lab")),
    "playlists": Built(
        "playlists", music.playlists, {"train": 8},
        {"remote recording": 1, "unsafe path": 2, "bad row": 3, "missing file": 1}, {
            "lists/all.m3u, line 3": {"music.title": "One Song", "music.artist": "Ann Artist", "seconds": 123.0},
            "music/a side.cue, line 3": {"chapters.1.onset": 181.2, "chapters.1.title": "Second"},
            "music/a side.cue, line 4": {"start": 0.0, "seconds": 181.2},
            "music/a side.cue, line 7": {"start": 181.2, "seconds": None, "music.artist": "Bert"},
            "some.xspf, track 1": {"music.title": "A & B", "seconds": 61.5, "extras.album": "Sides"},
        }, (), ("lists/all.m3u", "some.pls", "some.xspf", "music/a side.cue")),
    "librispeech": Built("librispeech", speech.librispeech, {"train": 2, "dev": 2, "test": 2}, {}, {
        "14-208-0001": {"transcript": "HE'S GONE", "voice.sex": "female", "voice.speaker": "14", "language": "en"},
        "1089-208-0000": {"voice.sex": "male", "split": "test", "group": "speaker 1089"},
    }, ("LibriSpeech/dev-other/116/208/116-208.trans.txt",), ("LibriSpeech/SPEAKERS.TXT",)),
    "libritts": Built("libritts", speech.libritts, {"dev": 2}, {"missing file": 1}, {
        "14_208_000001_000000": {
            "transcript": "He hoped for stew, Mister Bell.", "extras.original": "He hoped for stew, Mr. Bell.",
            "voice.sex": "female",
        },
    }, (), ("LibriTTS/SPEAKERS.txt", "LibriTTS/dev-clean/14/208/14_208_000001_000000.normalized.txt",
            "LibriTTS/dev-clean/14/208/14_208_000001_000000.original.txt")),
    "common-voice": Built("common-voice", speech.common_voice, {"train": 2, "dev": 1, "test": 1}, {"missing file": 1}, {
        "nl/common_voice_nl_1": {
            "transcript": '"Dag', "voice.age": 45, "voice.age_group": "forties", "voice.sex": "male", "seconds": 1.0,
            "voice.accent": "Vlaams", "language": "nl", "group": "aa1",
        },
        "nl/common_voice_nl_4": {"voice.sex": "other", "seconds": None},
    }, tuple(f"{_CV}{part}.tsv" for part in ("train", "dev", "test")), (f"{_CV}clip_durations.tsv",)),
    "voxceleb1": Built("voxceleb1", speech.voxceleb1, {"train": 2, "test": 1}, {"unknown speaker": 1}, {
        "id10001/1zcIwhmdeo4/00001": {"voice.sex": "male", "voice.age": 41.0, "extras.nationality": "Ireland"},
    }, (), ("vox1_meta.csv", "final_dataframe_extended.csv")),
    "voxceleb2": Built("voxceleb2", speech.voxceleb2, {"train": 1, "test": 1}, {}, {
        "id00017/01dfn2spqyE/00001": {"voice.sex": "female", "split": "test", "group": "id00017"},
    }, (), ("vox2_meta.csv",)),
    "iemocap": Built("iemocap", speech.iemocap, {"train": 2, "test": 2}, {}, {
        "Ses01F_impro01_F000": {
            "voice.emotion": "neutral", "voice.sex": "female", "transcript": "Excuse me.", "seconds": 1.9456,
            "voice.emotion_scores.activation": 2.5, "group": "Ses01", "split": "train",
        },
        "Ses05M_script01_1_M001": {"voice.emotion": None, "split": "test", "extras.improvised": False},
    }, (), (f"{_SES}EmoEvaluation/Ses05M_script01_1.txt", f"{_SES}transcriptions/Ses05M_script01_1.txt")),
    "meld": Built("meld", speech.meld, {"train": 2, "dev": 1, "test": 1}, {}, {
        "train/dia3_utt0": {"transcript": "It’s gone, no?", "voice.emotion": "joy", "extras.sentiment": "positive"},
        "dev/dia3_utt0": {"transcript": 'Hm, "maybe".', "voice.speaker": "Ann"},
    }, ("train_sent_emo.csv", "dev_sent_emo.csv", "test_sent_emo.csv")),
    "mosei": Built("mosei", speech.mosei, {"train": 2, "test": 1}, {"in no fold": 1}, {
        "-3g5yACwYnA_0": {
            "start": 0.5, "seconds": 1.75, "transcript": "words of segment 0", "voice.emotion": "happy",
            "voice.emotion_scores.sentiment": 1.0,
        },
        "-3g5yACwYnA_1": {"voice.emotion": None, "voice.emotion_scores.sentiment": -2.0},
    }, (), ("CMU_MOSEI_Labels.csd", "cmu_mosei_std_folds.py",
            "Raw/Transcript/Segmented/Combined/210238.txt")),
    "mosei-csv": Built("mosei", speech.mosei_csv, {"train": 1, "dev": 1, "test": 1}, {"in no fold": 1}, {
        "-3g5yACwYnA_0": {"start": 0.0, "seconds": 2.25, "extras.sentiment_of_three": 1},
    }, ("CMU_MOSEI_Labels.csv",)),
    "speech-commands": Built(
        "speech-commands", speech.speech_commands, {"train": 2, "dev": 1, "test": 1},
        {"missing file": 1, "not a word": 1},
        {"no/2c_nohash_0.wav": {"labels": ["no"], "transcript": "no", "split": "test", "group": "2c"}},
        (), ("validation_list.txt", "testing_list.txt")),
    "slue-voxpopuli": Built("slue-voxpopuli", speech.slue_voxpopuli, {"train": 1, "dev": 1, "test": 1}, {}, {
        "2014_en_fine-tune": {"extras.entities": [{"tag": "place", "text": "france"}], "voice.speaker": "7"},
        "2014_en_dev": {"transcript": 'a "law', "group": "2014_en_dev"},
    }, tuple(f"slue-voxpopuli_{part}.tsv" for part in ("fine-tune", "dev", "test"))),
    "slue-voxceleb": Built("slue-voxceleb", speech.slue_voxceleb, {"train": 1, "test": 1}, {}, {
        "id1_a_1": {"start": 0.1, "seconds": 0.2, "extras.sentiment": "positive", "transcript": "i love it"},
        "id3_c_3": {"start": None, "seconds": 0.4, "extras": None},
    }, ("slue-voxceleb/slue-voxceleb_fine-tune.tsv", "slue-voxceleb/slue-voxceleb_test.tsv")),
    "slue-hvb": Built("slue-hvb", speech.slue_hvb, {"dev": 2}, {}, {
        "call1_100_300": {"extras.dialogue_acts": ["answer agree", "acknowledge"], "group": "call call1"},
    }, ("slue-hvb_dev.tsv",)),
    "slue-sqa5": Built("slue-sqa5", speech.slue_sqa, {"train": 2, "test": 2}, {}, {
        "fine-tune/q1": {
            "questions.0.question": 'How many "stars', "questions.0.answer": "four", "events.0.onset": 0.1,
            "group": "document d1", "transcript": "four",
        },
        "verified-test/q2": {"questions": None, "extras.question": "who"},
    }, ("slue-sqa5_fine-tune.tsv", "slue-sqa5_verified-test.tsv")),
    "slue-vp-nel": Built("slue-vp-nel", speech.slue_vp_nel, {"dev": 2}, {}, {
        "n1": {"events.0.text": "france", "events.0.offset": 0.4, "extras.entities.0.tag": "place"},
    }, ("slue-vp_nel_dev.tsv",)),
    "slue-ted": Built("slue-ted", speech.slue_ted, {"train": 1}, {}, {
        "t1": {"extras.title": "On bells", "extras.summary": "Bells ring.", "transcript": "well then"},
    }, ("slue-ted_train/slue-ted_train.tsv",)),
    "teleantifraud": Built("teleantifraud", speech.teleantifraud, {"train": 3}, {"unsafe path": 1}, {
        "sft-train/1": {
            "questions.0.task": "scene", "questions.1.task": "fraud", "extras.scene": "订餐服务",
            "extras.is_fraud": False, "extras.thinking": ["在订餐", "无异常"], "questions.0.question": "请给出 scene",
        },
        "sft-train/2": {"extras.fraud_type": "投资诈骗", "questions.0.task": "fraud type"},
        "binary-train/1": {"extras.is_fraud": True, "questions": None},
    }, ("sft/train.jsonl", "sft/test.jsonl", "binary_classification/train.json")),
    "daic-woz": Built("daic-woz", speech.daic_woz, {"train": 2, "test": 1}, {}, {
        "303": {"transcript": "good so so", "events.0.speaker": "Ellie", "voice.sex": "female", "extras.phq8_score": 0},
        "300": {"voice.sex": "male", "split": "test", "extras": None},
    }, ("train_split_Depression_AVEC2017.csv", "test_split_Depression_AVEC2017.csv"), ("303_P/303_TRANSCRIPT.csv",)),
    "e-daic": Built("e-daic", speech.e_daic, {"train": 1, "dev": 1, "test": 1}, {}, {
        "302": {"transcript": "so I'm going, well okay", "extras.ptsd_severity": 28.0, "voice.sex": "male"},
    }, tuple(f"labels/{part}_split.csv" for part in ("train", "dev", "test")), ("data/302_P/302_Transcript.csv",)),
    "podcasts": Built("podcasts", speech.podcasts, {"train": 1, "test": 1}, {}, {
        "e1": {
            "chapters.1.title": "Bells", "chapters.1.onset": 10.0, "chapters.1.summary": "How they ring",
            "transcript": "Hello. Now bells. Goodbye.", "group": "Sounds", "licence": "CC BY 4.0",
        },
        "e2": {"licence": "not stated", "split": "test", "chapters.0.title": "All of it"},
    }, ("episodes.jsonl",)),
    "podcast-files": Built("podcasts", speech.podcast_files, {"train": 1}, {}, {
        "show/e1": {"chapters.1.onset": 61.5, "chapters.1.title": "Bells", "extras.title": "Bells"},
    }, (), ("show/e1.chapters.json",)),
}  # fmt: skip


def value(row: Any, name: str) -> Any:
    """A value inside JSON by its dotted name; None where there is none."""
    for part in name.split("."):
        if isinstance(row, list):
            row = row[int(part)] if int(part) < len(row) else None
        else:
            row = (row or {}).get(part)
    return row
