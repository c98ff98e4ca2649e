"""Extra recordings: rules, cutting, git repositories and packages, curation, gathering; all on toy sources."""

from __future__ import annotations

import dataclasses
import io
import itertools
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from data_prep.corpus import load_clips, merge_index, read_index
from data_prep.errors import CorpusError
from data_prep.fetch import FetchReport
from data_prep.ontology import load_ontology
from data_prep.sources import credits, extra_debian, extra_git, gather, rescan
from data_prep.sources.catalog import Catalog, Source, freesound_numbers, load_catalog
from data_prep.sources.curation import benchmark_of, crossing_originals, curate, held_out_numbers
from data_prep.sources.cut import CutConfig, pieces
from data_prep.sources.extra_manifest import ExtraClip, read_extra, write_extra
from data_prep.sources.likeness import Pictured, near_copies, picture
from data_prep.sources.scan import cap_clips, check_classes, make_clips, scan, select

RATE = 8000
SOURCES = "source,origin,name,version,licence,split,credit,note\n"
RULES = "source,pattern,classes,labels,description,licence,credit,kind,transcript\n"


def noise(seconds: float, seed: int, level: float = 0.1) -> NDArray[np.float32]:
    """Coloured noise with a slow swell, so that two seeds do not look alike."""
    random = np.random.default_rng(seed)
    white = random.standard_normal(round(seconds * RATE)).astype(np.float32)
    smooth = np.convolve(white, np.ones(1 + seed % 7) / (1 + seed % 7), "same")
    swell = 0.2 + np.abs(np.sin(np.linspace(0, 3 + seed, len(white)))) ** (1 + seed % 3)
    return (level * smooth * swell).astype(np.float32)


