"""Asking: conditions, recordings of any length, keys, resume, shards, errors; with a model that follows a script."""

from __future__ import annotations

from pathlib import Path

import harness_helpers as toys
import pytest
from harness_helpers import ScriptModel, toy, toy_run

from alm.errors import AudioError, ConfigError, RecordError
from eval.harness.answers import Answered
from eval.harness.asking import Asking, answer_key
from eval.harness.conditions import CONDITIONS, chosen_conditions, shuffled, without_audio
from eval.harness.generate import ERRORS_IN_A_ROW, GenerateError, Outcome, Part, generate
from eval.harness.items import Clip, Item, Message
from eval.harness.recordings import Opener, TooLongError, check_files
from eval.harness.runs import Run, read_run
from eval.harness.store import StageWriter, records

# --- conditions ---


def test_text_only_has_neither_recordings_nor_their_marks(tmp_path: Path) -> None:
    before = toy(tmp_path).items
    after = without_audio(before)
    assert [i.id for i in after] == [i.id for i in before] and not any(i.audios for i in after)
    assert all(i.messages[-1].content.startswith("Which animal?") for i in after)
    assert all(a.want == b.want for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize(("count", "clips"), [(12, 4), (13, 4), (5, 5), (7, 2)])
def test_shuffled_gives_every_item_the_recording_of_another_group(tmp_path: Path, count: int, clips: int) -> None:
    before = toy(tmp_path, count, clips).items
    after = shuffled(before)
    assert all(a.audios[0].path != b.audios[0].path for a, b in zip(after, before, strict=True))
    assert [a.want for a in after] == [b.want for b in before]
    backwards = {i.id: i for i in shuffled(before[::-1])}
    assert all(backwards[i.id] == i for i in after), "the order of the items does not matter"


def test_items_that_share_a_recording_are_one_group(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    made = [i.model_copy(update={"group": ""}) for i in toys.items(data, 6, 2)]
    after = shuffled(made)
    assert all(a.audios[0].path != b.audios[0].path for a, b in zip(after, made, strict=True))


def test_shuffling_one_group_is_refused(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 4, 1)
    with pytest.raises(ConfigError, match="one group"):
        shuffled(prepared.items)
    assert chosen_conditions(None, prepared.items) == ["heard", "text-only"]
    assert chosen_conditions(None, toy(tmp_path / "more").items) == list(CONDITIONS)[:3]
    with pytest.raises(ConfigError, match="no condition is called 'loud'"):
        chosen_conditions(["loud"], prepared.items)


def test_an_item_with_two_recordings_among_others_borrows_two(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    pair = toys.choice_item(
        90, toys.recording(data, 8), audios=(toys.recording(data, 8), toys.recording(data, 9)), group="pair",
        messages=(Message(role="user", content="<audio><audio>Which?"),),
    )  # fmt: skip
    after = {i.id: i for i in shuffled([*toys.items(data, 4), pair])}
    paths = [c.path for c in after["q00090"].audios]
    assert len(paths) == 2 and not set(paths) & {"tone8.wav", "tone9.wav"}


# --- recordings ---


def long_item(tmp_path: Path, **changes: object) -> tuple[Item, Path]:
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    clip = toys.recording(data, 50, seconds=1.0)
    return toys.choice_item(0, clip.model_copy(update=changes)), data


@pytest.mark.parametrize(("long", "lengths", "cut"), [("truncate", [0.4], True), ("chunk", [0.4, 0.4, 0.2], False)])
def test_longer_recordings_are_dealt_with_as_said(
    tmp_path: Path, long: str, lengths: list[float], cut: bool
) -> None:
    item, _ = long_item(tmp_path)
    asking = Asking(long=long, max_audio_seconds=0.4)  # type: ignore[arg-type]
    asked = Opener(toy(tmp_path, made=[item]), asking).asked(item, "key")
    assert [round(r.seconds, 3) for r in asked.recordings] == lengths
    assert [p["type"] for p in asked.messages[-1]["content"]] == ["audio"] * len(lengths) + ["text"]
    assert (asked.long, asked.audio_cut) == (long, cut)


def test_too_long_recordings_are_refused_and_short_ones_are_not(tmp_path: Path) -> None:
    item, _ = long_item(tmp_path)
    prepared = toy(tmp_path, made=[item])
    with pytest.raises(TooLongError, match=r"1\.0 s, the model takes 0\.4 s; --long chunk"):
        Opener(prepared, Asking(long="refuse", max_audio_seconds=0.4)).asked(item, "key")
    asked = Opener(prepared, Asking(long="refuse", max_audio_seconds=1.0)).asked(item, "key")
    assert asked.long == "" and asked.audio_seconds == pytest.approx(1.0)


def test_a_stretch_is_asked_about_alone(tmp_path: Path) -> None:
    item, _ = long_item(tmp_path, start=0.25, end=0.5)
    asked = Opener(toy(tmp_path, made=[item]), Asking()).asked(item, "key")
    assert asked.audio_seconds == pytest.approx(0.25)


def test_another_recording_than_the_prepared_one_is_refused(tmp_path: Path) -> None:
    item, data = long_item(tmp_path)
    prepared = toy(tmp_path, made=[item])
    (data / "tone50.wav").write_bytes((data / toys.recording(data, 1).path).read_bytes())
    with pytest.raises(AudioError, match="not the recording that was prepared"):
        Opener(prepared, Asking()).asked(item, "key")
    (data / "tone50.wav").unlink()
    with pytest.raises(RecordError, match=r"1 of 1 are missing.*--data"):
        check_files(prepared, [item])


# --- keys ---


def key(item: Item, asking: Asking = Asking(), identity: str = "model", sound: str = "") -> str:
    return answer_key(identity, item, {}, (), asking, sound)


def test_a_key_follows_all_that_an_answer_depends_on_and_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    item = toys.items(data, 1)[0]
    clip = item.audios[0]
    others = [
        key(item, identity="another"),
        key(item, Asking(seed=1)),
        key(item, Asking(temperature=0.5)),
        key(item, Asking(max_tokens=99)),
        key(item, Asking(max_audio_seconds=3.0)),
        key(item, sound="noise"),
        key(item.model_copy(update={"messages": (Message(role="user", content="<audio>What?"),)})),
        key(item.model_copy(update={"audios": (clip.model_copy(update={"sha256": "0" * 64}),)})),
        key(item.model_copy(update={"audios": (clip.model_copy(update={"end": 0.1}),)})),
        answer_key("model", item, {}, ("dog",), Asking()),
    ]
    assert len({key(item), *others}) == 11
    renamed = item.model_copy(update={"id": "z", "tags": {}, "group": "", "official": ""})
    moved = renamed.model_copy(update={"audios": (clip.model_copy(update={"path": "moved.wav"}),)})
    assert key(renamed) == key(moved) == key(item), "scoring and places change no answer"
    bare = item.model_copy(update={"audios": (Clip(path=clip.path),)})
    assert answer_key("model", bare, {clip.path: clip.sha256}, (), Asking()) == key(item), "hashes of the card serve"


# --- the stage ---


def told(run: Run, condition: str = "heard") -> dict[str, Answered]:
    return run.answers(condition, run.keys(condition, run.asked_items(condition)))


def test_every_item_is_asked_once_and_only_what_is_absent_again(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path), ScriptModel(fails=lambda one: one.item.id == "q00003")
    run = toy_run(tmp_path / "run", prepared, model)
    first = generate(run, model)
    assert (first.total, first.done, first.failed, first.left) == (12, 11, 1, 0)
    again = ScriptModel()
    second = generate(run, again)
    assert (second.already, second.done) == (11, 1) and [a.item.id for a in again.asked] == ["q00003"]
    assert len(told(run)) == 12 and not any(a.error for a in told(run).values())
    third = ScriptModel()
    assert generate(run, third).done == 0 and not third.asked


def test_recordings_are_asked_about_one_after_the_other(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path), ScriptModel()
    generate(toy_run(tmp_path / "run", prepared, model), model)
    heard = [a.item.audios[0].path for a in model.asked]
    assert heard == sorted(heard, key=heard.index) and len(set(heard[:3])) == 1


def test_changed_settings_and_changed_items_are_asked_anew(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path), ScriptModel()
    generate(toy_run(tmp_path / "run", prepared, model), model)
    longer = ScriptModel()
    assert generate(toy_run(tmp_path / "run", prepared, longer, Asking(max_tokens=99)), longer).done == 12
    changed = [prepared.items[0].model_copy(update={"messages": (Message(role="user", content="<audio>?"),)})]
    other = toy(tmp_path, made=[*changed, *prepared.items[1:]])
    assert generate(toy_run(tmp_path / "run", other, model, Asking(max_tokens=99)), model).done == 1


def test_a_run_is_of_one_model_and_one_benchmark(tmp_path: Path) -> None:
    prepared = toy(tmp_path)
    toy_run(tmp_path / "run", prepared)
    with pytest.raises(ConfigError, match=r"another model \(script was 1 and is 2\)"):
        toy_run(tmp_path / "run", prepared, ScriptModel(identity={"script": 2}))


def test_shards_together_are_the_whole(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 13)
    run = toy_run(tmp_path / "run", prepared)
    groups = []
    for number in (1, 2, 3):
        model = ScriptModel()
        generate(run, model, part=Part.parse(f"{number}/3"))
        groups.append({a.item.group for a in model.asked})
    assert len(run.answers_files("heard")) == 3 and run.conditions == ["heard"]
    assert not groups[0] & groups[1] and not groups[1] & groups[2], "a group stays in one part"
    whole = ScriptModel()
    assert generate(run, whole).already == 13 and not whole.asked


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_impossible_shards_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="give I/N"):
        Part.parse(text)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path), ScriptModel()
    run = toy_run(tmp_path / "run", prepared, model, write=False)
    outcome = generate(run, model, dry_run=True)
    assert (outcome.total, outcome.left, outcome.recordings) == (12, 12, 4)
    assert not model.asked and not (tmp_path / "run").exists()


def test_a_limit_takes_the_first_and_shuffles_among_all(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path), ScriptModel()
    few = toy_run(tmp_path / "few", prepared, model, limit=2)
    generate(few, model, "shuffled")
    assert [a.item for a in model.asked] == shuffled(prepared.items)[:2]


def test_one_bad_recording_fails_alone(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path), ScriptModel()
    (tmp_path / "data" / "tone1.wav").write_bytes(b"no audio")
    run = toy_run(tmp_path / "run", prepared, model)
    outcome = generate(run, model)
    assert (outcome.done, outcome.failed) == (9, 3)
    assert all("AudioError" in a.error for a in told(run).values() if a.id in ("q00001", "q00005", "q00009"))


def test_nothing_but_errors_stops_the_stage(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path, 40), ScriptModel(fails=lambda one: True)
    run = toy_run(tmp_path / "run", prepared, model)
    with pytest.raises(GenerateError, match="made to fail"):
        generate(run, model)
    assert len(list(records(run.place("generate", "heard"), Answered))) == ERRORS_IN_A_ROW


def test_an_interruption_keeps_what_was_answered(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path), ScriptModel()
    run = toy_run(tmp_path / "run", prepared, model)

    def interrupt(outcome: Outcome) -> None:
        if outcome.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(run, model, report=interrupt)
    StageWriter[Answered](run.place("generate", "heard")).close()  # the lock is free again
    assert generate(run, model).already == 5 and len(told(run)) == 12


def test_a_later_error_does_not_hide_an_answer(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path), ScriptModel()
    run = toy_run(tmp_path / "run", prepared, model)
    generate(run, model)
    good = told(run)["q00000"]
    with StageWriter[Answered](run.place("generate", "heard")) as writer:
        writer.add(good.model_copy(update={"text": "", "error": "down"}))
        writer.add(told(run)["q00001"].model_copy(update={"text": "later"}))
    assert told(run)["q00000"] == good and told(run)["q00001"].text == "later"


def test_a_run_is_read_again_and_knows_its_items(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path), ScriptModel()
    run = toy_run(tmp_path / "run", prepared, model)
    generate(run, model)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert len(told(read_run(tmp_path / "moved"))) == 12
    toy(tmp_path, 11)
    with pytest.raises(RecordError, match="not the items that"):
        read_run(tmp_path / "moved")
    with pytest.raises(RecordError, match=r"no run\.json"):
        read_run(tmp_path)
