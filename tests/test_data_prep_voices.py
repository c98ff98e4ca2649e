"""Readers of music and speech: official layouts, what is lost and why, other places of recordings, the commands."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alm.errors import AlmError
from data_prep.cli import app
from data_prep.errors import CorpusError
from data_prep.readers import SOURCES, listing, rows
from data_prep.readers.base import Lost, ReadOptions, ReadReport
from data_prep.readers.music import MUSIC
from data_prep.readers.speech import SPEECH
from data_prep.samples import Sample, sample_from_json, to_json
from tests.voice_sets import SETS, value

DOCS = Path(__file__).resolve().parent.parent / "docs" / "data-sources.md"


def read(name: str, folder: Path, **options: object) -> list[Sample | Lost]:
    built = SETS[name]
    return list(SOURCES[built.source].read(folder, ReadOptions(**options)))  # type: ignore[arg-type]


def report_of(found: list[Sample | Lost]) -> ReadReport:
    report = ReadReport()
    for one in found:
        report.count(one)
    return report


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every download, built once; tests that change one build their own."""
    root = tmp_path_factory.mktemp("downloads")
    for name, built in SETS.items():
        built.build(root / name)
    return {name: root / name for name in SETS}


@pytest.fixture
def download(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    SETS[request.param].build(tmp_path)
    yield tmp_path


# --- official layouts ---


def test_every_source_has_a_download_to_be_tested_on() -> None:
    assert {built.source for built in SETS.values()} == {source.name for source in (*MUSIC, *SPEECH)}


@pytest.mark.parametrize("name", SETS)
def test_a_download_is_read(name: str, downloads: dict[str, Path]) -> None:
    found, built = read(name, downloads[name]), SETS[name]
    report = report_of(found)
    assert dict(report.samples) == dict(built.samples), report.shown
    assert dict(report.lost) == dict(built.lost), report.shown
    samples = {one.id: to_json(one) for one in found if isinstance(one, Sample)}
    assert len(samples) == sum(report.samples.values()), "ids are not unique"
    for key, facts in built.facts.items():
        assert {field: value(samples[key], field) for field in facts} == dict(facts)


@pytest.mark.parametrize("name", SETS)
def test_samples_survive_json_and_name_recordings_that_are_there(name: str, downloads: dict[str, Path]) -> None:
    told = set()
    for one in read(name, downloads[name]):
        if isinstance(one, Sample):
            row = to_json(one)
            assert sample_from_json(json.loads(json.dumps(row, allow_nan=False))) == one
            assert Path(one.audio).is_absolute() and Path(one.audio).is_file()
            assert one.source == SETS[name].source
            told |= set(row)
    always = {"id", "audio", "source", "split", "licence", "label_set"}
    assert told - always <= set(SOURCES[SETS[name].source].tells)


@pytest.mark.parametrize("name", SETS)
def test_the_order_is_the_same_each_time(name: str, downloads: dict[str, Path]) -> None:
    assert read(name, downloads[name]) == read(name, downloads[name])


SPLIT = ("nsynth", "librispeech", "common-voice", "meld", "musiccaps", "fma", "voxceleb1", "mosei")


@pytest.mark.parametrize("name", SPLIT)
def test_only_the_splits_that_are_asked_for(name: str, downloads: dict[str, Path]) -> None:
    everything = report_of(read(name, downloads[name])).samples
    for own in SOURCES[SETS[name].source].splits:
        try:
            some = report_of(read(name, downloads[name], splits=(own,))).samples
        except CorpusError:
            continue  # a part that this download does not have
        assert all(count <= everything[split] for split, count in some.items()) and len(some) <= 1
    with pytest.raises(CorpusError, match="has no split 'other'"):
        read(name, downloads[name], splits=("other",))


def test_a_part_that_is_asked_for_must_be_there(downloads: dict[str, Path]) -> None:
    with pytest.raises(CorpusError, match="train-clean-100"):
        read("librispeech", downloads["librispeech"], splits=("train-clean-100",))


@pytest.mark.parametrize("name", SETS)
def test_another_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="data sources|has no|has neither"):
        read(name, tmp_path)
    with pytest.raises(CorpusError, match="no such folder"):
        read(name, tmp_path / "nowhere")


# --- recordings ---


@pytest.mark.parametrize("download", ["nsynth"], indirect=True)
def test_missing_and_empty_recordings_are_lost_and_listed(download: Path) -> None:
    folder = download / "nsynth-test/audio"
    (folder / "vocal_acoustic_000-070-050.wav").unlink()
    (folder / "guitar_acoustic_010-062-100.wav").write_bytes(b"")
    found = read("nsynth", download)
    assert {(one.reason, one.where) for one in found if isinstance(one, Lost)} == {
        ("missing file", "nsynth-test/examples.json, 'vocal_acoustic_000-070-050'"),
        ("empty file", "nsynth-test/examples.json, 'guitar_acoustic_010-062-100'"),
    }
    assert len(read("nsynth", download, check_files=False)) == 5
    assert not report_of(read("nsynth", download, check_files=False)).lost


