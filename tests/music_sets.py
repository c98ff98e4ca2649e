"""Downloads of sets of music in their official layouts, with a handful of invented rows and tones for recordings."""

from __future__ import annotations

from pathlib import Path

from tests.bench_fixtures.sounds import sound, write_json, write_table


def tones(folder: Path, *names: str) -> None:
    """Short tones; containers that libsndfile cannot write hold the bytes of a WAV, for readers open nothing."""
    for name in names:
        path = folder / name
        if path.suffix in (".m4a", ".mp4"):
            sound(path.with_suffix(".wav"), seconds=0.02).rename(path)
        else:
            sound(path, seconds=0.02)


def lines(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def nsynth(folder: Path) -> None:
    def note(family: str, made: str, number: int, pitch: int, velocity: int, *qualities: str) -> dict[str, object]:
        name = f"{family}_{made}_{number:03d}"
        return {
            "note": 7, "note_str": f"{name}-{pitch:03d}-{velocity:03d}", "instrument": 3, "instrument_str": name,
            "pitch": pitch, "velocity": velocity, "sample_rate": 16000, "qualities": [0] * 10,
            "qualities_str": list(qualities), "instrument_family": 0, "instrument_family_str": family,
            "instrument_source": 0, "instrument_source_str": made,
        }  # fmt: skip

    parts = {
        "train": [note("bass", "synthetic", 68, 49, 25, "dark"), note("synth_lead", "synthetic", 1, 60, 75)],
        "valid": [note("guitar", "acoustic", 10, 60, 75, "fast_decay", "nonlinear_env")],
        "test": [note("guitar", "acoustic", 10, 62, 100), note("vocal", "acoustic", 0, 70, 50)],
    }
    for part, notes in parts.items():
        write_json(folder / f"nsynth-{part}/examples.json", {str(n["note_str"]): n for n in notes})
        tones(folder / f"nsynth-{part}/audio", *(f"{n['note_str']}.wav" for n in notes))


def gtzan(folder: Path) -> None:
    tones(folder / "genres", "blues/blues.00000.au", "jazz/jazz.00054.wav", "hiphop/hiphop.00001.wav")


def gtzan_filtered(folder: Path) -> None:
    gtzan(folder)
    lines(folder / "train_filtered.txt", "blues/blues.00000.wav", "hiphop/hiphop.00001.wav")
    lines(folder / "valid_filtered.txt", "jazz/jazz.00054.wav")
    lines(folder / "test_filtered.txt", "rock/rock.00009.wav")


def fma(folder: Path) -> None:
    columns = (
        ("artist", "id"), ("artist", "name"), ("set", "split"), ("set", "subset"), ("track", "duration"),
        ("track", "genre_top"), ("track", "genres"), ("track", "language_code"), ("track", "license"),
        ("track", "title"),
    )  # fmt: skip
    rows = [
        (2, 1, "Anna", "training", "small", 168, "Hip-Hop", "[21]", "en", "CC BY-NC-SA 3.0", "Food"),
        (5, 1, "Anna", "validation", "small", 206, "", "[21, 10]", "", "CC BY 4.0", "A long\nTitle, really"),
        (140, 9, "Bert", "test", "small", 20, "Folk", "[]", "", "", "Queen"),
        (900, 9, "Bert", "training", "large", 20, "Folk", "[10]", "", "CC BY 4.0", "Other"),
    ]
    header = [("", *(c[0] for c in columns)), ("", *(c[1] for c in columns)), ("track_id", *("" for _ in columns))]
    write_table(folder / "fma_metadata/tracks.csv", [*header, *rows])
    genres = [(10, 5, 0, "Pop", 10), (21, 8, 0, "Hip-Hop", 21)]
    write_table(folder / "fma_metadata/genres.csv", genres, ("genre_id", "#tracks", "parent", "title", "top_level"))
    tones(folder / "fma_small/000", "000002.mp3", "000005.mp3", "000140.mp3")


def musiccaps(folder: Path) -> None:
    header = (
        "ytid", "start_s", "end_s", "audioset_positive_labels", "aspect_list", "caption", "author_id",
        "is_balanced_subset", "is_audioset_eval",
    )  # fmt: skip
    rows = [
        ("-0Gj8-vB1q4", 30, 40, "/m/0140xf,/m/02cjck", "['low quality', \"a woman's voice\"]",
         "A woman sings, softly.", 4, False, True),
        ("-0SdAVK79lg", 30, 40, "/m/0155w", "['guitar']", "A guitar plays\na slow blues.", 0, False, False),
        ("-0vPFx-wRRI", 0, 10, "", "[]", "Drums alone.", 6, True, False),
    ]  # fmt: skip
    write_table(folder / "musiccaps-public.csv", rows, header)
    names = [(0, "/m/0155w", "Blues"), (1, "/m/02cjck", "Lullaby")]
    write_table(folder / "class_labels_indices.csv", names, ("index", "mid", "display_name"))
    tones(folder / "audio", "-0Gj8-vB1q4.wav", "[-0SdAVK79lg]-[30-40].wav", "-0vPFx-wRRI_0.mp3")


def musicqa(folder: Path) -> None:
    def row(name: str, asked: str, said: str) -> dict[str, object]:
        return {"audio_name": name, "conversation": [{"from": "human", "value": asked}, {"from": "gpt", "value": said}]}

    write_json(folder / "FinetuneMusicQA.json", [
        row("000001.wav", "Describe the audio", "A calm piece for flute."),
        row("000001.wav", "What instrument is heard?", "A flute."),
        row("000002.wav", "Is it fast?", "Yes, it is."),
    ])  # fmt: skip
    write_json(folder / "EvalMusicQA.json", [row("000003.wav", "What mood is it?", "A gloomy one.")])
    tones(folder / "audios", "000001.wav", "000002.wav", "000003.wav")


def magnatagatune(folder: Path) -> None:
    header = ("clip_id", "no voice", "singer", "slow beat", "mp3_path")
    rows = [
        ("2", 1, 0, 1, "f/an_artist-an_album-02-a_song-30-59.mp3"),
        ("6", 0, 1, 0, "0/another-album-01-a_song-0-29.mp3"),
        ("10", 0, 0, 0, "c/third-album-01-a_song-0-29.mp3"),
        ("11", 0, 0, 1, "c/third-album-01-a_song-30-59.mp3"),
    ]
    write_table(folder / "annotations_final.csv", rows, header, delimiter="\t")
    header = ("clip_id", "track_number", "title", "artist", "album", "mp3_path")
    facts = [("2", 2, "A Song", "An Artist", "An Album", rows[0][-1])]
    write_table(folder / "clip_info_final.csv", facts, header, delimiter="\t")
    tones(folder, *(str(row[-1]) for row in rows))


_METADATA = """album: An Album
artist: Ann Artist
composer: [Ann Artist]
excerpt: 'no'
genre: Singer/Songwriter
has_bleed: 'no'
instrumental: 'no'
mix_filename: Ann_Song_MIX.wav
origin: Toy
raw_dir: Ann_Song_RAW
stem_dir: Ann_Song_STEMS
stems:
  S01:
    component: melody
    filename: Ann_Song_STEM_01.wav
    instrument: female singer
    raw:
      R01: {filename: Ann_Song_RAW_01_01.wav, instrument: female singer}
  S02:
    component: ''
    filename: Ann_Song_STEM_02.wav
    instrument: [acoustic guitar, tambourine]
    raw:
      R01: {filename: Ann_Song_RAW_02_01.wav, instrument: acoustic guitar}
  S03:
    component: ''
    filename: Ann_Song_STEM_03.wav
    instrument: Unlabeled
    raw: {}
title: Song
version: 1.2
website: []
"""


def medleydb(folder: Path) -> None:
    lines(folder / "Audio/Ann_Song/Ann_Song_METADATA.yaml", *_METADATA.rstrip("\n").split("\n"))
    tones(folder / "Audio/Ann_Song", "Ann_Song_MIX.wav", *(f"Ann_Song_STEMS/Ann_Song_STEM_0{n}.wav" for n in (1, 2, 3)))
    lines(
        folder / "Annotations/Instrument_Activations/SOURCEID/Ann_Song_SOURCEID.lab",
        "start_time,end_time,instrument_label", "0.5,2.25,female singer", "0.0,9.75,acoustic guitar",
    )  # fmt: skip


def playlists(folder: Path) -> None:
    tones(folder, "music/one.wav", "music/two.ogg", "music/a side.flac", "lists/near.wav")
    lines(
        folder / "lists/all.m3u", "#EXTM3U", "#EXTINF:123,Ann Artist - One Song", "../music/one.wav",
        "#EXTINF:-1,Two", "..\\music\\two.ogg", "near.wav", "https://radio.example.org/live", "/elsewhere/three.mp3",
        "../../outside.wav",
    )  # fmt: skip
    lines(
        folder / "some.pls", "[playlist]", "File1=music/one.wav", "Title1=One Song", "Length1=123",
        "File2=music/gone.wav", "Title3=No file", "NumberOfEntries=3", "Version=2",
    )  # fmt: skip
    lines(
        folder / "some.xspf", '<?xml version="1.0" encoding="UTF-8"?>',
        '<playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>',
        "<track><location>music/a%20side.flac</location><title>A &amp; B</title><creator>Ann</creator>"
        "<album>Sides</album><duration>61500</duration></track>",
        "<track><title>Nowhere</title></track>", "</trackList></playlist>",
    )  # fmt: skip
    lines(
        folder / "music/a side.cue", 'PERFORMER "Ann Artist"', 'TITLE "Sides"', 'FILE "a side.flac" WAVE',
        "  TRACK 01 AUDIO", '    TITLE "First"', "    INDEX 01 00:00:00", "  TRACK 02 AUDIO", '    TITLE "Second"',
        '    PERFORMER "Bert"', "    INDEX 00 03:00:10", "    INDEX 01 03:01:15", "  TRACK 03 AUDIO",
    )  # fmt: skip
