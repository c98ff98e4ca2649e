"""Closed sets of sounds, as LTU, GAMA and PAL report them, each read from its official lay-out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from eval.benchmarks.download import Download, Row
from eval.benchmarks.labelling import Asking, Labelled, label_set, labelled_items, plain
from eval.benchmarks.records import Piece, Reader
from eval.benchmarks.wordings import WORDINGS
from eval.kinds.base import LabelSet

SOUND = "Which sound is heard?"
SOUNDS = "Which sounds are heard?"
RULE = "ltu-closed"

Found = tuple[Iterable[str], Iterable[Labelled]]
"""All labels of the set, and the recordings."""


def closed_set_reader(name: str, asking: Asking, find: Callable[[Download, str], Found]) -> Reader:
    """Reads a set once its lay-out is known."""

    def read(source: Download, split: str) -> Iterator[Piece]:
        labels, rows = find(source, split)
        known = label_set(name, labels, WORDINGS.get(name))
        yield known
        yield from labelled_items((_checked(r, known) for r in rows), known, asking)

    return read


def _checked(row: Labelled, known: LabelSet) -> Labelled:
    """Labels as people write them, all of them in the set."""
    labels = tuple(dict.fromkeys(plain(label) for label in row.labels))
    if unknown := [label for label in labels if label not in known.labels]:
        raise Row(row.path, {"label": unknown[0]}).fault("label", f"is not one of the {len(known.labels)} labels")
    return Labelled(row.path, labels, row.group, row.tags, row.id)


def in_order(labels: Iterable[str]) -> list[str]:
    """Each once, sorted: tables list them in no order."""
    return sorted(dict.fromkeys(labels))


def esc50(source: Download, split: str) -> Found:
    """All five folds."""
    rows = list(source.csv_rows("meta/esc50.csv", "ESC-50-master/meta/esc50.csv"))
    found = [
        Labelled(
            source.recording(f"audio/{row.text('filename')}", f"ESC-50-master/audio/{row.text('filename')}"),
            (row.text("category"),),
            group=row.text("src_file", row.text("filename")),
            tags={"fold": row.text("fold")},
        )
        for row in rows
    ]
    return in_order(row.text("category") for row in rows), found


def urbansound(source: Download, split: str) -> Found:
    """All ten folds."""
    rows = list(source.csv_rows("metadata/UrbanSound8K.csv", "UrbanSound8K/metadata/UrbanSound8K.csv"))
    found = []
    for row in rows:
        place = f"audio/fold{row.text('fold')}/{row.text('slice_file_name')}"
        path = source.recording(place, f"UrbanSound8K/{place}")
        tags = {"fold": row.text("fold"), "salience": row.text("salience", "unknown")}
        found.append(Labelled(path, (row.text("class"),), row.text("fsID"), tags))
    return in_order(row.text("class") for row in rows), found


def fsd50k(source: Download, split: str) -> Found:
    """The evaluation part; labels include those above them in the ontology."""
    names = ("FSD50K.ground_truth/vocabulary.csv", "vocabulary.csv")
    labels = [r.text("label") for r in source.csv_rows(*names, columns=("index", "label", "mid"))]
    found = [
        Labelled(
            source.recording(f"FSD50K.eval_audio/{row.text('fname')}.wav", f"eval_audio/{row.text('fname')}.wav"),
            tuple(row.text("labels").split(",")),
        )
        for row in source.csv_rows("FSD50K.ground_truth/eval.csv", "eval.csv")
    ]
    return labels, found


def youtube(source: Download, folders: Iterable[str], video: str, start: float, end: float | None = None) -> str:
    """A piece of a video under one of the names that people's downloaders give it."""
    stems = [video, f"Y{video}", f"{video}_{start:.0f}", f"{video}_{start:06.0f}", f"{video}_{start:.3f}"]
    if end is not None:
        stems += [f"{y}{video}_{start:.3f}_{end:.3f}" for y in ("", "Y")] + [f"{video}_{start:.0f}_{end:.0f}"]
    names = [f"{f}/{s}{e}" for f in folders for s in stems for e in (".wav", ".flac", ".mp3", ".m4a", ".mp4")]
    return source.recording(*names)


def vggsound(source: Download, split: str) -> Found:
    """The test part."""
    columns = ("video", "start", "label", "part")
    rows = list(source.csv_rows("vggsound.csv", "data/vggsound.csv", columns=columns))
    found = [
        Labelled(
            youtube(source, ("audio", "test", "audio/test"), row.text("video"), row.number("start")),
            (row.text("label"),),
            group=row.text("video"),
            id=f"{row.text('video')}_{row.text('start')}",
        )
        for row in rows
        if row.text("part") == "test"
    ]
    return in_order(row.text("label") for row in rows), found


def audioset(source: Download, split: str) -> Found:
    """The evaluation part."""
    names = {r.text("mid"): r.text("display_name") for r in source.csv_rows("class_labels_indices.csv")}
    columns = ("video", "start", "end", "labels")
    found = []
    for row in source.csv_rows("eval_segments.csv", columns=columns, comments=True):
        codes = row.text("labels").split(",")
        if unknown := [c for c in codes if c not in names]:
            raise row.fault("labels", f"has {unknown[0]!r}, which class_labels_indices.csv does not know")
        video, start, end = row.text("video"), row.number("start"), row.number("end")
        path = youtube(source, ("audio", "eval", "eval_segments", "audio/eval"), video, start, end)
        found.append(Labelled(path, tuple(names[c] for c in codes), group=video, id=f"{video}_{start:g}"))
    return names.values(), found