def wav(samples: NDArray[np.float32]) -> bytes:
    """A WAV file in memory."""
    target = io.BytesIO()
    soundfile.write(target, samples, RATE, format="WAV", subtype="PCM_16")
    return target.getvalue()


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` with an identity of its own."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder that serves `toys/sounds`, and the commit that holds the recordings (a later one has lost them)."""
    root = tmp_path_factory.mktemp("host")
    work = root / "toys" / "sounds"
    work.mkdir(parents=True)
    git(work, "init", "--quiet")
    files = {
        "dog/bark_1.wav": noise(1, 1),
        "dog/bark 2.wav": noise(1, 2),
        "rain.wav": noise(40, 3),
        "other.wav": noise(1, 4),
    }
    for name, samples in files.items():
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_bytes(wav(samples))
    (work / "broken_dog.wav").write_bytes(b"RIFF no audio")
    git(work, "add", ".")
    git(work, "commit", "--quiet", "-m", "sounds")
    commit = git(work, "rev-parse", "HEAD")
    git(work, "rm", "--quiet", "-r", "dog")
    git(work, "commit", "--quiet", "-m", "without dogs")
    git(work, "config", "uploadpack.allowAnySHA1InWant", "true")
    return root, commit


def toy_catalog(folder: Path, commit: str, split: str = "train") -> Catalog:
    """One repository with a dog and a rain; the rule of the dog reads the number out of the name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "s.csv").write_text(SOURCES + f"toys,git,toys/sounds,{commit},CC0,{split},A. Toy,toy sounds\n")
    dog = 'toys,dog/bark[_ ](?P<number>\\d)\\.wav,dog bark,bark,dog number {number},CC-BY-3.0,"B, freesound 7",,\n'
    rules = "toys,other\\.wav,,,,,,,\n" + dog
    (folder / "r.csv").write_text(
        RULES + rules + "toys,.*rain\\.wav,rain,,,,,,\ntoys,broken_dog\\.wav,dog bark,,,,,,\n"
    )
    return load_catalog(folder / "s.csv", folder / "r.csv")


def test_first_matching_rule_labels_the_file_and_an_empty_rule_leaves_it_out(tmp_path: Path) -> None:
    catalog = toy_catalog(tmp_path, "a" * 40)
    source = catalog.sources[0]
    dog = catalog.label(source, "dog/bark_1.wav")
    assert dog is not None
    assert (dog.classes, dog.labels, dog.description) == (("dog bark",), ("bark",), "dog number 1")
    assert (dog.licence, dog.credit) == ("CC-BY-3.0", "B, freesound 7")
    rain = catalog.label(source, "deep/rain.wav")
    assert rain is not None and (rain.licence, rain.credit) == ("CC0", "A. Toy")
    assert catalog.label(source, "other.wav") is None
    assert catalog.label(source, "dog/bark_1.wav.txt") is None


@pytest.mark.parametrize(
    ("source", "rule", "message"),
    [
        ("toys,ftp,a/b,1,CC0,train,,", "", "origin 'ftp'"),
        ("toys,git,a/b,main,CC0,train,,", "", "commit hash"),
        ("toys,git,a/b," + "a" * 40 + ",CC0,half,,", "", "split 'half'"),
        ("toys,git,a/b," + "a" * 40 + ",CC0,train,,", "toys,a(,rain,,,,,,", "no regular expression"),
        ("toys,git,a/b," + "a" * 40 + ",CC0,train,,", "toys,a,rain,,,CC-BY-NC-4.0,,,", "not among the open ones"),
        ("toys,git,a/b," + "a" * 40 + ",CC0,train,,", "toys,a,rain,,,,,song,", "kind 'song'"),
        ("toys,git,a/b," + "a" * 40 + ",CC0,train,,", "boys,a,rain,,,,,,", "source 'boys'"),
        ("toys,git,a/b," + "a" * 40 + ",CC0,train", "", "no field"),
    ],
)
def test_tables_that_do_not_hold_name_the_place(tmp_path: Path, source: str, rule: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(SOURCES + source + "\n")
    (tmp_path / "r.csv").write_text(RULES + rule + "\n" if rule else RULES)
    with pytest.raises(CorpusError, match="csv:2") as fault:
        load_catalog(tmp_path / "s.csv", tmp_path / "r.csv")
    assert message in str(fault.value)


def test_short_recordings_stay_whole_and_silence_goes() -> None:
    assert [(piece.start, piece.end, piece.whole) for piece in pieces(noise(3, 1), RATE)] == [(0.0, 3.0, True)]
    assert pieces(np.zeros(3 * RATE, np.float32), RATE) == []
    assert pieces(noise(0.01, 1), RATE) == []


def test_pieces_of_a_long_recording_are_loud_spread_and_never_overlap() -> None:
    samples = noise(100, 5, 0.001)
    for start in (5, 60):
        samples[start * RATE : (start + 8) * RATE] += noise(8, start, 0.3)
    found = pieces(samples, RATE, CutConfig(max_pieces=4))
    assert [piece.start for piece in found] == sorted(piece.start for piece in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert all(piece.start >= 0 and piece.end <= 100 and piece.end - piece.start == 8 for piece in found)
    assert {5.0, 60.0} == {piece.start for piece in found}, "the quiet zones are far below the loudest one"
    assert len(pieces(noise(1000, 6), RATE)) <= 6


def test_caps_keep_every_recording_before_a_second_piece(tmp_path: Path, host: tuple[Path, str]) -> None:
    catalog = toy_catalog(tmp_path, host[1])
    source, ontology = catalog.sources[0], load_ontology()
    item = catalog.label(source, "rain.wav")
    assert item is not None
    clips = []
    for index, seconds in enumerate((60, 40, 5)):
        named = dataclasses.replace(item, path=f"{index}.wav")
        clips += [clip for clip, _ in make_clips(source, named, noise(seconds, index), RATE, ontology, CutConfig())]
    kept = cap_clips(clips, 4)
    assert len(kept) == 4
    assert {clip.file for clip in clips if clip.clip.id in kept} == {"0.wav", "1.wav", "2.wav"}
    many = [f"dog/bark_{digit}.wav" for digit in range(10)]
    chosen = select(catalog, source, many, cap=3)
    assert [file.path for file in chosen] == [f"dog/bark_{digit}.wav" for digit in (1, 5, 8)]


def test_git_source_is_fetched_at_the_exact_commit(tmp_path: Path, host: tuple[Path, str]) -> None:
    root, commit = host
    source = toy_catalog(tmp_path / "c", commit).sources[0]
    files = extra_git.open_source(source, [], tmp_path / "git", f"file://{root}")
    assert "dog/bark_1.wav" in files.paths(), "the newest commit has lost it, the named one has it"
    wanted = ["rain.wav", "dog/bark 2.wav", "nowhere.wav"]
    got = dict(files.read(wanted))
    assert got == {"rain.wav": wav(noise(40, 3)), "dog/bark 2.wav": wav(noise(1, 2))}
    again = extra_git.open_source(source, [tmp_path / "git"], None)
    assert again.paths() == files.paths()
    other = dataclasses.replace(source, version="b" * 40)
    with pytest.raises(CorpusError, match="bbbbbbbbbbbb is not to be had"):
        extra_git.open_source(other, [], tmp_path / "git", f"file://{root}")
    with pytest.raises(CorpusError, match="downloads are off"):
        extra_git.open_source(other, [tmp_path / "git"], None)


def test_scan_then_gather_gives_the_same_samples(tmp_path: Path, host: tuple[Path, str]) -> None:
    root, commit = host
    catalog = toy_catalog(tmp_path / "c", commit)
    source = catalog.sources[0]
    result = scan(
        catalog, source, extra_git.open_source(source, [], tmp_path / "git", f"file://{root}"), load_ontology()
    )
    assert sorted(clip.file for clip in result.clips) == [
        "dog/bark 2.wav",
        "dog/bark_1.wav",
        "rain.wav",
        "rain.wav",
        "rain.wav",
    ]
    assert [failure.clip_id for failure in result.failures] == ["broken_dog.wav"]
    write_extra(result.clips, tmp_path / "m" / "extra_clips.csv.gz")
    clips = read_extra(tmp_path / "m" / "extra_clips.csv.gz")
    assert clips == sorted(result.clips, key=lambda clip: clip.clip.id)
    assert load_clips(tmp_path / "m") == [clip.clip for clip in clips], "the common reader takes the manifest too"
    places = gather.Places(tmp_path / "store", (tmp_path / "git",), offline=True)
    report = FetchReport()
    gather.gather(clips, catalog, places, report)
    assert len(report.stored) == 5 and not report.failures and all(item.sha_match for item in report.stored)
    listed = [item.clip for item in clips]
    merge_index(tmp_path / "store", report.stored, listed)
    merge_index(tmp_path / "store", report.stored, listed)
    assert len(list(read_index(tmp_path / "store" / "clips.jsonl"))) == 5
    wrong = [clip.with_clip(sha="0" * 16) for clip in clips]
    other = FetchReport()
    gather.gather(wrong, catalog, gather.Places(tmp_path / "s2", (tmp_path / "git",), offline=True), other)
    assert not any(item.sha_match for item in other.stored), "control: another fingerprint is told"


def test_gather_tells_what_is_missing(tmp_path: Path, host: tuple[Path, str]) -> None:
    catalog = toy_catalog(tmp_path / "c", host[1])
    source = catalog.sources[0]
    item = catalog.label(source, "rain.wav")
    assert item is not None
    made = make_clips(source, item, noise(3, 1), RATE, load_ontology(), CutConfig())[0][0]
    report = FetchReport()
    gather.gather([made], catalog, gather.Places(tmp_path / "s", offline=True), report)
    assert "downloads are off" in report.missing_packages["toys+sounds"]
    unknown = made.with_clip(package="someone+else")
    with pytest.raises(CorpusError, match="someone\\+else"):
        gather.gather([unknown], catalog, gather.Places(tmp_path / "s"), report)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A Debian package with a plain recording and a zip that holds two more."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: toy-data\nVersion: 1.0-1\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: toy\n"
    )
    data = root / "usr" / "share" / "toy"
    data.mkdir(parents=True)
    (data / "cow.wav").write_bytes(wav(noise(1, 1)))
    with zipfile.ZipFile(data / "public.zip", "w") as container:
        container.writestr("audio/pig.wav", wav(noise(1, 2)))
        container.writestr("audio/hen.wav", wav(noise(1, 3)))
    target = tmp_path / "debs"
    target.mkdir()
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", str(root), str(target / "toy-data_1.0-1_all.deb")],
        check=True,
        capture_output=True,
    )
    return target


def test_debian_source_reads_plain_files_and_members_of_containers(package: Path) -> None:
    source = Source("toy", "debian-extra", "toy-data", "1.0-1", "CC0", "test", "T")
    files = extra_debian.open_source(source, [package], None)
    zipped = "usr/share/toy/public.zip!audio/pig.wav"
    assert files.paths() == [
        "usr/share/toy/cow.wav",
        "usr/share/toy/public.zip",
        "usr/share/toy/public.zip!audio/hen.wav",
        zipped,
    ]
    got = dict(files.read(["usr/share/toy/cow.wav", zipped, "usr/share/toy/public.zip!audio/none.wav"]))
    assert got == {"usr/share/toy/cow.wav": wav(noise(1, 1)), zipped: wav(noise(1, 2))}
    with pytest.raises(CorpusError, match="no package file"):
        extra_debian.open_source(dataclasses.replace(source, name="absent"), [package], None)


def clip_of(catalog: Catalog, path: str, seed: int, seconds: float = 2.0) -> tuple[ExtraClip, Pictured]:
    """A toy clip with its picture."""
    source = catalog.sources[0]
    item = catalog.label(source, path)
    assert item is not None
    made, samples = make_clips(source, item, noise(seconds, seed), RATE, load_ontology(), CutConfig())[0]
    made = made.with_clip(id=f"{source.split}-{path}-{seed}")
    return made, Pictured(made.clip.id, made.clip.split, made.clip.seconds, picture(samples, RATE))


def test_near_copies_are_found_by_sound_and_not_by_chance() -> None:
    first, other = noise(2, 1), noise(2, 2)
    louder = np.clip(first * 1.5 + 1e-4, -1, 1).astype(np.float32)
    shown = [
        Pictured(name, "train", 2.0, picture(samples, RATE))
        for name, samples in (("a", first), ("b", louder), ("c", other))
    ]
    assert near_copies(shown, shown) == [(0, 1), (1, 0)]
    longer = [dataclasses.replace(shown[1], seconds=3.0)]
    assert near_copies(shown[:1], longer) == [], "control: another length is another recording"


def test_curation_keeps_each_recording_on_one_side(tmp_path: Path) -> None:
    train, test = toy_catalog(tmp_path / "a", "a" * 40), toy_catalog(tmp_path / "b", "b" * 40, "test")
    cases = [
        clip_of(train, "dog/bark_1.wav", 1),
        clip_of(test, "rain.wav", 1),
        clip_of(test, "rain.wav", 2),
        clip_of(train, "rain.wav", 3),
    ]
    clips = [clip for clip, _ in cases]
    pictures = {shown.id: shown for _, shown in cases}
    old = Pictured("old", "train", 2.0, pictures["train-rain.wav-3"].picture)
    result = curate(clips, pictures, [old], {"old": "g1"}, held_out={})
    assert result.dropped == {"test-rain.wav-1": "near copy on another side"}
    groups = {clip.clip.id: clip.clip.dup_group for clip in result.clips}
    assert groups == {"train-dog/bark_1.wav-1": "", "test-rain.wav-2": "", "train-rain.wav-3": "g1"}
    across = curate(clips[3:], pictures, [dataclasses.replace(old, split="test")], held_out={})
    assert across.clips == [] and "old on another side" in across.dropped["train-rain.wav-3"]


def test_recordings_of_benchmarks_and_of_the_other_side_are_known_by_their_number(tmp_path: Path) -> None:
    dog, _ = clip_of(toy_catalog(tmp_path, "a" * 40), "dog/bark_1.wav", 1)
    again, _ = clip_of(toy_catalog(tmp_path, "a" * 40, "test"), "dog/bark_1.wav", 2)
    assert freesound_numbers("B, https://freesound.org/people/B/sounds/12/ and freesound.org/s/13/, freesound 14") == {
        "12",
        "13",
        "14",
    }
    assert benchmark_of(dog, {"7": "Some benchmark"}) == "Some benchmark" and benchmark_of(dog, {"70": "Other"}) == ""
    assert crossing_originals([dog, again]) == {again.clip.id} and crossing_originals([again]) == set()


def test_rescan_writes_a_store_and_reports_absent_sources(tmp_path: Path, host: tuple[Path, str]) -> None:
    root, commit = host
    catalog = toy_catalog(tmp_path / "c", commit)
    empty = tmp_path / "first"
    empty.mkdir()
    (empty / "clips.jsonl").write_text("")
    told: list[str] = []
    places = gather.Places(tmp_path / "store", host=f"file://{root}")
    curated = rescan.rescan(catalog, places, empty, told.append)
    assert len(curated.clips) == 5 and "5 clips, 1 undecodable" in told[0]
    assert all((tmp_path / "store" / item.audio).is_file() for item in read_index(tmp_path / "store" / "clips.jsonl"))
    text = credits.attribution(catalog, curated.clips)
    assert f"commit `{commit}`" in text and "| bark 2.wav, bark_1.wav | B, freesound 7 | CC-BY-3.0 |" in text
    away = rescan.rescan(catalog, gather.Places(tmp_path / "s2", offline=True), empty, told.append)
    assert away.clips == [] and "left out toys" in told[-1]


def test_shipped_tables_hold_together() -> None:
    catalog, clips = load_catalog(), read_extra()
    assert check_classes(catalog, load_ontology()) == []
    packages = {source.package: source for source in catalog.sources}
    held_out = held_out_numbers()
    for item in clips:
        source = packages[item.clip.package]
        assert (item.clip.version, item.clip.split) == (source.version, source.split), item.clip.id
        assert item.credit and not benchmark_of(item, held_out), item.clip.id
    assert not crossing_originals(clips)
    assert len({(item.clip.package, item.clip.path) for item in clips}) == len(clips)
