"""The closed sets: where they are from, how many recordings, by which licence; and instruments by prompts that
two-tower models are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from eval.benchmarks import closed_sets as sets
from eval.benchmarks.closed_sets import Found
from eval.benchmarks.download import Download
from eval.benchmarks.labelling import MODES, Asking, Labelled, label_set, labelled_items, plain
from eval.benchmarks.records import Benchmark, Piece, Reader

_FOUR = "in four columns that do not mix: listed, embedded, log-likelihood, LTU's steps"


def _closed(
    name: str,
    title: str,
    measures: str,
    find: Callable[[Download, str], Found],
    recordings: dict[str, int | None],
    licence: str,
    source: str,
    how_to_get: str,
    *,
    question: str = sets.SOUND,
    multi: bool = False,
    version: str = "1.0",
    note: str = "",
) -> Benchmark:
    """Each recording is asked about in three ways, so there are three items for one."""
    asking = Asking(question, sets.RULE, multi)
    return Benchmark(
        name=name,
        title=title,
        version=version,
        licence=licence,
        source=source,
        how_to_get=how_to_get,
        measures=f"{measures}, {_FOUR}",
        kinds=("label",),
        official=(sets.RULE,),
        splits={split: None if n is None else n * len(MODES) for split, n in recordings.items()},
        prompts=asking.prompts,
        read=sets.closed_set_reader(name, asking, find),
        note=note,
    )


CLOSED_SETS = (
    _closed(
        "esc-50", "ESC-50", "50 kinds of sound", sets.esc50, {"all": 2000}, "CC BY-NC 3.0",
        "https://github.com/karolpiczak/ESC-50", "the unpacked repository: meta/esc50.csv and audio/",
        note="All five folds, as zero-shot figures are given; many models were trained on these clips.",
    ),
    _closed(
        "urbansound8k", "UrbanSound8K", "10 kinds of city sounds", sets.urbansound, {"all": 8732}, "CC BY-NC 3.0",
        "https://urbansounddataset.weebly.com/urbansound8k.html", "metadata/UrbanSound8K.csv and audio/fold1 to fold10",
    ),
    _closed(
        "fsd50k", "FSD50K", "200 kinds of sound, several at once", sets.fsd50k, {"eval": 10231},
        "CC BY 4.0; each clip CC0, CC BY, CC BY-NC or Sampling+", "https://zenodo.org/records/4060432",
        "FSD50K.ground_truth/ and FSD50K.eval_audio/", question=sets.SOUNDS, multi=True,
    ),
    _closed(
        "vggsound", "VGGSound", "309 kinds of sound", sets.vggsound, {"test": None}, "CC BY 4.0 (labels)",
        "https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
        "vggsound.csv, and a folder audio/ with the test clips as VIDEO_START.wav",
        note="Clips are fetched from YouTube and vanish: the count is part of every figure.",
    ),
    _closed(
        "audioset", "AudioSet", "527 kinds of sound, several at once", sets.audioset, {"eval": 20371},
        "CC BY 4.0 (labels)", "https://research.google.com/audioset/download.html",
        "eval_segments.csv, class_labels_indices.csv, and a folder audio/ with the clips by their YouTube names",
        question=sets.SOUNDS, multi=True,
        note="Clips are fetched from YouTube and vanish: the count is part of every figure.",
    ),
    _closed(
        "speech-commands", "Speech Commands", "Spoken words, 35 in version 2, 30 in version 1", sets.speech_commands,
        {"v2": 11005, "v1": 6835}, "CC BY 4.0",
        "https://www.tensorflow.org/datasets/catalog/speech_commands",
        "the unpacked speech_commands_v0.02 (or v0.01): testing_list.txt and a folder for each word",
        question="Which word is spoken?", version="0.02 and 0.01",
    ),
    _closed(
        "vocalsound", "VocalSound", "6 kinds of sounds that people make", sets.vocalsound, {"test": None},
        "CC BY-SA 4.0", "https://github.com/YuanGongND/vocalsound",
        "the unpacked 16 kHz release: datafiles/te.json, class_labels_indices_vs.csv, audio_16k/",
        question="Which sound does the person make?",
    ),
    _closed(
        "tut2017", "TUT Acoustic Scenes 2017", "15 kinds of places", sets.tut2017, {"evaluation": 1620},
        "non-commercial, by Tampere University", "https://zenodo.org/records/1040168",
        "the unpacked evaluation set: meta.txt (or evaluation_setup/evaluate.txt) and audio/",
        question="In which kind of place was this recorded?",
    ),
    _closed(
        "beijing-opera", "Beijing Opera percussion", "4 percussion instruments", sets.beijing_opera, {"all": 236},
        "CC BY 4.0", "https://zenodo.org/records/1285212",
        "the unpacked recordings, the instrument in the name of the folder or of the file",
        question="Which instrument is played?",
    ),
    _closed(
        "nsynth", "NSynth", "11 families of instruments (or 3 ways a note is made)", sets.nsynth,
        {"family": 4096, "source": 4096}, "CC BY 4.0", "https://magenta.tensorflow.org/datasets/nsynth",
        "the unpacked nsynth-test: examples.json and audio/", question="Which instrument plays this note?",
    ),
    _closed(
        "gtzan", "GTZAN", "10 genres of music", sets.gtzan, {"all": 1000}, "none stated; for research",
        "http://marsyas.info/downloads/datasets.html", "genres/ with a folder for each genre",
        question="Which genre is this music?",
        note="Has known duplicates and wrong labels; one jazz recording (jazz.00054) is damaged in a common copy.",
    ),
    _closed(
        "dcase2017", "DCASE 2017, task 4", "17 kinds of sounds of traffic, several at once", sets.dcase2017,
        {"test": 488, "evaluation": 1103}, "CC BY 4.0 (labels, from AudioSet)",
        "https://dcase.community/challenge2017/task-large-scale-sound-event-detection",
        "groundtruth_weak_label_testing_set.csv (or the strong one) and a folder audio/",
        question=sets.SOUNDS, multi=True,
    ),
)


def _two_tower(name: str, find: Callable[[Download, str], Found], official_split: str) -> Reader:
    """Labels are the sentences that two-tower models embed; they are ranked by likelihood, and asked as a list."""

    def read(source: Download, split: str) -> Iterator[Piece]:
        labels, rows = find(source, official_split)
        sentence = {label: TWO_TOWER.format(plain(label)) for label in labels}
        known = label_set(name, sentence.values(), {s: (plain(label),) for label, s in sentence.items()})
        yield known
        said = (Labelled(r.path, tuple(sentence[label] for label in r.labels), r.group) for r in rows)
        yield from labelled_items(said, known, TWO_TOWER_ASKING)

    return read


TWO_TOWER = "This is a sound of {}"
TWO_TOWER_ASKING = Asking("Which sentence fits the recording?", "", modes=("listed", "loglik"))


def _instruments(name: str, title: str, recordings: int, base: Benchmark, read: Reader) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        version=base.version,
        licence=base.licence,
        source=base.source,
        how_to_get=base.how_to_get,
        measures=f"Instruments by the sentence '{TWO_TOWER.format('NAME')}', as two-tower models are prompted",
        kinds=("label",),
        official=(),
        splits={"test": recordings * len(TWO_TOWER_ASKING.modes)},
        prompts=TWO_TOWER_ASKING.prompts,
        read=read,
        note="The sentence is the usual one of two-tower models; no assistant publishes its figure in this form.",
    )


_BY_NAME = {b.name: b for b in CLOSED_SETS}
INSTRUMENTS = (
    _instruments(
        "nsynth-two-tower", "NSynth instruments, two-tower prompts", 4096, _BY_NAME["nsynth"],
        _two_tower("nsynth-two-tower", sets.nsynth, "family"),
    ),
    _instruments(
        "beijing-opera-two-tower", "Beijing Opera instruments, two-tower prompts", 236, _BY_NAME["beijing-opera"],
        _two_tower("beijing-opera-two-tower", sets.beijing_opera, "all"),
    ),
)

BENCHMARKS = (*CLOSED_SETS, *INSTRUMENTS)