@pytest.mark.parametrize("download", ["common-voice"], indirect=True)
def test_recordings_may_lie_elsewhere(download: Path, tmp_path: Path) -> None:
    clips, elsewhere = download / "cv-corpus-17.0-2024-03-15/nl/clips", tmp_path / "elsewhere"
    clips.rename(elsewhere)
    assert not report_of(read("common-voice", download)).samples
    found = report_of(read("common-voice", download, audio_root=elsewhere))
    assert dict(found.samples) == dict(SETS["common-voice"].samples)


@pytest.mark.parametrize("download", ["teleantifraud"], indirect=True)
def test_paths_of_other_machines_are_mapped(download: Path) -> None:
    assert report_of(read("teleantifraud", download)).lost == {"unsafe path": 1}
    found = report_of(read("teleantifraud", download, path_map={"/srv/calls/": str(download / "audio")}))
    assert found.samples["test"] == 1 and not found.lost


def test_the_same_id_twice_is_lost(tmp_path: Path) -> None:
    SETS["meld"].build(tmp_path)
    table = tmp_path / "dev_sent_emo.csv"
    table.write_text(table.read_text(encoding="utf-8") + table.read_text(encoding="utf-8").splitlines()[1] + "\n")
    assert report_of(read("meld", tmp_path)).lost == {"repeated id": 1}


# --- the parts of files ---


def streamed(tmp_path: Path, text: str) -> list[object]:
    path = tmp_path / "list.json"
    path.write_text(text, encoding="utf-8")
    return [one.values if isinstance(one, rows.Row) else one for one in rows.json_items(path, "list.json")]


def test_a_json_list_is_read_as_a_stream(tmp_path: Path) -> None:
    made = [{"n": n, "text": "ä" * (n * 40), "more": [1.5, None, {"x": "]}"}]} for n in range(400)]
    assert streamed(tmp_path, json.dumps(made)) == made
    assert streamed(tmp_path, "\ufeff [ ] \n") == []
    path = tmp_path / "object.json"
    path.write_text(json.dumps({str(n): one for n, one in enumerate(made)}))
    assert [row.values for _, row in rows.json_pairs(path, "o") if isinstance(row, rows.Row)] == made


@pytest.mark.parametrize("text", [
    '[{"a": 1}', '[{"a": 1},]', '[{"a": 1}] x', '[{"a": NaN}]', "[1 2]", '{"a": 1}', "", '[{"a": ' + "9" * 5000 + "}]",
    "[" * 100_000, '[{"a": "' + "x" * 100_000,
])  # fmt: skip
def test_damaged_json_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"list.json: (is damaged JSON|begins with)"):
        streamed(tmp_path, text)


def test_a_long_list_needs_little_memory(tmp_path: Path) -> None:
    """Thirty megabytes of one list: the peak of the process grows by far less."""
    path = tmp_path / "big.json"
    with path.open("w") as stream:
        row = json.dumps({"text": "word " * 6_000})
        stream.write("[" + ",".join([row] * 1000) + "]")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from bench.memory import peak_mebibytes\nfrom data_prep.readers.rows import json_items\n"
        "base = peak_mebibytes()\n"
        "count = sum(1 for _ in json_items(Path(sys.argv[1]), 'big'))\n"
        "print(count, round(1024 * (peak_mebibytes() - base)))"
    )
    command, root = [sys.executable, "-c", code, str(path)], Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    count, kilobytes = map(int, done.stdout.split())
    assert count == 1000 and kilobytes < 10_000


def test_lines_that_are_too_long_or_no_text_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 10)
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n" + b"x" * 95 + b"\ntwo\n\xff\xfe\nthree")
    found = list(rows.lines(path, "a.txt"))
    assert [one if isinstance(one, tuple) else one.where for one in found] == [
        (1, "one\r\n"), "a.txt, line 2", (3, "two\n"), "a.txt, line 4", (5, "three"),
    ]  # fmt: skip


def test_an_open_quotation_mark_is_an_error_and_not_one_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"two\n3,4\n5,6\n')
    with pytest.raises(CorpusError, match="lines 2 to 4"):
        list(rows.table(path, "a.csv"))
    path.write_text('a,b\n1,"two\nlines"\n3,4,5\n6,7\n')
    found = list(rows.table(path, "a.csv"))
    assert [one.values if isinstance(one, rows.Row) else one.reason for one in found] == [
        {"a": "1", "b": "two\nlines"}, "bad row", {"a": "6", "b": "7"},
    ]  # fmt: skip


