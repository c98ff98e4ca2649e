"""What the chat page keeps: edits, long conversations, export and import, thumbs. Without the page."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import assistant_double
import engine_double
import pytest

from alm.audio import load_audio, waveform_to_wav_bytes
from alm.errors import ConfigError, ContextError, ConversationError, RecordError
from alm.testing import tone
from serve.batch.rows import Line, check_row
from serve.chat import cards
from serve.chat.clips import HeardClip, MissingClip
from serve.chat.command import feedback_path, parse_auth
from serve.chat.examples import EXAMPLES, FOLDER
from serve.chat.exchange import Imported, Known, read_conversation, row_of
from serve.chat.feedback import FeedbackFile, entry_of
from serve.chat.keeping import Keeping
from serve.chat.limits import ChatLimits
from serve.chat.models import Models, Offer, Served
from serve.chat.sessions import Session, Sessions
from serve.chat.turns import AnswerOptions, Turn, numbered, turn_at

TAB: Any = SimpleNamespace(session_hash="tab", username=None)


def made(tmp_path: Path, most_turns: int = 1000, **limits: Any) -> Sessions:
    players = tmp_path / "players"
    players.mkdir(exist_ok=True)
    models = engine_double.models(assistant_double.Assistant(most_turns=most_turns))
    return Sessions(models, ChatLimits(**limits), players)


def upload(tmp_path: Path, name: str = "a.wav", seconds: float = 1.0) -> Path:
    path = tmp_path / name
    path.write_bytes(waveform_to_wav_bytes(tone(seconds)))
    return path


def finish(sessions: Sessions, session: Session, turn: Turn, **options: Any) -> Turn:
    for _ in sessions.answer(session, turn, AnswerOptions(**options)):
        pass
    return turn


def ask(sessions: Sessions, session: Session, question: str, *uploads: Path, **options: Any) -> Turn:
    return finish(sessions, session, session.take(question, uploads), **options)


def players(sessions: Sessions) -> int:
    return len(list(sessions.folder.iterdir()))


# --- edit ---


def test_an_edit_keeps_the_recordings_and_drops_what_came_after(tmp_path: Path) -> None:
    sessions = made(tmp_path)
    session = sessions.get("a")
    for number, name in enumerate(("a.wav", "b.wav", "c.wav"), start=1):
        ask(sessions, session, f"Q{number}", upload(tmp_path, name, float(number)))
    turn = finish(sessions, session, session.edit(session.turns[1], " Q2 again "))
    assert [t.question for t in session.turns] == ["Q1", "Q2 again"] and players(sessions) == 2
    assert turn.answer == "Turn 2: I was given 2.00 s. You asked: Q2 again"
    assert turn.notes == ["1 later question went with the edit."]
    assert len(session.history()) == 4
    assert finish(sessions, session, session.edit(turn, "Last")).notes == []


@pytest.mark.parametrize(("text", "message"), [(" ", "empty"), ("x" * 5000, "5000 characters")])
def test_a_refused_edit_changes_nothing(text: str, message: str, tmp_path: Path) -> None:
    sessions = made(tmp_path)
    session = sessions.get("a")
    ask(sessions, session, "Q1")
    ask(sessions, session, "Q2")
    with pytest.raises(ConversationError, match=message):
        session.edit(session.turns[0], text)
    assert [t.question for t in session.turns] == ["Q1", "Q2"] and len(session.history()) == 4


def test_bubbles_are_found_by_their_place() -> None:
    turns = [Turn("a", [], "x", "stop"), Turn("b", []), Turn("c", [], "z", "stop")]
    assert [turn_at(turns, place) for place in range(6)] == [turns[0], turns[0], turns[1], turns[2], turns[2], None]
    assert turn_at(turns, -1) is None and turn_at(turns, (0, 1)) is None
    assert len(cards.chat_messages(turns)) == 5, "control: one bubble for each place"


# --- context ---


def test_the_oldest_turns_are_left_out_and_named(tmp_path: Path) -> None:
    sessions = made(tmp_path, most_turns=2)
    session = sessions.get("a")
    ask(sessions, session, "Q1", upload(tmp_path))
    ask(sessions, session, "Q2", upload(tmp_path, "b.wav", 2.0))
    turn = ask(sessions, session, "Q3", upload(tmp_path, "c.wav", 3.0))
    assert turn.answer == "Turn 2: I was given 3.00 s. You asked: Q3"
    assert "no longer reads the oldest 1 question and 1 recording." in turn.notes[0]
    assert [number for _, _, number in numbered(session.turns)] == [None, 1, 2], "as the model counts them"
    assert [m["content"][-1]["text"] for m in session.history()[::2]] == ["Q2", "Q3"]
    assert session.undo() is turn and session.undo() is not None and session.undo() is not None
    assert session.history() == []


def test_a_question_that_is_too_long_by_itself_costs_no_memory(tmp_path: Path) -> None:
    sessions = made(tmp_path, most_turns=2)
    session = sessions.get("a")
    ask(sessions, session, "Q1")
    engine_double.engine_of(sessions.models).assistant.most_turns = 0
    with pytest.raises(ContextError):
        ask(sessions, session, "Q2")
    engine_double.engine_of(sessions.models).assistant.most_turns = 2
    assert not session.turns[0].forgotten
    assert ask(sessions, session, "Q3").answer.startswith("Turn 2")


# --- export and import ---


def conversation(tmp_path: Path) -> tuple[Sessions, Session]:
    sessions = made(tmp_path)
    session = sessions.get("a")
    ask(sessions, session, "Type <audio> here", upload(tmp_path), upload(tmp_path, "b.wav", 2.0))
    ask(sessions, session, "And?\nMore.")
    return sessions, session


def read_back(tmp_path: Path, row: Any, known: dict[str, Known] | None = None, **limits: Any) -> Imported:
    file = tmp_path / "chat.json"
    file.write_text(row if isinstance(row, str) else json.dumps(row))
    folder = tmp_path / "imported"
    folder.mkdir(exist_ok=True)
    return read_conversation(file, known or {}, folder, ChatLimits(**limits))


def known_of(session: Session) -> dict[str, Known]:
    return {clip.waveform.sha256: Known(clip.waveform, clip.upload) for clip in session.clips}


def test_an_export_is_a_row_of_a_batch(tmp_path: Path) -> None:
    _, session = conversation(tmp_path)
    row = row_of(session.turns, session.id, "Be brief.")
    checked = check_row(Line(1, row["id"], row), tmp_path)
    assert checked.audios == (tmp_path / "a.wav", tmp_path / "b.wav")
    assert checked.messages[-1]["content"] == "And?\nMore."
    assert row["sha256"] == [load_audio(path).sha256 for path in checked.audios]
    assert row["messages"][0] == {"role": "system", "content": "Be brief."}


def test_what_was_exported_is_imported(tmp_path: Path) -> None:
    _, session = conversation(tmp_path)
    imported = read_back(tmp_path, row_of(session.turns, session.id, "Be brief."), known_of(session))
    assert [(t.question, t.answer) for t in imported.turns] == [(t.question, t.answer) for t in session.turns]
    assert [len(t.clips) for t in imported.turns] == [2, 0] and not imported.missing
    assert imported.system == "Be brief." and imported.open_question == ""
    assert [t.model for t in imported.turns] == ["double", "double"]


def test_missing_recordings_are_named_and_put_back(tmp_path: Path) -> None:
    sessions, session = conversation(tmp_path)
    known = known_of(session)
    gone = session.clips[0].waveform.sha256
    imported = read_back(tmp_path, row_of(session.turns, session.id), {h: k for h, k in known.items() if h != gone})
    assert imported.missing == [MissingClip("a.wav", gone)] and "a.wav" in cards.missing_text(imported.missing)
    session.replace(imported.turns)
    assert players(sessions) == 0, "the players of what was there before are gone"
    assert [number for _, _, number in numbered(session.turns)] == [None, 1]
    other = ask(sessions, session, "Another", upload(tmp_path, "c.wav", 3.0))
    assert other.answer.startswith("Turn 3: I was given 3.00 s.") and session.turns[0].missing
    back = ask(sessions, session, "Back", upload(tmp_path, "renamed.wav", 1.0))
    assert back.answer.startswith("Turn 4: I was given no new recording") and not session.turns[0].missing
    assert back.notes == ["renamed.wav is back in its place."]
    assert all(isinstance(clip, HeardClip) and clip.evidence for clip in session.clips)


def test_an_open_question_goes_into_the_box(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "<audio>\nA"}, {"role": "assistant", "content": "B"}]
    row = {"id": 7, "messages": [*messages, {"role": "user", "content": "Next?"}], "audios": ["x.wav"]}
    imported = read_back(tmp_path, row)
    assert imported.open_question == "Next?" and [t.question for t in imported.turns] == ["A"]
    assert imported.missing == [MissingClip("x.wav", "")], "a row without hashes"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("[" * 100_000, "no JSON"),
        ("null", "a NoneType"),
        ({"id": 1, "messages": []}, "'messages' is"),
        ({"id": 1, "messages": [{"role": "user", "content": "<audio>"}], "audios": []}, "1 <audio>"),
        ({"id": 1, "messages": [{"role": "user", "content": "x"}], "audios": ["a"], "sha256": [1]}, "list of 1 texts"),
        ({"id": 1, "messages": [{"role": "user", "content": "x"}], "models": ["m"]}, "list of 0 texts"),
        ({"id": 1, "messages": [{"role": "user", "content": "x"}], "audios": ["a"] * 13}, "13 recordings; the limit"),
        ({"id": 1, "messages": [{"role": "user", "content": "x" * 2**20}]}, "larger than 1 MB"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_files_that_cannot_be_imported(row: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        read_back(tmp_path, row)
    assert str(caught.value).startswith("chat.json: ") and str(tmp_path) not in str(caught.value)


def test_an_import_asks_for_no_recording_of_another_person(tmp_path: Path) -> None:
    sessions, session = conversation(tmp_path)
    file = tmp_path / "chat.json"
    file.write_text(json.dumps(row_of(session.turns, session.id)))
    keeping = Keeping(sessions, None)
    shown = keeping.on_import(str(file), {"text": "", "files": []}, TAB)
    assert "Not here any more: a.wav, b.wav" in shown[3] and sessions.get("/tab").clips == []
    attached = {"text": "Mine", "files": [str(tmp_path / "a.wav"), str(upload(tmp_path, "other.wav", 3.0))]}
    shown = keeping.on_import(str(file), attached, TAB)
    assert [clip.waveform.source for clip in sessions.get("/tab").clips] == ["a.wav"]
    assert shown[0] == {"text": "Mine", "files": [str(tmp_path / "other.wav")]}


# --- thumbs ---


def test_a_thumb_is_a_line_with_hashes_and_settings(tmp_path: Path) -> None:
    _, session = conversation(tmp_path)
    file = FeedbackFile(tmp_path / "deep" / "feedback.jsonl")
    session.turns[0].rating = "up"
    file.append(entry_of(session, session.turns[0], engine_double.offer(), " good " + "x" * 2000))
    (line,) = file.path.read_text().splitlines()
    entry = json.loads(line)
    assert entry["rating"] == "up" and entry["reason"].startswith("good") and len(entry["reason"]) == 1000
    assert entry["sha256"] == [clip.waveform.sha256 for clip in session.clips]
    assert [m["role"] for m in entry["messages"]] == ["user", "assistant"], "up to the answer, not after"
    assert entry["settings"]["max_new_tokens"] == 256 and entry["usage"]["new_tokens"] and entry["preset"] == "double"
    assert entry["model"] == "double" and entry["settings"]["temperature"] == 0.0
    assert "a.wav" not in line, "no names of files"
    assert file.path.stat().st_mode & 0o077 == 0, "for the owner alone"


def test_entries_are_bounded(tmp_path: Path) -> None:
    file = FeedbackFile(tmp_path / "f.jsonl", max_entry_bytes=4096)
    messages = [{"role": "user", "content": str(number) * 900} for number in range(9)]
    file.append({"messages": messages})
    file.append({"messages": [{"role": "user", "content": "\u20ac" * 9000}]})
    file.append({"messages": messages[:1]})
    many, long, short = map(json.loads, file.path.read_text().splitlines())
    assert many["messages_left_out"] == 5 and [m["content"][0] for m in many["messages"]] == list("5678")
    assert len(long["messages"][0]["content"]) < 600 and "messages_left_out" not in short
    assert all(len(line) <= 4096 for line in file.path.read_bytes().splitlines(keepends=True))


def test_a_full_file_takes_no_more(tmp_path: Path) -> None:
    file = FeedbackFile(tmp_path / "f.jsonl", max_file_bytes=150)
    file.append({"messages": [{"role": "user", "content": "x" * 60}]})
    size = file.path.stat().st_size
    with pytest.raises(ConfigError, match="feedback could not be kept"):
        file.append({"messages": [{"role": "user", "content": "x" * 60}]})
    assert file.path.stat().st_size == size
    (tmp_path / "folder").write_text("")
    with pytest.raises(ConfigError, match="feedback could not be kept"):
        FeedbackFile(tmp_path / "folder" / "f.jsonl").append({"messages": []})


def test_two_people_write_whole_lines(tmp_path: Path) -> None:
    file = FeedbackFile(tmp_path / "f.jsonl")

    def write(name: str) -> None:
        for _ in range(25):
            file.append({"messages": [{"role": "user", "content": name * 2000}]})

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    kept = [json.loads(line)["messages"][0]["content"] for line in file.path.read_text().splitlines()]
    assert sorted(kept) == ["a" * 2000] * 25 + ["b" * 2000] * 25


def test_where_thumbs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALM_HOME", str(tmp_path))
    assert feedback_path("off") is None and feedback_path(None) == tmp_path / "feedback.jsonl"
    assert feedback_path(str(tmp_path / "x.jsonl")) == tmp_path / "x.jsonl"
    with pytest.raises(ConfigError, match="is a folder"):
        feedback_path(str(tmp_path))


def test_a_public_link_without_password_is_remarked(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_auth(None, "127.0.0.1") is None and capsys.readouterr().err == ""
    parse_auth(None, "127.0.0.1", share=True)
    assert "everybody who knows it" in capsys.readouterr().err


# --- examples ---


def test_examples_are_small_licensed_recordings() -> None:
    licences = (FOLDER / "LICENCES.md").read_text()
    names = {name for example in EXAMPLES for name in example.files}
    assert names == {path.name for path in FOLDER.glob("*.ogg")}
    for name in names:
        assert f"`{name}`" in licences and (FOLDER / name).stat().st_size < 150_000
        assert 1.0 < load_audio(FOLDER / name).seconds < 15.0


# --- with the real model ---


@pytest.fixture(scope="module")
def real(weights: Any) -> Iterator[Models]:
    from alm import load
    from serve.engines.transformers import TransformersEngine

    models = Models([Offer.of("tiny")], lambda _: Served(made := load("tiny"), TransformersEngine(made, 4)))
    yield models
    models.close()


def really(models: Models, tmp_path: Path) -> tuple[Sessions, Session]:
    players_folder = tmp_path / "players"
    players_folder.mkdir()
    sessions = Sessions(models, ChatLimits(), players_folder)
    return sessions, sessions.get("a")


@pytest.mark.weights
@pytest.mark.slow
def test_a_second_turn_reads_only_what_is_new(tmp_path: Path, real: Models) -> None:
    sessions, session = really(real, tmp_path)
    first = ask(sessions, session, "What do you hear?", *EXAMPLES[0].paths, max_new_tokens=12)
    second = ask(sessions, session, "And what else?", max_new_tokens=12)
    assert first.usage is not None and second.usage is not None
    assert second.usage.encoded_recordings == 0
    assert second.usage.reused_tokens >= first.usage.prompt_tokens
    other = sessions.get("b")
    stranger = ask(sessions, other, "What do you hear?", *EXAMPLES[1].paths, max_new_tokens=4)
    assert stranger.usage is not None and stranger.usage.reused_tokens < first.usage.prompt_tokens / 2, "control"


@pytest.mark.weights
@pytest.mark.slow
def test_the_real_conversation_is_edited_told_anew_and_cut(tmp_path: Path, real: Models) -> None:
    sessions, session = really(real, tmp_path)
    assistant = real.get("tiny").assistant
    short: dict[str, Any] = {"max_new_tokens": 12}
    first = ask(sessions, session, "What do you hear?", *EXAMPLES[0].paths, **short)
    ask(sessions, session, "And what else?", **short)
    edited = finish(sessions, session, session.edit(first, "Is there a bird?"), **short)
    assert edited.answer and len(session.turns) == 1 and len(session.history()) == 2
    imported = read_back(tmp_path, row_of(session.turns, session.id), known_of(session))
    session.replace(imported.turns)
    told = ask(sessions, session, "And rain?", *EXAMPLES[1].paths, **short)
    assert told.usage is not None and len(session.history()) == 4
    full, whole = told.usage.prompt_tokens, assistant.preset_config
    assistant.preset_config = replace(whole, context_tokens=full - 20)
    again = session.take_again()
    assert again is not None
    cut = finish(sessions, session, again, **short)
    assistant.preset_config = whole
    assert cut.usage is not None and cut.usage.prompt_tokens < full and session.turns[0].forgotten
    assert "no longer reads the oldest 1 question and 1 recording" in cut.notes[0]
