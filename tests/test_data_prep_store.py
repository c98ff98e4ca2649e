"""Manifest, fetch and audio store: names, fingerprints, resuming, and a kill at any moment."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from data_prep_toys import RATE, make_clip, tone
from test_data_prep_archives import make_deb, make_zip
from typer.testing import CliRunner

from data_prep import cli, corpus, fetch, store
from data_prep.corpus import StoredClip
from data_prep.curate import classes_of, curate, english
from data_prep.decode import decode
from data_prep.errors import CorpusError
from data_prep.ontology import language_name, load_ontology
from data_prep.renders import parse


def wav_bytes(samples: np.ndarray, rate: int = RATE) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def toy_package(folder: Path, names: int = 3) -> tuple[Path, list[corpus.Clip]]:
    """A Debian package with recordings, one of them inside a zip, and its clips with true fingerprints."""
    sounds = {f"{number}.wav": tone(200 + 50 * number, 0.5) for number in range(names)}
    files = {f"usr/share/toy/{name}": wav_bytes(samples) for name, samples in sounds.items()}
    inner = tone(990, 0.4)
    files["usr/share/toy/pack.pk3"] = make_zip({"deep/inner.wav": wav_bytes(inner)})
    package = make_deb(folder / "toy-sounds_1.0-1_all.deb", files)
    paths = {f"usr/share/toy/{name}": samples for name, samples in sounds.items()}
    paths["usr/share/toy/pack.pk3!deep/inner.wav"] = inner
    clips = []
    for path, samples in paths.items():
        heard, _ = decode(wav_bytes(samples), "x.wav")
        clip = make_clip("toy-sounds", path, ("bell",), "train")
        clips.append(dataclasses.replace(clip, version="1.0-1", sha=store.fingerprint(heard)))
    return package, clips


def run(target: Path, debs: Path, clips: list[corpus.Clip]) -> fetch.FetchReport:
    report = fetch.FetchReport()
    fetcher = fetch.Fetcher(target, (debs,), offline=True, use_dpkg=False)
    for package, group in fetch.by_package(clips, "debian").items():
        fetcher.fetch("debian", package, group, report)
    return report


def test_package_goes_into_the_store_and_back(tmp_path: Path) -> None:
    _, clips = toy_package(tmp_path)
    report = run(tmp_path / "store", tmp_path, clips)
    assert len(report.stored) == 4 and not report.failures and not report.mismatches()
    for item in report.stored:
        samples, rate = store.read_flac(tmp_path / "store" / item.audio)
        assert rate == RATE and store.fingerprint(samples) == item.clip.sha


def test_wrong_fingerprint_and_version_are_counted(tmp_path: Path) -> None:
    _, clips = toy_package(tmp_path)
    wrong = [dataclasses.replace(clips[0], sha="0" * 16), *clips[1:]]
    wrong = [dataclasses.replace(clip, version="0.9") for clip in wrong]
    report = run(tmp_path / "store", tmp_path, wrong)
    assert [item.clip.id for item in report.mismatches()] == [clips[0].id]
    assert report.other_versions == {"toy-sounds": "1.0-1"}


def test_second_run_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, clips = toy_package(tmp_path)
    first = run(tmp_path / "store", tmp_path, clips)
    (tmp_path / "toy-sounds_1.0-1_all.deb").unlink()
    monkeypatch.setattr(store, "decode", lambda *_: pytest.fail("decoded again"))
    assert run(tmp_path / "store", tmp_path, clips).stored == first.stored
    (tmp_path / "store" / first.stored[0].audio).unlink()
    gone = run(tmp_path / "store", tmp_path, clips)
    assert not gone.stored and "--offline" in gone.missing_packages["toy-sounds"], "the control: a missing file is seen"


def test_absent_and_undecodable_files_are_failures(tmp_path: Path) -> None:
    make_deb(tmp_path / "toy-sounds_1.0-1_all.deb", {"bad.wav": b"no audio at all"})
    clips = [make_clip("toy-sounds", name, ("bell",), "train") for name in ("bad.wav", "gone.wav")]
    report = run(tmp_path / "store", tmp_path, clips)
    assert {item.clip_id for item in report.failures} == {clip.id for clip in clips}
    assert store.load_package(tmp_path / "store", "toy-sounds", clips) is None


def test_high_rates_are_brought_to_48_khz(tmp_path: Path) -> None:
    clip = make_clip("p", "x.wav", ("bell",), "train")
    item = store.put(tmp_path, clip, tone(440, 1.0, 96_000), 96_000)
    assert (item.rate, item.seconds) == (48_000, 1.0)


KILLED = """
import sys, numpy as np
from pathlib import Path
from data_prep import store
from data_prep_toys import make_clip, tone
folder = Path(sys.argv[1])
print("go", flush=True)
for number in range(100000):
    store.put(folder, make_clip("p", f"{number}.wav", ("bell",), "train"), tone(300 + number, 0.5), 16000)