def speech_commands(source: Download, split: str) -> Found:
    """The list of the test part; the folder names the word."""
    place = source.file("testing_list.txt")
    listed = [r.text("path") for r in source.csv_rows(place, columns=("path",), quoted=False)]
    found = [
        Labelled(source.recording(p), (PurePosixPath(p).parts[0],), PurePosixPath(p).name.split("_nohash_")[0])
        for p in listed
    ]
    return in_order(label for row in found for label in row.labels), found


def vocalsound(source: Download, split: str) -> Found:
    """The test part; names tell the sex of the speaker."""
    names = {r.text("mid"): r.text("display_name") for r in source.csv_rows("class_labels_indices_vs.csv")}
    table, place = source.json("datafiles/te.json", "data/datafiles/te.json")
    found = []
    for row in Row(place, table if isinstance(table, dict) else {}).rows("data"):
        file, label = PurePosixPath(row.text("wav")).name, row.text("labels")
        if label not in names:
            raise row.fault("labels", "is not a code of class_labels_indices_vs.csv")
        path = source.recording(f"audio_16k/{file}", f"audio_44k/{file}", f"data/audio_16k/{file}")
        sex = {"f": "female", "m": "male"}.get(file[:1], "unknown")
        found.append(Labelled(path, (names[label],), group=file.split("_")[0], tags={"speaker": sex}))
    return names.values(), found


def tut2017(source: Download, split: str) -> Found:
    """The evaluation set: recordings and their places."""
    folder = "TUT-acoustic-scenes-2017-evaluation/"
    names = [f"{f}{name}" for name in ("meta.txt", "evaluation_setup/evaluate.txt") for f in ("", folder)]
    rows = list(source.csv_rows(*names, columns=("file", "scene"), delimiter="\t", quoted=False))
    found = [
        Labelled(source.recording(row.text("file"), folder + row.text("file")), (row.text("scene"),)) for row in rows
    ]
    return in_order(row.text("scene") for row in rows), found


BEIJING_OPERA = {
    "bangu": "clapper-drum (bangu)",
    "daluo": "large gong (daluo)",
    "naobo": "cymbals (naobo)",
    "xiaoluo": "small gong (xiaoluo)",
}


def beijing_opera(source: Download, split: str) -> Found:
    """The instrument stands in the name of the folder or of the file."""
    found = []
    for path in source.files("", ".wav"):
        named = [label for word, label in BEIJING_OPERA.items() if word in path.lower()]
        found += [Labelled(path, (named[-1],))] * bool(named)
    return BEIJING_OPERA.values(), found


def nsynth_rows(source: Download, kind: str) -> list[tuple[str, str, str]]:
    """Recording, label and instrument of each note; the kind is `family` or `source`."""
    table, place = source.json("examples.json", "nsynth-test/examples.json")
    folder = place.rpartition("examples.json")[0]
    notes = table if isinstance(table, dict) else {}
    return [
        (
            source.recording(f"{folder}audio/{key}.wav"),
            Row(f"{place}, note {key[:80]!r}", notes).row(key).text(f"instrument_{kind}_str"),
            Row(place, notes).row(key).text("instrument_str", key),
        )
        for key in notes
    ]


FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal"
)
SOURCES = ("acoustic", "electronic", "synthetic")


def nsynth(source: Download, split: str) -> Found:
    """The test part, by family or by source."""
    rows = nsynth_rows(source, split)
    return FAMILIES if split == "family" else SOURCES, [Labelled(p, (label,), group) for p, label, group in rows]


GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


def gtzan(source: Download, split: str) -> Found:
    """All, a folder for each genre."""
    folder = source.folder("genres_original", "genres", "Data/genres_original", "gtzan/genres")
    found = [
        Labelled(path, (label,))
        for path in source.files(folder, ".wav", ".au", ".mp3")
        if (label := PurePosixPath(path).parent.name) in GENRES
    ]
    return GENRES, found


CAR_SOUNDS = (
    "Train horn", "Air horn, truck horn", "Car alarm", "Reversing beeps", "Ambulance (siren)", "Police car (siren)",
    "Fire engine, fire truck (siren)", "Civil defense siren", "Screaming", "Bicycle", "Skateboard", "Car",
    "Car passing by", "Bus", "Truck", "Motorcycle", "Train",
)


_PIECE = re.compile(r"Y?([\w-]{11})_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)(?:\.wav)?")


def dcase2017(source: Download, split: str) -> Found:
    """A row for each label of each piece; a piece with two labels has two rows."""
    part = {"test": "testing", "evaluation": "evaluation"}[split]
    stems = [f"groundtruth_{form}_label_{part}_set.csv" for form in ("weak", "strong")]
    names = [f"{folder}{stem}" for stem in stems for folder in ("", "groundtruth_release/")]
    labels: dict[tuple[str, float, float], list[str]] = defaultdict(list)
    for row in source.csv_rows(*names, columns=("file", "start", "end", "label"), delimiter="\t"):
        labels[_piece(row)].append(row.text("label").strip('"'))
    folders = ("audio", f"{part}_set", f"audio/{part}", f"{part}_set_formatted_audio_segments")
    return CAR_SOUNDS, [
        Labelled(
            youtube(source, folders, video, start, end), tuple(dict.fromkeys(found)), video, id=f"{video}_{start:g}"
        )
        for (video, start, end), found in labels.items()
    ]


def _piece(row: Row) -> tuple[str, float, float]:
    """Video and times, from the name `VIDEO_30.000_40.000.wav`; the other columns of the strong list are of events."""
    name = PurePosixPath(row.text("file")).name
    if found := _PIECE.fullmatch(name):
        return found[1], float(found[2]), float(found[3])
    return name.removesuffix(".wav"), row.number("start"), row.number("end")