def test_a_long_cell_costs_nothing(tmp_path: Path) -> None:
    """Beyond the usual limit of the csv module, in a row of two lines."""
    path, limit = tmp_path / "a.csv", csv.field_size_limit()
    path.write_text(f'a,b\n{"x" * 2 * limit},"two\nlines"\n1,2\n')
    assert [len(one.values["a"]) for one in rows.table(path, "a.csv") if isinstance(one, rows.Row)] == [2 * limit, 1]
    assert csv.field_size_limit() == limit


def test_playlists_do_not_expand_entities(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><playlist>&b;</playlist>'
    (tmp_path / "a.xspf").write_text(bomb)
    (one,) = list(SOURCES["playlists"].read(tmp_path, ReadOptions()))
    assert isinstance(one, Lost) and one.reason == "damaged playlist" and "entities" in one.detail


def test_labels_in_another_file_are_not_followed(tmp_path: Path) -> None:
    """HDF5 can point into other files, which would lead out of the download."""
    h5py = pytest.importorskip("h5py")
    SETS["mosei"].build(tmp_path / "download")
    SETS["mosei"].build(tmp_path / "other")
    with h5py.File(tmp_path / "download/CMU_MOSEI_Labels.csd", "a") as file:
        del file["All Labels/data/210238"]
        file["All Labels/data/210238"] = h5py.ExternalLink(
            str(tmp_path / "other/CMU_MOSEI_Labels.csd"), "/All Labels/data/210238"
        )
    report = report_of(read("mosei", tmp_path / "download"))
    assert report.samples == {"train": 2} and report.lost == {"in no fold": 1, "bad row": 1}


# --- commands ---


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout, done.stderr


def test_sources_are_listed() -> None:
    code, text, _ = run("sources")
    assert code == 0 and len(text.splitlines()) == len(SOURCES)
    listed = json.loads(run("sources", "--json")[1])
    assert [one["name"] for one in listed] == list(SOURCES)
    assert all(one["licence"] and one["how_to_get"] and one["layout"] and one["size"] for one in listed)
    code, text, _ = run("sources", "nsynth")
    assert code == 0 and "nsynth-SPLIT/examples.json" in text and "alm data read nsynth" in text


def test_an_unknown_source_is_a_user_error() -> None:
    code, _, error = run("sources", "no-such")
    assert code == 2 and "no source 'no-such'" in error and "nsynth" in error


def test_read_reports_samples_and_losses(downloads: dict[str, Path], tmp_path: Path) -> None:
    code, text, _ = run("read", "common-voice", "--from", str(downloads["common-voice"]), "--out", str(tmp_path))
    assert code == 0 and "4 samples (dev 1, test 1, train 2), 1 lost" in text and "1 x missing file" in text
    samples = [sample_from_json(json.loads(line)) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert samples == [one for one in read("common-voice", downloads["common-voice"]) if isinstance(one, Sample)]
    (lost,) = [json.loads(line) for line in (tmp_path / "lost.jsonl").read_text().splitlines()]
    assert lost["reason"] == "missing file" and lost["where"].endswith("test.tsv, line 3")
    told = json.loads(run("read", "common-voice", "--from", str(downloads["common-voice"]), "--json")[1])
    assert told["samples"] == {"train": 2, "dev": 1, "test": 1} and told["lost"] == {"missing file": 1}


def test_read_that_finds_nothing_writes_nothing(tmp_path: Path) -> None:
    code, _, error = run("read", "nsynth", "--from", str(tmp_path), "--out", str(tmp_path / "out"))
    assert code == 2 and "nsynth-" in error and not list((tmp_path / "out").glob("*"))
    code, _, error = run("read", "nsynth", "--from", str(tmp_path), "--map", "nonsense")
    assert code == 2 and "BEGIN=FOLDER" in error


def test_the_documentation_shows_the_registry() -> None:
    """`python -m tools.source_table --write` renews it."""
    from tools.source_table import renewed

    text = DOCS.read_text(encoding="utf-8")
    assert renewed(text) == text
    assert all(f"`{name}`" in text for name in SOURCES)
    assert renewed(text.replace("`nsynth`", "`other`")) != text.replace("`nsynth`", "`other`")


def test_sources_are_complete() -> None:
    for source in SOURCES.values():
        assert re.fullmatch(r"[a-z0-9-]+", source.name)
        assert source.home.startswith(("https://", "http://")) and listing.long(source)
        assert set(source.tells) <= set(Sample.__dataclass_fields__)
    with pytest.raises(AlmError):
        next(iter(SOURCES["nsynth"].read(Path("/nowhere/at/all"), ReadOptions())))