"""


def test_kill_while_writing_leaves_only_whole_files(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(Path(__file__).parent)])}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=environment, stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert process.stdout is not None and process.stdout.readline() == b"go\n"
    time.sleep(0.7)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    files = [path for path in tmp_path.rglob("*.flac") if not path.name.startswith(store_temporary())]
    assert files
    for path in files:
        samples, _ = store.read_flac(path)
        assert len(samples) == RATE // 2
    from data_prep.atomic import remove_leftovers

    remove_leftovers(tmp_path)
    assert not list(tmp_path.rglob(store_temporary() + "*"))


def store_temporary() -> str:
    from data_prep.atomic import TEMPORARY

    return TEMPORARY


def test_manifest_round_trip_is_byte_equal(tmp_path: Path) -> None:
    _, clips = toy_package(tmp_path)
    first, second = tmp_path / "a_clips.csv.gz", tmp_path / "clips.csv.gz"
    corpus.write_manifest(clips, first)
    corpus.write_manifest(reversed(corpus.read_manifest(first)), second)
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(CorpusError, match="twice"):
        corpus.load_clips(tmp_path)


def test_manifest_faults_name_file_line_and_field(tmp_path: Path) -> None:
    row = corpus.clip_to_row(make_clip("p", "a.wav", ("bell",), "train"))
    for field, value in (("split", "exam"), ("kind", "noise"), ("seconds", "long"), ("id", "../x"), ("id", "")):
        with pytest.raises(CorpusError, match="m.csv:2"):
            corpus.clip_from_row(row | {field: value}, "m.csv:2")
    assert corpus.clip_from_row(row, "m.csv:2").classes == ("bell",)


def test_copies_on_two_sides_are_refused(tmp_path: Path) -> None:
    clips = [make_clip(f"p-{split}", "a.wav", ("bell",), split) for split in ("train", "test")]
    corpus.write_manifest([dataclasses.replace(clip, dup_group="g1") for clip in clips], tmp_path / "clips.csv.gz")
    with pytest.raises(CorpusError, match="g1"):
        corpus.load_clips(tmp_path)
    corpus.write_manifest(clips, tmp_path / "clips.csv.gz")
    assert len(corpus.load_clips(tmp_path)) == 2, "the control: without the common group both are fine"


def test_merge_keeps_earlier_rows_and_takes_new_labels(tmp_path: Path) -> None:
    old, new = (make_clip("p", name, ("bell",), "train") for name in ("a.wav", "b.wav"))
    kept = store.put(tmp_path, old, tone(300, 0.5), RATE)
    corpus.write_index([kept], tmp_path / "clips.jsonl")
    relabelled = dataclasses.replace(old, classes=("church bells",))
    added = store.put(tmp_path, new, tone(400, 0.5), RATE)
    rows = corpus.merge_index(tmp_path, [added], [relabelled, new])
    assert {row.clip.id: row.clip.classes for row in rows} == {old.id: ("church bells",), new.id: ("bell",)}
    assert list(corpus.read_index(tmp_path / "clips.jsonl")) == rows
    assert corpus.merge_index(tmp_path, [], [new]) == [StoredClip(new, added.audio, 0.5, RATE, True)]


def test_shipped_manifest_holds() -> None:
    """Splits by package, known classes, licences, no doubtful source."""
    clips = corpus.load_clips()
    sides: dict[str, set[str]] = {}
    for clip in clips:
        sides.setdefault(clip.package, set()).add(clip.split)
    ontology = load_ontology()
    assert {package for package, found in sides.items() if len(found) > 1} == set()
    unknown = {name for clip in clips for name in clip.classes} - set(ontology.by_name)
    assert not unknown
    assert all(clip.licence and clip.classes for clip in clips)
    assert not [clip for clip in clips if "globalmods/apoc" in clip.path or "GeneralUser" in clip.path]
    assert {clip.split for clip in clips} == {"train", "dev", "test"}


def test_ontology_relations() -> None:
    ontology = load_ontology()
    assert ontology.class_of("tire screech") == "skidding tires"
    assert "wolf howl" in ontology.confusable("dog bark") and "dog bark" in ontology.confusable("wolf howl")
    assert "piano" in ontology.confusable("music") and "rain" not in ontology.confusable("music")
    assert ontology.opposites(["dog bark"], ["wolf howl", "rain", "dog bark"]) == ["rain"]
    assert language_name("pt_BR") == "Portuguese" and language_name("xx") == ""
    assert len(ontology.classes) >= 150


def catalogue_row(**more: str) -> dict[str, str]:
    row = {
        "package": "scratch", "version": "1", "path": "a.wav", "labels": "dog bark", "classes": "dog bark", "flag": "",
        "description": "a dog", "duration_s": "1", "sample_rate": "16000", "licence": "CC0", "split": "train",
        "kind": "sfx", "language": "", "transcript": "", "speaker": "", "rms_db": "-20", "sha": "", "dup_group": "",
    }  # fmt: skip
    return row | more


def test_curation_rules() -> None:
    ontology = load_ontology()
    rows = [catalogue_row(path=f"{number}.wav") for number in range(100)]
    rows += [
        catalogue_row(path="copy1.wav", dup_group="g", package="a"),
        catalogue_row(path="copy2.wav", dup_group="g"),
    ]
    rows += [catalogue_row(path="globalmods/apoc/x.wav"), catalogue_row(path="q.wav", rms_db="-70")]
    kept = curate(rows, ontology)
    assert len(kept) == 31 and not [clip for clip in kept if "apoc" in clip.path or clip.path == "q.wav"]
    assert curate(rows, ontology) == kept
    words = classes_of(catalogue_row(labels="sewing machine", classes="household appliance"), ontology)
    assert words == ("household appliance",)
    assert english("a otter [Otter 2] (kit)") == "an otter" and english("a ukulele") == "a ukulele"


def test_render_paths() -> None:
    assert parse("a.sf2#prog=40,note=60") == (0, 40, 60) and parse("a.sf2#drum=35") == (9, 0, 35)
    for path in ("a.sf2", "a.sf2#prog=200,note=1", "a.sf2#prog=1"):
        with pytest.raises(CorpusError):
            parse(path)


def test_command_line_says_what_is_missing(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(cli.app, ["--help"]).exit_code == 0
    for command in ("scenes", "rows", "check"):
        result = runner.invoke(cli.app, [command, "--out", str(tmp_path)])
        assert result.exit_code == 2, result.output


def test_clips_that_test_holds_too_are_left_out_of_train() -> None:
    shared = corpus.shared_clips()
    by_id = {clip.id: clip for clip in corpus.load_clips()}
    listed = {clip.id: clip for path in corpus.manifest_files() for clip in corpus.read_manifest(path)}

    assert shared and not shared.keys() & by_id.keys()
    assert {listed[name].split for name in shared} <= {"train", "dev"}, "the control: the manifests do list them"
    assert {by_id[name].split for name in shared.values()} == {"test"}
