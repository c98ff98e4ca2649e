"""Conversations of the chat page without the page: limits, stop, retry, undo, bad files, two people, clean-up."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import assistant_double
import engine_double
import numpy as np
import pytest
import soundfile as sf

from alm import long_audio
from alm.audio import Waveform, load_audio, waveform_to_wav_bytes
from alm.errors import AudioError, ConfigError, ConversationError
from alm.long_audio import LongRecording, open_audio
from alm.testing import click_train, noise, silence, sweep, tone
from serve.chat import cards, clips, pictures
from serve.chat.limits import ChatLimits
from serve.chat.sessions import Session, Sessions
from serve.chat.turns import AnswerOptions, Turn
from serve.engines.jobs import QueueFullError

OPTIONS = AnswerOptions()


def made(tmp_path: Path, delay: float = 0.0, engine: dict[str, Any] | None = None, **limits: Any) -> Sessions:
    players = tmp_path / "players"
    players.mkdir(exist_ok=True)
    models = engine_double.models(assistant_double.Assistant(delay), **(engine or {}))
    return Sessions(models, ChatLimits(**limits), players)


def upload(tmp_path: Path, name: str = "a.wav", seconds: float = 1.0) -> Path:
    path = tmp_path / name
    path.write_bytes(waveform_to_wav_bytes(tone(seconds)))
    return path


def ask(sessions: Sessions, session: Session, question: str, *uploads: Path, options: AnswerOptions = OPTIONS) -> Turn:
    turn = session.take(question, uploads)
    for _ in sessions.answer(session, turn, options):
        pass
    return turn


def players(sessions: Sessions) -> int:
    return len(list(sessions.folder.iterdir()))


# --- turns ---


def test_turns_recordings_and_what_the_browser_plays(tmp_path: Path) -> None:
    sessions = made(tmp_path)
    session = sessions.get("a")
    first = ask(sessions, session, " What? ", upload(tmp_path), upload(tmp_path, "b.wav", 2.0))
    second = ask(sessions, session, "And?")
    assert first.answer == "Turn 1: I was given 1.00 s and 2.00 s. You asked: What?"
    assert second.answer.startswith("Turn 2: I was given no new") and second.state == "stop"
    assert [clip.waveform.source for clip in session.clips] == ["a.wav", "b.wav"] and session.seconds == 3.0
    samples, rate = sf.read(session.clips[1].player)
    assert rate == 16_000 and len(samples) == 32_000
    assert np.abs(samples - session.clips[1].waveform.samples).max() < 2 / 32_768
    assert first.clips[0].evidence is not None and not session.busy


@pytest.mark.parametrize(("rate", "played"), [(1_000, 8_000), (44_100, 44_100), (192_000, 48_000)])
def test_players_get_a_rate_that_browsers_know(rate: int, played: int, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(waveform_to_wav_bytes(tone(0.5, frequency_hz=200, rate=rate)))
    turn = made(tmp_path).get("a").take("What?", [path])
    assert sf.info(turn.clips[0].player).samplerate == played
    assert turn.clips[0].waveform.rate == rate, "the model hears the recording itself"


def test_evidence_can_be_switched_off(tmp_path: Path) -> None:
    sessions = made(tmp_path)
    session = sessions.get("a")
    turn = ask(sessions, session, "What?", upload(tmp_path), options=AnswerOptions(evidence=False))
    assert turn.clips[0].evidence is None
    assert engine_double.engine_of(sessions.models).jobs[-1].evidence is False
    assert "evidence is off" in cards.recordings_panel(session.turns)
    again = ask(sessions, session, "What?", upload(tmp_path), options=AnswerOptions(evidence=True))
    assert again.clips[0].evidence is not None


def test_stop_keeps_what_was_said(tmp_path: Path) -> None:
    sessions = made(tmp_path, delay=0.01)
    session = sessions.get("a")
    turn = session.take("a long one", [])
    told = []
    for so_far in sessions.answer(session, turn, OPTIONS):
        told.append(so_far)
        if "word3" in so_far:
            session.stop()
    assert turn.state == "cancelled" and "word3" in turn.answer and "word99" not in turn.answer
    assert turn.answer == told[-1], "nothing is lost of what was said, and nothing is added"
    assert "(stopped)" in cards.chat_messages(session.turns)[-1]["content"]
    assert ask(sessions, session, "And now?").answer.startswith("Turn 2"), "the conversation goes on"


def test_stop_before_the_first_word_takes_the_question_back(tmp_path: Path) -> None:
    sessions = made(tmp_path)
    session = sessions.get("a")
    turn = session.take("What?", [upload(tmp_path)])
    session.stop()
    assert list(sessions.answer(session, turn, OPTIONS)) == []
    assert session.turns == [] and session.history() == [] and players(sessions) == 0
    assert ask(sessions, session, "What?", upload(tmp_path)).answer.startswith("Turn 1: I was given 1.00 s")


def test_a_closed_stream_ends_the_answer(tmp_path: Path) -> None:
    """The browser went away: Gradio closes the generator."""
    sessions = made(tmp_path)
    session = sessions.get("a")
    turn = session.take("a long one", [])
    answer = sessions.answer(session, turn, OPTIONS)
    next(answer)
    answer.close()
    assert not session.busy and turn.state == "cancelled"
    other = sessions.get("b")
    assert ask(sessions, other, "Hello").answer.startswith("Turn 1"), "the model is free again"


def test_retry_and_undo(tmp_path: Path) -> None:
    sessions = made(tmp_path)
    session = sessions.get("a")
    ask(sessions, session, "First", upload(tmp_path))
    ask(sessions, session, "Second", upload(tmp_path, "b.wav"))
    again = session.take_again()
    assert again is not None
    for _ in sessions.answer(session, again, OPTIONS):
        assert session.take_again() is None and session.undo() is None, "not while it answers"
        with pytest.raises(ConversationError, match="not finished"):
            session.take("Third", [])
    assert [turn.question for turn in session.turns] == ["First", "Second"]
    assert again.answer.startswith("Turn 2: I was given 1.00 s") and len(session.history()) == 4
    taken = session.undo()
    assert taken is not None and taken.question == "Second" and taken.clips[0].upload.name == "b.wav"
    assert len(session.history()) == 2 and players(sessions) == 1
    assert session.undo() is not None and session.undo() is None and session.history() == []


# --- bad input ---


def test_every_bad_file_gets_its_line_and_nothing_changes(tmp_path: Path) -> None:
    sessions = made(tmp_path, max_file_megabytes=1)
    session = sessions.get("a")
    text, large, empty = tmp_path / "notes.wav", tmp_path / "large.wav", tmp_path / "empty.mp3"
    text.write_text("hello")
    large.write_bytes(waveform_to_wav_bytes(noise(40.0)))
    empty.touch()
    with pytest.raises(ConversationError) as caught:
        session.take("What?", [upload(tmp_path), text, large, empty])
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["notes.wav", "large.wav", "empty.mp3"]
    assert str(tmp_path) not in str(caught.value), "no path of the server"
    assert session.turns == [] and players(sessions) == 0 and not session.busy


@pytest.mark.parametrize(
    ("question", "seconds", "message"),
    [
        ("  ", [1], "empty"),
        ("x" * 101, [1], "101 characters; the limit is 100"),
        ("What?", [1, 1, 1], "3 recordings at once; the limit for one question is 2"),
        ("What?", [8], r"the limit is 7"),
        ("What?", [4, 4], "more than 7 s"),
    ],
)
def test_limits_of_a_question(question: str, seconds: list[float], message: str, tmp_path: Path) -> None:
    sessions = made(tmp_path, max_question_characters=100, max_recordings_per_turn=2, max_seconds=7.0)
    session = sessions.get("a")
    with pytest.raises(ConversationError, match=message):
        session.take(question, [upload(tmp_path, f"{i}.wav", s) for i, s in enumerate(seconds)])
    assert players(sessions) == 0 and ask(sessions, session, "What?", upload(tmp_path, "ok.wav", 1.0)).answer


def test_a_long_recording_stays_a_file_and_is_played_shown_and_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = noise(5.3, rate=44_100)
    path = tmp_path / "talk.wav"
    path.write_bytes(waveform_to_wav_bytes(held))
    held = load_audio(path)
    monkeypatch.setattr(long_audio, "HELD_BYTES", 100_000)
    monkeypatch.setattr(clips, "_BLOCK_SECONDS", 0.7)
    monkeypatch.setattr(pictures, "_BLOCK_FRAMES", 50)
    sessions = made(tmp_path)
    session = sessions.get("a")
    turn = session.take("What?", [path])
    own, stays = turn.clips[0], open_audio(path)
    path.unlink()  # uploads expire
    assert isinstance(own.waveform, LongRecording) and own.waveform == held and own.waveform.source == "talk.wav"
    for _ in sessions.answer(session, turn, OPTIONS):
        pass
    assert turn.answer.startswith("Turn 1: I was given 5.30 s") and np.array_equal(
        own.waveform.segment(4.9, 5.1).samples, held.segment(4.9, 5.1).samples
    )
    with pytest.raises(AudioError):  # control: without a copy of its own
        stays.segment(4.9, 5.1)
    played, rate = sf.read(own.player)
    assert rate == 16_000 and abs(len(played) - len(held.resampled(rate))) <= 1
    shown = min(len(played), len(held.resampled(rate)))
    assert np.abs(played[:shown] - held.resampled(rate)[:shown].clip(-1, 1)).max() < 2 / 32_768
    assert np.allclose(pictures.mel_levels(own.waveform, 16_000.0), pictures.mel_levels(held, 16_000.0))
    monkeypatch.setattr(pictures, "_BLOCK_FRAMES", 2048)
    assert np.allclose(pictures.mel_levels(own.waveform, 16_000.0), pictures.mel_levels(held, 16_000.0))
    assert pictures.outline(own.waveform) == pictures.outline(held)
    assert session.held_bytes == sum(p.stat().st_size for p in sessions.folder.iterdir()) > 0
    assert session.undo() is turn and players(sessions) == 0


def test_limit_of_recordings_in_a_conversation(tmp_path: Path) -> None:
    sessions = made(tmp_path, max_recordings=2)
    session = sessions.get("a")
    ask(sessions, session, "What?", upload(tmp_path), upload(tmp_path, "b.wav"))
    with pytest.raises(ConversationError, match=r"3 recordings; the limit is 2\. Clear"):
        session.take("What?", [upload(tmp_path)])
    assert ask(sessions, session, "Without one?").answer


@pytest.mark.parametrize(("question", "kind"), [("too much", ConversationError), ("explode", RuntimeError)])
def test_a_failed_answer_takes_the_question_back(question: str, kind: type[Exception], tmp_path: Path) -> None:
    sessions = made(tmp_path)
    session = sessions.get("a")
    ask(sessions, session, "First")
    with pytest.raises(kind):
        ask(sessions, session, question, upload(tmp_path))
    assert len(session.turns) == 1 and players(sessions) == 0 and not session.busy
    assert ask(sessions, session, "Third").answer.startswith("Turn 2")


@pytest.mark.parametrize("name", ["max_recordings", "max_queue", "max_idle_minutes"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0"):
        ChatLimits(**{name: 0})  # type: ignore[arg-type]


# --- several people ---


def talks(sessions: Sessions) -> tuple[dict[str, list[str]], list[str]]:
    """Answers and failures of two people who ask at the same time, long and short questions."""
    answers: dict[str, list[str]] = {"a": [], "b": []}
    failures: list[str] = []
    ready = threading.Barrier(2)

    def talk(key: str, seconds: float) -> None:
        for number in range(3):
            ready.wait(30)
            try:
                ask(sessions, sessions.get(key), "please explode")
            except RuntimeError:
                failures.append(key)
            file = upload(sessions.folder.parent, f"{key}{number}.wav", seconds)
            answers[key].append(ask(sessions, sessions.get(key), f"{key}{number}", file).answer)

    threads = [threading.Thread(target=talk, args=pair) for pair in (("a", 1.0), ("b", 2.0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers, sorted(failures)


def expected(key: str, seconds: str) -> list[str]:
    return [f"Turn {i + 1}: I was given {seconds} s. You asked: {key}{i}" for i in range(3)]


def test_two_people_at_once_do_not_mix(tmp_path: Path) -> None:
    sessions = made(tmp_path, delay=0.02)
    answers, failures = talks(sessions)
    assert answers == {"a": expected("a", "1.00"), "b": expected("b", "2.00")}
    assert failures == ["a"] * 3 + ["b"] * 3
    assert engine_double.engine_of(sessions.models).most_at_once == 2, "they share steps"


def test_an_engine_that_mixes_is_seen(tmp_path: Path) -> None:
    """Control of the test before."""
    answers, _ = talks(made(tmp_path, delay=0.02, engine={"mixes": True}))
    assert answers != {"a": expected("a", "1.00"), "b": expected("b", "2.00")}


@pytest.mark.parametrize(("rows", "first"), [(2, "b"), (1, "a")], ids=["two rows", "control: one row"])
def test_a_long_answer_does_not_hold_up_another(rows: int, first: str, tmp_path: Path) -> None:
    sessions = made(tmp_path, delay=0.002, engine={"rows": rows})
    done: list[str] = []
    slow = sessions.get("a")
    running = sessions.answer(slow, slow.take("a long one", []), OPTIONS)
    next(running)

    def finish() -> None:
        for _ in running:
            pass
        done.append("a")

    reader = threading.Thread(target=finish)
    reader.start()
    ask(sessions, sessions.get("b"), "Short")
    done.append("b")
    reader.join(60)
    assert done[0] == first and sorted(done) == ["a", "b"]


def test_who_waits_can_stop_waiting(tmp_path: Path) -> None:
    sessions = made(tmp_path, delay=0.05, engine={"rows": 1})
    slow, waiting = sessions.get("a"), sessions.get("b")
    running = sessions.answer(slow, slow.take("a long one", []), OPTIONS)
    next(running)
    turn = waiting.take("What?", [])
    threading.Timer(0.1, waiting.stop).start()
    assert list(sessions.answer(waiting, turn, OPTIONS)) == []
    assert waiting.turns == [] and not waiting.busy
    assert engine_double.engine_of(sessions.models).state().running == 1, "at once: the other is still answered"
    running.close()


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    sessions = made(tmp_path, delay=0.01, engine={"rows": 1, "most_waiting": 1})
    engine = engine_double.engine_of(sessions.models)
    slow, waiting, late = map(sessions.get, "abc")
    running = sessions.answer(slow, slow.take("a long one", []), OPTIONS)
    next(running)
    held = sessions.answer(waiting, waiting.take("a long one", []), OPTIONS)
    reader = threading.Thread(target=list, args=[held])
    reader.start()
    while not engine.state().waiting:
        time.sleep(0.01)
    with pytest.raises(QueueFullError) as caught:
        ask(sessions, late, "What?", upload(tmp_path))
    assert caught.value.seconds == 20.0 and late.turns == [] and not late.busy and players(sessions) == 0
    waiting.stop()
    reader.join(30)
    running.close()
    assert ask(sessions, late, "What?").answer.startswith("Turn 1"), "the place is free again"


def test_another_try_draws_anew(tmp_path: Path) -> None:
    sessions = made(tmp_path)
    session = sessions.get("a")
    for temperature in (0.7, 0.7, 0.0):
        ask(sessions, session, "Say", options=AnswerOptions(temperature=temperature))
    seeds = [job.sampling.seed for job in engine_double.engine_of(sessions.models).jobs]
    assert seeds[0] != seeds[1] and seeds[2] == 0


def test_an_answer_is_given_by_the_model_that_was_chosen(tmp_path: Path) -> None:
    sessions = made(tmp_path, engine={"offers": ("double", "other")})
    session = sessions.get("a")
    assert ask(sessions, session, "First").model == "double" and not sessions.models.is_loaded("other")
    turn = session.take("Second", [])
    told = list(sessions.answer(session, turn, AnswerOptions(model="other")))
    assert turn.model == "other" and told[0] == "", "a word before it is loaded"
    jobs = engine_double.engine_of(sessions.models, "other").jobs
    assert len(jobs) == 1 and len(jobs[0].messages) == 3, "it reads what the first one said"
    with pytest.raises(ConfigError, match="no model <x> is offered"):
        ask(sessions, session, "Third", options=AnswerOptions(model="<x>"))
    assert len(session.turns) == 2 and not session.busy


def test_the_oldest_conversation_makes_room(tmp_path: Path) -> None:
    sessions = made(tmp_path, max_conversations=2)
    ask(sessions, sessions.get("a"), "What?", upload(tmp_path))
    sessions.get("b")
    sessions.get("a")
    sessions.get("c")
    assert sessions.find("b") is None and sessions.find("a") is not None
    assert sessions.was_dropped("b") and not sessions.was_dropped("b"), "told once"
    sessions.get("b")
    assert sessions.find("a") is None and players(sessions) == 0, "its players are deleted, too"
    running = [sessions.answer(s, s.take("a long one", []), OPTIONS) for s in map(sessions.get, "bc")]
    for answer in running:
        next(answer)
    with pytest.raises(ConversationError, match="all 2 places"):
        sessions.get("d")
    for answer in running:
        answer.close()
    assert sessions.get("d"), "control"


def test_a_question_whose_answer_was_never_begun_does_not_block(tmp_path: Path) -> None:
    """The queue was full, or the browser went away between the two events."""
    sessions = made(tmp_path, max_conversations=1)
    session = sessions.get("a")
    session.take("Lost", [upload(tmp_path)])
    session.take("Asked again", [upload(tmp_path)])
    assert [turn.question for turn in session.turns] == ["Asked again"] and players(sessions) == 1
    assert sessions.get("b") is not session, "it makes room, too"


def test_idle_and_heavy_conversations_go(tmp_path: Path) -> None:
    sessions = made(tmp_path, max_idle_minutes=1.0, max_held_megabytes=1)
    ask(sessions, sessions.get("a"), "What?", upload(tmp_path, "a.wav", 10.0))
    sessions.get("b")
    assert sessions.find("a") is not None
    sessions.get("a").used -= 61
    sessions.get("b")
    assert sessions.find("a") is None
    for key in "cd":
        ask(sessions, sessions.get(key), "What?", upload(tmp_path, f"{key}.wav", 10.0))
    sessions.get("d")
    assert sessions.find("c") is None and sessions.find("d") is not None
    sessions.close_all()
    assert len(sessions) == 0 and players(sessions) == 0


# --- what is shown ---


def test_text_of_people_is_shown_as_it_is() -> None:
    text = "*a* <b> [x](y) ![i](http://e/x.png) `c`\n    1. # $$z$$ &amp; \x1b[0m"
    shown = cards.literal(text)
    assert "\\*a\\*" in shown and "\\<b\\>" in shown and "!\\[" not in shown.replace("\\!\\[", "")
    assert shown.splitlines()[1].startswith("\u00a0" * 4 + "1\\.") and "\x1b" not in shown


def test_answers_keep_markdown_but_no_html_and_no_pictures() -> None:
    shown = cards.harmless("**bold** <img src=x> ![p](http://e/x.png) `a < b` ```\n<x>\n```")
    assert "**bold**" in shown and "<img" not in shown and "![p]" not in shown
    assert "`a < b`" in shown and "<x>" in shown, "code is shown as it is"


def test_cards_escape_names_tags_and_transcripts(tmp_path: Path) -> None:
    sessions = made(tmp_path)
    session = sessions.get("a")
    ask(sessions, session, "What?", upload(tmp_path, 'x"><script>alert(1)<.wav'))
    html = cards.recordings_panel(session.turns)
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "<b>heavy" not in html and "<i>Who" not in html and "rain &lt;b&gt;heavy" in html
    assert html.count("data-seek=") == 3 + 2 + 3 + 2, "bars and lists of 3 events and 2 pieces of speech"
    session.clips[0].evidence = None
    assert "Listening" in cards.recordings_panel(session.turns, True)


def test_status_escapes_and_says_how_urgent() -> None:
    assert 'role="alert"' in cards.status("<x>\ny", problem=True) and "&lt;x&gt;<br>y" in cards.status("<x>\ny")


def band_of(waveform: Waveform, column: int) -> int:
    levels = pictures.mel_levels(waveform, waveform.rate / 2)
    return int(levels[:, column * (levels.shape[1] - 1) // 100].argmax())


def test_spectrogram_shows_where_the_sound_is() -> None:
    rising = sweep(3.0, 200.0, 6_000.0)
    assert band_of(rising, 10) < band_of(rising, 50) < band_of(rising, 90)
    edges = pictures.hertz(np.linspace(pictures.mel(40.0), pictures.mel(8_000.0), pictures.BANDS + 2))
    for hertz in (300.0, 1_000.0, 4_000.0):
        found = edges[band_of(tone(1.0, frequency_hz=hertz), 50) + 1]
        assert abs(found - hertz) < 0.06 * hertz + 20
    clicks = pictures.mel_levels(click_train(2.0, 2.0), 8_000.0).max(axis=0)
    loud = clicks > clicks.max() - 20
    assert np.count_nonzero(np.diff(loud.astype(int)) == 1) in (3, 4), "four clicks"


@pytest.mark.parametrize(
    "waveform", [silence(), tone(0.0001), noise(0.3, rate=1_000), noise(1.0, rate=192_000), tone(61.0)], ids=repr
)
def test_pictures_of_any_recording(waveform: Waveform) -> None:
    picture = pictures.spectrogram(waveform)
    assert picture.png.startswith(b"\x89PNG") and all(0 <= height <= 1.0001 for height, _ in picture.ticks)
    points = pictures.outline(waveform)
    assert 1 <= len(points) <= 320 and all(-1.0001 <= low <= high <= 1.0001 for low, high in points)
    blocks = pictures.mel_levels(waveform, waveform.rate / 2)
    assert blocks.shape[0] == pictures.BANDS and np.isfinite(blocks).all()
