"""Downloads of sets of sounds in their official layouts, with a handful of invented rows and tones for recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench_fixtures.sounds import sound, write_json, write_parquet, write_table

VIDEOS = ("--4gqARaEJE", "-0jeONf82dE", "abcdefghijk", "lmnopqrstuv", "0123456789_")
A, B, C, D, E = VIDEOS


def tones(folder: Path, *names: str) -> None:
    for name in names:
        sound(folder / name, seconds=0.02)


def lines(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def _names(folder: Path) -> None:
    header = ("index", "mid", "display_name")
    rows = [(0, "/m/09x0r", "Speech"), (1, "/m/0bt9lr", "Dog"), (2, "/m/07p", "Air horn, truck horn")]
    write_table(folder / "class_labels_indices.csv", rows, header)


def _segments(path: Path, *rows: tuple[str, float, float, str]) -> None:
    before = ("# Segments csv created Sun Mar  5 10:54:25 2017", f"# num_ytids={len(rows)}, num_unique_labels=3")
    texts = [f'{video}, {start:.3f}, {end:.3f}, "{codes}"' for video, start, end, codes in rows]
    lines(path, *before, "# YTID, start_seconds, end_seconds, positive_labels", *texts)


def audioset(folder: Path) -> None:
    _names(folder)
    children = {"/t/animal": ("Animal", ["/t/pet"]), "/t/pet": ("Domestic animals, pets", ["/m/0bt9lr"])}
    write_json(folder / "ontology.json", [
        *({"id": code, "name": name, "description": "", "citation_uri": "", "positive_examples": [],
           "child_ids": below, "restrictions": ["abstract"] if code == "/t/animal" else []}
          for code, (name, below) in children.items()),
        {"id": "/m/0bt9lr", "name": "Dog", "description": "", "child_ids": [], "restrictions": []},
    ])  # fmt: skip
    _segments(folder / "balanced_train_segments.csv", (A, 30, 40, "/m/09x0r,/m/0bt9lr"), (B, 0, 10, "/m/07p"))
    _segments(folder / "unbalanced_train_segments.csv", (C, 20, 30, "/m/0bt9lr"), (E, 20, 30, "/m/09x0r"))
    _segments(folder / "eval_segments.csv", (D, 10, 17.5, "/m/09x0r,/m/unknown"), (C, 50, 60, "/m/09x0r"))
    tones(folder / "audio", f"{A}.wav", f"Y{D}.wav", f"{C}_50000_60000.flac")
    tones(folder / "balanced_train_segments", f"{B}_0.000_10.000.wav")
    tones(folder / "unbalanced_train_segments/part07", f"Y{C}.wav")


def audioset_strong(folder: Path) -> None:
    names = [("/m/09x0r", "Speech"), ("/m/0bt9lr", "Dog"), ("/t/dd00134", "Car passing by")]
    write_table(folder / "mid_to_display_name.tsv", names, delimiter="\t")
    header = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
    train = [
        (f"{A}_30000", 2.627, 7.237, "/m/09x0r"), (f"{A}_30000", 0.0, 1.5, "/m/0bt9lr"),
        (f"{A}_30000", 7.9, 10.0, "/m/09x0r"), (f"{B}_0", 0.0, 10.0, "/t/dd00134"),
    ]  # fmt: skip
    write_table(folder / "audioset_train_strong.tsv", train, header, delimiter="\t")
    evaluated = [(f"{C}_20000", 1.0, 2.0, "/m/0bt9lr"), (f"{C}_20000", 3.0, 2.0, "/m/09x0r")]
    write_table(folder / "audioset_eval_strong.tsv", evaluated, header, delimiter="\t")
    tones(folder / "audio", f"Y{A}.wav", f"{B}_0.wav", f"{C}_20.wav")


def audiosetcaps(folder: Path) -> None:
    header, at = ("id", "caption"), folder / "Dataset"
    rows = [(f"Y{A}", "A dog, twice."), (f"Y{D}", "Speech\nin two lines.")]
    write_table(at / "AudioSetCaps_caption.csv", rows, header)
    write_table(at / "VGGSound_AudioSetCaps_caption.csv", [(f"{B}_000021", 'A "horn" sounds.')], header)
    write_table(at / "YouTube-8M_AudioSetCaps_caption.csv", [(f"{C}_84_10", "Rain."), (f"{D}_0_10", "Wind.")], header)
    _segments(folder / "eval_segments.csv", (D, 10, 20, "/m/09x0r"))
    write_table(folder / "vggsound.csv", [(B, 21, "horn", "test"), (A, 1, "dog", "train")])
    tones(folder / "audio/AudioSet", f"Y{A}.flac", f"Y{D}.wav")
    tones(folder / "audio/VGGSound", f"{B}_000021.wav")
    tones(folder / "audio/YouTube-8M", f"{C}_84_10.mp3", f"{D}_0_10.wav")


def vggsound(folder: Path) -> None:
    rows = [(A, 30, "waterfall burbling", "train"), (B, 0, "people coughing", "test"),
            (C, 21, "horse clip-clop, neighing", "test"), (D, 5, "playing harp", "train")]  # fmt: skip
    write_table(folder / "vggsound.csv", rows)
    tones(folder / "audio", f"{A}_000030.wav", f"{B}.flac", f"{C}_000021.wav")


def fsd50k(folder: Path) -> None:
    truth, meta = folder / "FSD50K.ground_truth", folder / "FSD50K.metadata"
    words = ("Bark", "Dog", "Animal", "Accelerating_and_revving_and_vroom")
    write_table(truth / "vocabulary.csv", [(n, word, f"/m/{n}") for n, word in enumerate(words)])
    header = ("fname", "labels", "mids", "split")
    dev = [("64760", "Bark,Dog,Animal", "/m/0,/m/1,/m/2", "train"), ("16399", "Dog,Animal", "/m/1,/m/2", "val")]
    write_table(truth / "dev.csv", dev, header)
    rows = [("37199", words[3], "/m/3"), ("175151", "Dog,Meow", "/m/1,/m/9")]
    write_table(truth / "eval.csv", rows, header[:3])
    address = "http://creativecommons.org/licenses/by/3.0/"
    told = {"title": "dogs.wav", "description": "Two dogs.", "tags": ["dog", "bark"], "license": address}
    write_json(meta / "dev_clips_info_FSD50K.json", {"64760": told})
    write_json(meta / "eval_clips_info_FSD50K.json", {"37199": told | {"license": address.replace("by", "sampling+")}})
    tones(folder / "FSD50K.dev_audio", "64760.wav", "16399.wav")
    tones(folder / "FSD50K.eval_audio", "37199.wav", "175151.wav")


def esc50(folder: Path) -> None:
    kinds = enumerate(("dog", "chirping_birds", "rain", "crackling_fire", "sea_waves"), start=1)
    rows = [(f"{fold}-{fold}00-A-{fold}.wav", fold, fold, label, "True", f"{fold}00", "A") for fold, label in kinds]
    header = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    write_table(folder / "meta/esc50.csv", rows, header)
    tones(folder / "audio", *(row[0] for row in rows))


def urbansound(folder: Path) -> None:
    kinds = ((1, "dog_bark", 1), (9, "siren", 2), (10, "air_conditioner", 1))
    rows = [(f"{n}00-0-0-{n}.wav", f"{n}00", 1.5, 3.25, s, n, n, label) for n, label, s in kinds]
    header = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    write_table(folder / "UrbanSound8K/metadata/UrbanSound8K.csv", rows, header)
    for row in rows:
        tones(folder / f"UrbanSound8K/audio/fold{row[5]}", str(row[0]))


def audiocaps(folder: Path) -> None:
    header = ("audiocap_id", "youtube_id", "start_time", "caption")
    write_table(folder / "dataset/train.csv", [(91139, A, 130, "A woman talks, then water pours")], header)
    write_table(folder / "dataset/val.csv", [(n, B, 30, f"Caption number {n}") for n in (97151, 97152)], header)
    write_table(folder / "dataset/test.csv", [(n, C, 0, f"Caption number {n}") for n in range(1, 6)], header)
    tones(folder / "audio", f"Y{A}_130.wav", f"{B}.wav")
    tones(folder / "wav_files", "1.wav")


def clotho(folder: Path) -> None:
    header = ("file_name", *(f"caption_{n}" for n in range(1, 6)))
    more = ("file_name", "keywords", "sound_id", "sound_link", "start_end_samples", "manufacturer", "license")
    for number, part in enumerate(("development", "validation", "evaluation")):
        names = (f"rain {number}.wav", f"caf\u00e9 {number}.wav")
        rows = [(name, *(f"Caption {n}, of {number}." for n in range(1, 6))) for name in names]
        write_table(folder / f"clotho_captions_{part}.csv", rows, header, encoding="latin-1")
        link = f"https://freesound.org/people/x/sounds/{number}1"
        meta = [(names[0], "rain;roof", f"{number}1", link, "[0, 100]", "x", "http://creativecommons.org/licenses/by/3.0/"),
                (names[1], "bar", "Not found", "Not found", "", "y", "Attribution")]  # fmt: skip
        write_table(folder / f"clotho_metadata_{part}.csv", meta, more, encoding="latin-1")
        tones(folder / part, names[0], f"cafe\u0301 {number}.wav")


def clotho_aqa(folder: Path) -> None:
    header = ("file_name", "QuestionText", "answer", "confidence")
    for number, part in enumerate(("train", "val", "test")):
        name = f"street {number}.wav"
        rows = [(name, "Is it raining?", answer, "yes") for answer in ("no", "yes", "no")]
        rows += [(name, "What barks?", answer, "maybe") for answer in ("Dog", "fox", "dog")]
        write_table(folder / f"clotho_aqa_{part}.csv", rows, header)
        tones(folder / "audio_files", name)
    more = ("", "file_name", "keywords", "sound_link", "start_end_samples", "manufacturer", "license")
    link = "https://freesound.org/people/x/sounds/7"
    address = "http://creativecommons.org/publicdomain/zero/1.0/"
    write_table(folder / "clotho_aqa_metadata.csv", [(0, "street 0.wav", "car;dog", link, "", "x", address)], more)


def _wavcaps(folder: Path, part: str, name: str, *rows: dict[str, Any]) -> None:
    write_json(folder / f"json_files/{part}/{name}", {"num_captions_per_audio": 1, "data": list(rows)})


def wavcaps(folder: Path) -> None:
    soundbible(folder)
    usual = {"audio": "wav_path", "duration": 10.0}
    _wavcaps(folder, "AudioSet_SL", "as_final.json", {"id": f"Y{A}.wav", "caption": "A man speaks.", **usual},
             {"id": f"Y{B}.wav", "caption": "A dog barks.", **usual})  # fmt: skip
    _wavcaps(folder, "BBC_Sound_Effects", "bbc_final.json", {
        "description": "Rip saw.", "category": "['Machines']", "caption": "A saw.", "id": "07066104", **usual})
    _wavcaps(folder, "FreeSound", "fsd_final.json", {
        "id": "180913", "file_name": "Mello.wav", "href": "/people/x/sounds/180913/", "tags": ["ringtone", "basic"],
        "description": "A ringtone.", "author": "x", "caption": "A ringtone plays.", "download_link": "", **usual})
    barred = {"AudioSet": [f"Y{B}.wav"], "FreeSound": ["7"]}
    write_json(folder / "json_files/blacklist/blacklist_exclude_all_ac.json", barred)
    at = folder / "Zip_files"
    tones(at / "AudioSet_SL/mnt/waveforms/AudioSet_SL_flac", f"Y{A}.flac", f"Y{B}.flac")
    tones(at / "BBC_Sound_Effects", "07066104.flac")
    tones(folder / "audio/FreeSound", "180913.flac")


def soundbible(folder: Path) -> None:
    rows = [{"title": f"Bell {n}", "description": "A bell.", "author": "x", "href": f"{n}-Bell.html", "id": f"{n}",
             "caption": "Someone is ringing a bell.", "duration": 1.5, "audio": "wav_path", "download_link": ""}
            for n in (2218, 2219)]  # fmt: skip
    _wavcaps(folder, "SoundBible", "sb_final.json", *rows)
    tones(folder / "Zip_files/SoundBible", "2218.flac", "2219.flac")


def freesound(folder: Path) -> None:
    header = ("audio_filename", "caption1", "caption2", "freesound_id", "username", "freesound_url", "license")
    address = "http://creativecommons.org/licenses/by-nc/3.0/"
    rows = [("train/1.flac", "Rain on a roof", "The sounds of rain, roof", "11", "x", "", address),
            ("test/1.flac", "A bell\nin a tower", "", "12", "y", "", "Attribution"),
            ("train/3.flac", "", "", "13", "y", "", address)]  # fmt: skip
    write_table(folder / "freesound_no_overlap_meta.csv", rows, header)
    tones(folder / "train", "1.flac", "3.flac")
    tones(folder / "audio", "12.flac")


def freesound_pairs(folder: Path) -> None:
    for split, number in (("train_1", 5), ("test", 6)):
        original = {"title": "Harp", "description": "A harp.", "license": "Attribution", "username": "x", "id": number}
        told = {"text": ["A harp plays."], "tag": ["harp", "music"], "original_data": original}
        write_json(folder / f"{split}/{number}.json", told)
        tones(folder / split, f"{number}.flac")


def tut_scenes(folder: Path) -> None:
    at = folder / "TUT-acoustic-scenes-2017-development"
    rows = [(f"audio/b0{n}_0_10.wav", scene, f"b0{n}") for n, scene in enumerate(("beach", "cafe/restaurant"))]
    write_table(at / "meta.txt", rows, delimiter="\t")
    write_table(at / "evaluation_setup/fold1_evaluate.txt", [rows[1][:2]], delimiter="\t")
    tones(at, *(row[0] for row in rows))
    at = folder / "TUT-acoustic-scenes-2017-evaluation"
    write_table(at / "meta.txt", [("audio/1.wav", "city_center")], delimiter="\t")
    tones(at, "audio/1.wav")
    at = folder / "TAU-urban-acoustic-scenes-2019-development"
    header = ("filename", "scene_label", "identifier", "source_label")
    name = "audio/airport-lisbon-1000-40000-a.wav"
    write_table(at / "meta.csv", [(name, "airport", "lisbon-1000", "a")], header, delimiter="\t")
    tones(at, name)


def tut_events(folder: Path) -> None:
    at = folder / "TUT-sound-events-2017-development"
    place = ("audio/street/a001.wav", "street")
    rows = [(*place, 1.5, 3.25, "people walking", "m", "a01"), (*place, 0.5, 2, "car", "m", "a01")]
    write_table(at / "meta/street/a001.ann", rows, delimiter="\t")
    tones(at / "audio/street", "a001.wav")
    at = folder / "TUT-sound-events-2017-evaluation"
    write_table(at / "meta/street/b093.ann", [(0.25, 1.0, "brakes squeaking")], delimiter="\t")
    tones(at / "audio/street", "b093.wav")


def tut_rare(folder: Path) -> None:
    for split, event in (("devtrain", "babycry"), ("devtest", "gunshot")):
        at = folder / f"data/mixture_data/{split}/20b255387a2d0cddc0a3dff5014875e7"
        names = [f"mixture_{split}_{event}_00{n}_abc.wav" for n in range(2)]
        rows = [(names[0], 10.5, 12, event), (names[1],)]
        write_table(at / f"meta/event_list_{split}_{event}.csv", rows, delimiter="\t")
        tones(at / "audio", *names)


def _seld(folder: Path, rows: Sequence[Sequence[Any]], names: Iterable[str], header: Sequence[str] | None = None,
          forms: Iterable[str] = ("foa",)) -> None:  # fmt: skip
    for name in names:
        write_table(folder / f"metadata_{name}.csv", rows, header)
        for form in forms:
            sound(folder / f"{form}_{name}.wav", channels=2 if form == "stereo" else 4, seconds=0.02)


def seld_2019(folder: Path) -> None:
    header = ("sound_event_recording", "start_time", "end_time", "ele", "azi", "dist")
    rows = [("cough", 0.05, 0.15, -10, -10, 2), ("keysDrop", 0.2, 0.35, 20, 120, 1)]
    _seld(folder, rows, ("dev/split1_ir0_ov1_1", "dev/split4_ir0_ov2_2", "eval/split0_ir0_ov1_3"), header)


STILL = [(n, 3, 0, 30, 0) for n in range(5)]
MOVING = [(n, 8, 1, -90 + 20 * n, 10) for n in range(2, 9)]


def seld_2020(folder: Path) -> None:
    names = [f"dev/fold{n}_room1_mix00{n}_ov1" for n in (1, 2, 3)]
    _seld(folder, [*STILL, *MOVING, (20, 3, 0, 30, 0)], names, forms=("foa", "mic"))


def seld_2021(folder: Path) -> None:
    names = [f"dev/dev-{side}/fold{n}_room1_mix001" for n, side in enumerate(("train", "val", "test"))]
    _seld(folder, [*STILL, *MOVING], names)


def starss22(folder: Path) -> None:
    _seld(folder, [*STILL, *MOVING], ("dev/dev-train-sony/fold3_room21_mix001", "dev/dev-test-tau/fold4_room2_mix001"))


def starss23(folder: Path) -> None:
    rows = [(*row, 150 + row[0]) for row in [*STILL, *MOVING]]
    _seld(folder, rows, ("dev/dev-train-sony/fold3_room21_mix001", "dev/dev-test-tau/fold4_room2_mix001"))


def seld_2025(folder: Path) -> None:
    rows = [(n, 0, 1, 30, 200, 1) for n in range(4)]
    stems = ("train-sony/fold3_room21_mix001_deg000_start00", "test-tau/fold4_room2_mix001_deg090_start05")
    names = [f"dev/dev-{stem}" for stem in stems]
    _seld(folder, rows, names, ("frame", "class", "source", "azimuth", "distance", "onscreen"), ("stereo",))


def birdset(folder: Path) -> None:
    header = ("TAXON_ORDER", "CATEGORY", "SPECIES_CODE", "PRIMARY_COM_NAME", "SCI_NAME")
    birds = [(1, "species", "gcrfin", "Gray-crowned Rosy-Finch", "x"), (2, "species", "whcspa", "Sparrow", "y")]
    write_table(folder / "eBird_taxonomy_v2021.csv", birds, header)
    at, name = folder / "HSN", "HSN_001_20150708_061805"
    usual = {"start_time": None, "end_time": None, "low_freq": None, "high_freq": None, "license": None}
    call = {"ebird_code": "gcrfin", "ebird_code_secondary": ["whcspa"], "length": 31, "lat": 39.5, "long": -105.0,
            "license": "//creativecommons.org/licenses/by-nc-sa/4.0/", "quality": "A", "call_type": "song",
            "recordist": "x", "genus": "leucosticte"}  # fmt: skip
    write_parquet(at / "HSN_metadata_train.parquet", [{**usual, "filepath": "XC1234.ogg", **call}])
    heard = [(0.5, 2.0, "gcrfin"), (1.0, 1.5, "whcspa"), (7.0, 9.0, "gcrfin")]
    rows = [{**usual, "filepath": f"{name}.ogg", "start_time": a, "end_time": b, "ebird_code": c} for a, b, c in heard]
    write_parquet(at / "HSN_metadata_test.parquet", rows)
    cuts = [(f"{name}_000_005.ogg", ["gcrfin", "whcspa"]), (f"{name}_010_015.ogg", [])]
    rows = [{**usual, "filepath": f, "ebird_code": None, "ebird_code_multilabel": codes} for f, codes in cuts]
    write_parquet(at / "HSN_metadata_test_5s.parquet", rows)
    tones(at / "train", "XC1234.ogg")
    tones(at / "test", f"{name}.ogg")
    tones(at / "test5s", *(file for file, _ in cuts))


def vsd(folder: Path) -> None:
    at = folder / "Hollywood-dev/annotations"
    lines(at / "Armageddon_gunshots.txt", "0.000 12.500 (nothing)", "12.500 12.940 gunshot",
          "20.000 24.000 multiple_actions")  # fmt: skip
    lines(at / "Armageddon_explosions.txt", "13.100 15.000 explosion")
    lines(at / "Armageddon_screams.txt", "14.000 14.500 scream_effort", "16.000 17.000 scream")
    lines(at / "Armageddon_violence.txt", "300 600")
    lines(at / "Leon_gunshots.txt", "1.0 1.5 gunshot")
    tones(folder / "audio", "Armageddon.wav", "Leon.flac")


@dataclass(frozen=True)
class SoundSet:
    """A download, and what reading it must bring."""

    source: str
    build: Callable[[Path], None]
    samples: dict[str, int]
    lost: dict[str, int]
    tables: tuple[str, ...]
    """Lists of which every row is counted: by a sample, its events, captions or answers, or as lost."""


def _set(source: str, build: Callable[[Path], None], samples: str, tables: str, **lost: int) -> SoundSet:
    by_split = {s: int(n) for s, n in zip(("train", "dev", "test"), samples.split("/"), strict=True) if int(n)}
    reasons = {reason.replace("_", " "): number for reason, number in lost.items()}
    return SoundSet(source, build, by_split, reasons, tuple(tables.split()))


SETS = {
    one.build.__name__: one
    for one in (
        _set("audioset", audioset, "3/0/1", "*_segments.csv", missing_file=1, unknown_label=1),
        _set("audioset-strong", audioset_strong, "2/0/1", "*_strong.tsv", bad_row=1),
        _set("audiosetcaps", audiosetcaps, "2/0/3", "Dataset/*.csv"),
        _set("vggsound", vggsound, "1/0/2", "vggsound.csv", missing_file=1),
        _set("fsd50k", fsd50k, "1/1/1", "FSD50K.ground_truth/dev.csv FSD50K.ground_truth/eval.csv", unknown_label=1),
        _set("esc50", esc50, "3/1/1", "meta/esc50.csv"),
        _set("urbansound8k", urbansound, "1/1/1", "UrbanSound8K/metadata/*.csv"),
        _set("audiocaps", audiocaps, "1/1/1", "dataset/*.csv"),
        _set("clotho", clotho, "2/2/2", "clotho_captions_*.csv"),
        _set("clotho-aqa", clotho_aqa, "1/1/1", "clotho_aqa_t*.csv clotho_aqa_val.csv"),
        _set("wavcaps", wavcaps, "5/0/0", "json_files/*/*_final.json", on_the_blacklist=1),
        _set("soundbible", soundbible, "2/0/0", "json_files/*/*_final.json"),
        _set("freesound", freesound, "1/0/1", "freesound_no_overlap_meta.csv", no_caption=1),
        _set("freesound", freesound_pairs, "1/0/1", "*/*.json"),
        _set("tut-scenes", tut_scenes, "2/1/1", "*/meta.*"),
        _set("tut-sound-events", tut_events, "1/0/1", "*/meta/street/*.ann"),
        _set("tut-rare", tut_rare, "2/2/0", "data/*/*/*/meta/*.csv"),
        _set("dcase-seld-2019", seld_2019, "1/1/1", "metadata_*/*.csv"),
        _set("dcase-seld-2020", seld_2020, "2/2/2", "metadata_*/*.csv"),
        _set("dcase-seld-2021", seld_2021, "1/1/1", "metadata_*/*/*.csv"),
        _set("starss22", starss22, "1/0/1", "metadata_*/*/*.csv"),
        _set("starss23", starss23, "1/0/1", "metadata_*/*/*.csv"),
        _set("dcase-seld-2025", seld_2025, "1/0/1", "metadata_*/*/*.csv"),
        _set("birdset", birdset, "1/0/3", "HSN/*.parquet"),
        _set("mediaeval-vsd", vsd, "2/0/0", "*/annotations/*.txt"),
    )
}
