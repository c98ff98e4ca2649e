"""The closed sets, captions and SELD in their official lay-outs, with a handful of recordings each."""

from __future__ import annotations

from pathlib import Path

from tests.bench_fixtures.sounds import sound, sounds, write_json, write_table


def esc50(folder: Path) -> None:
    rows = [(f"{fold}-{n}-A-{n}.wav", fold, n, label, "True", n, "A") for fold, n, label in (
        (1, 0, "dog"), (2, 14, "chirping_birds"), (3, 10, "rain"))]
    header = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    write_table(folder / "meta/esc50.csv", rows, header)
    sounds(folder / "audio", (r[0] for r in rows))


def urbansound8k(folder: Path) -> None:
    rows = [(f"{n}-0-0-{n}.wav", n, 0.0, 0.4, 1, n, n, label) for n, label in ((1, "dog_bark"), (2, "siren"))]
    header = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    write_table(folder / "metadata/UrbanSound8K.csv", rows, header)
    for row in rows:
        sound(folder / f"audio/fold{row[5]}/{row[0]}")


def fsd50k(folder: Path) -> None:
    labels = ("Bark", "Dog", "Animal", "Accelerating_and_revving_and_vroom")
    truth = folder / "FSD50K.ground_truth"
    write_table(truth / "vocabulary.csv", [(n, label, f"/m/{n}") for n, label in enumerate(labels)])
    rows = [("37199", "Bark,Dog,Animal", "/m/0,/m/1,/m/2"), ("175151", labels[3], "/m/3")]
    write_table(truth / "eval.csv", rows, ("fname", "labels", "mids"))
    sounds(folder / "FSD50K.eval_audio", (f"{r[0]}.wav" for r in rows))


def vggsound(folder: Path) -> None:
    rows = [
        ("--0PQM4-hqg", 30, "waterfall burbling", "train"),
        ("--U7joUcTCo", 0, "people coughing", "test"),
        ("-0jeONf82dE", 21, "horse clip-clop, neighing", "test"),
    ]
    write_table(folder / "vggsound.csv", rows)
    sounds(folder / "audio", ("--U7joUcTCo_000000.wav", "-0jeONf82dE_000021.wav"))


def audioset(folder: Path) -> None:
    names = [(0, "/m/09x0r", "Speech"), (1, "/m/0t", "Dog"), (2, "/m/07", "Air horn, truck horn")]
    write_table(folder / "class_labels_indices.csv", names, ("index", "mid", "display_name"))
    lines = [
        '--4gqARaEJE, 0.000, 10.000, "/m/09x0r,/m/0t"',
        '--BfvyPmVMo, 20.000, 30.000, "/m/07"',
    ]
    before = "# Segments csv\n# num_ytids=2\n# YTID, start_seconds, end_seconds, positive_labels\n"
    (folder / "eval_segments.csv").write_text(before + "\n".join(lines) + "\n")
    sounds(folder / "audio", ("--4gqARaEJE.wav", "Y--BfvyPmVMo.wav"))


def speech_commands(folder: Path) -> None:
    names = ("yes/0a_nohash_0.wav", "yes/0a_nohash_1.wav", "no/1b_nohash_0.wav")
    (folder / "testing_list.txt").write_text("\n".join(names) + "\n")
    sounds(folder, names)


_VOCAL = ("Laughter", "Sigh", "Cough", "Throat clearing", "Sneeze", "Sniff")


def vocalsound(folder: Path) -> None:
    codes = [(n, f"/m/{n}", label) for n, label in enumerate(_VOCAL)]
    write_table(folder / "class_labels_indices_vs.csv", codes, ("index", "mid", "display_name"))
    files = {"f0003_0_cough.wav": "/m/2", "m0084_0_throatclearing.wav": "/m/3"}
    data = [{"wav": f"somewhere/audio_16k/{file}", "labels": code} for file, code in files.items()]
    write_json(folder / "datafiles/te.json", {"data": data})
    sounds(folder / "audio_16k", files)


def tut2017(folder: Path) -> None:
    rows = [("audio/1.wav", "beach"), ("audio/2.wav", "cafe/restaurant"), ("audio/3.wav", "city_center")]
    write_table(folder / "meta.txt", rows, delimiter="\t")
    sounds(folder, (r[0] for r in rows))


def beijing_opera(folder: Path) -> None:
    sounds(folder, ("Bangu/1__bangu.wav", "Daluo/2__daluo.wav", "Naobo/3__naobo.wav", "Xiaoluo/4__xiaoluo.wav"))


def nsynth(folder: Path) -> None:
    notes = {
        "bass_synthetic_068-049-025": ("bass", "synthetic"), "guitar_acoustic_010-060-075": ("guitar", "acoustic"),
        "synth_lead_synthetic_001-060-075": ("synth_lead", "synthetic"),
    }
    write_json(folder / "examples.json", {
        key: {"instrument_family_str": family, "instrument_source_str": made, "instrument_str": key[:-8], "pitch": 60}
        for key, (family, made) in notes.items()
    })
    sounds(folder / "audio", (f"{key}.wav" for key in notes))


def gtzan(folder: Path) -> None:
    sounds(folder / "genres", ("blues/blues.00000.au", "jazz/jazz.00054.wav", "hiphop/hiphop.00001.wav"))


def dcase2017(folder: Path) -> None:
    rows = [
        ("-5QrBL6MzLg_60.000_70.000.wav", "60.000", "70.000", "Train horn"),
        ("-5QrBL6MzLg_60.000_70.000.wav", "60.000", "70.000", "Train"),
        ("-E0shPRxAbo_30.000_40.000.wav", "30.000", "40.000", "Air horn, truck horn"),
    ]
    for part in ("testing", "evaluation"):
        write_table(folder / f"groundtruth_weak_label_{part}_set.csv", rows, delimiter="\t")
    sounds(folder / "audio", ("Y-5QrBL6MzLg_60.000_70.000.wav", "-E0shPRxAbo_30.000_40.000.wav"))


def audiocaps(folder: Path) -> None:
    """Two clips of five captions; the second recording is named by its number."""
    rows = []
    for first, (video, start) in ((100, ("abcdefghijk", 30)), (200, ("lmnopqrstuv", 0))):
        rows += [(first + n, video, start, f"A sound number {n} of {video}") for n in range(5)]
    write_table(folder / "test.csv", rows, ("audiocap_id", "youtube_id", "start_time", "caption"))
    sounds(folder / "audio", ("abcdefghijk_30.wav",))
    sounds(folder / "wav_files", ("200.wav",))


def clotho(folder: Path) -> None:
    names = ("rain on a roof.wav", "steps.wav")
    header = ("file_name", *(f"caption_{n}" for n in range(1, 6)))
    rows = [(name, *(f"Caption {n} of {name}, as heard." for n in range(1, 6))) for name in names]
    write_table(folder / "clotho_captions_evaluation.csv", rows, header)
    sounds(folder / "evaluation", names)


def seld(folder: Path) -> None:
    header = ("sound_event_recording", "start_time", "end_time", "ele", "azi", "dist")
    rows = [("cough", 0.05, 0.15, -10, -10, 2), ("keysDrop", 0.2, 0.35, 20, 120, 1)]
    for part in ("eval", "dev"):
        for stem in ("split0_ir0_ov1_1", "split0_ir0_ov2_2"):
            write_table(folder / f"metadata_{part}" / f"{stem}.csv", rows, header)
            sound(folder / f"foa_{part}" / f"{stem}.wav", channels=4)
