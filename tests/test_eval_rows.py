"""Instruction rows as benchmarks: every task graded by what its row knows, everything else told."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from alm.errors import ConfigError, RecordError
from alm.testing import tone
from eval.cli import app
from eval.corpus import CLASSES_FILE, read_classes
from eval.harness.answers import Answered
from eval.harness.prepared import read_prepared
from eval.kinds import KINDS
from eval.kinds.base import Surroundings
from eval.rows.making import RowsOrder, lines, make, own_answer_passes
from eval.rows.reading import InstructionRow, read_rows
from eval.rows.wants import SOUNDS, Facts, NoRuleError, closed_answers, graded

CLASSES = read_classes(CLASSES_FILE)
CLOSED = {"entailment": ("contradiction", "entailment", "neutral"), "nothing": ("noise", "silent")}
FACTS = Facts(CLASSES, CLOSED)
Meta = dict[str, Any]

GRADED: list[tuple[str, str, Meta, int, str, str]] = [
    ("choice", "rain", {"answer": "rain", "options": ["a dog barking", "rain"]}, 1, "choice", "B a dog barking"),
    ("yes_no", "Yes, I hear rain.", {"answer": "yes"}, 1, "choice", "No, I hear a dog."),
    ("which", "The second one.", {"answer": "second"}, 2, "choice", "The first one."),
    ("which_longer", "The second one: 10.8 against 5.6 seconds.", {"answer": "second"}, 2, "choice", "The first one"),
    ("entailment", "Neutral: it has rain.", {"answer": "neutral"}, 1, "choice", "Contradiction: it has rain."),
    ("nothing", "I hear nothing: the recording is silent.", {"answer": "silence"}, 1, "choice", "Only noise."),
    ("count", "Three times.", {"answer": 3}, 1, "count", "Twice."),
    ("count_sounds", "Two: rain and a siren.", {"answer": 2}, 1, "count", "Three: rain and a siren."),
    ("when", "At about 4.1 seconds.", {"answer": 4.137}, 1, "seconds", "At about 5.2 seconds."),
    ("event_length", "About 1.1 seconds.", {"answer": 1.095}, 1, "seconds", "About 1.7 seconds."),
    ("span", "From 0.0 to 2.0 seconds.", {"answer": [0.0, 2.0]}, 1, "spans", "From 2.0 to 4.0 seconds."),
    ("grounding", "0.0-1.0 s, 2.0-3.0 s", {"answer": [[0.0, 1.0], [2.0, 3.0]]}, 1, "spans", "4.0-5.0 s"),
    (
        "event_table", "Rain (0.0-2.0 s); a car horn (1.0-3.0 s).",
        {"answer": [["rain", 0.0, 2.0], ["a car horn", 1.0, 3.0]]}, 1, "table", "Thunder (0.0-2.0 s).",
    ),
    ("label", "I hear a cow mooing and rain.", {"answer": ["cow moo", "rain"]}, 1, "sounds", "I hear a siren."),
    ("order_after", "A knock on wood.", {"answer": "a knock on wood"}, 1, "sounds", "A knock on a door."),
    ("transcribe", "Press four.", {"answer": "Press four."}, 1, "said", "completely different words here"),
    ("note", "The note is C4.", {"answer": "C4"}, 1, "words", "The note is C5."),
    ("about_speech", "Susan is speaking.", {"answer": "Susan", "accept": ["Susan"]}, 1, "words", "Monica is speaking."),
]  # fmt: skip


def instruction(task: str, answer: str, meta: Meta, count: int = 1, **changes: Any) -> Meta:
    """A row as it stands in a file."""
    messages = [{"role": "user", "content": "<audio>" * count + "Well?"}, {"role": "assistant", "content": answer}]
    row = {
        "id": f"r-{task}", "messages": messages, "audios": ["a.wav"] * count, "source": "toys", "task": task,
        "split": "test", "licence": "CC0-1.0", "duration": 6.0, "meta": meta,
    }  # fmt: skip
    return {**row, **changes}


def grade(row: Meta, said: str) -> float | None:
    """What an answer to a row is worth."""
    from eval.harness.items import Item, Message

    found = graded(InstructionRow.model_validate(row), FACTS)
    item = Item(id="x", messages=(Message(role="user", content="Well?"),), want=found.want)
    around = Surroundings({SOUNDS: FACTS.sounds})
    return KINDS[item.want.kind].score(item, Answered(id="x", key="", text=said), (), around).robust


@pytest.mark.parametrize(("task", "answer", "meta", "audios", "name", "wrong"), GRADED, ids=[g[0] for g in GRADED])
def test_the_rows_own_answer_is_right_and_another_is_not(
    task: str, answer: str, meta: Meta, audios: int, name: str, wrong: str
) -> None:
    row = instruction(task, answer, meta, audios)
    assert graded(InstructionRow.model_validate(row), FACTS).set == name
    assert grade(row, answer) == pytest.approx(1.0)
    assert grade(row, wrong) == pytest.approx(0.0), "control"


def test_named_sounds_are_worth_their_f1() -> None:
    row = instruction("label", "", {"answer": ["a car horn", "rain"]})
    row["messages"][-1]["content"] = "I hear a car horn and rain."
    assert grade(row, "A car horn.") == pytest.approx(2 / 3)
    assert grade(row, "A car horn, rain and a siren") == pytest.approx(4 / 5)


def test_the_last_turn_is_asked_with_its_own_facts() -> None:
    turns = [{"task": "label", "answer": ["rain"]}, {"task": "count", "answer": 2}]
    messages = [
        {"role": "user", "content": "<audio>What is it?"}, {"role": "assistant", "content": "Rain."},
        {"role": "user", "content": "How often?"}, {"role": "assistant", "content": "Twice."},
    ]  # fmt: skip
    row = instruction("dialogue", "", {"turns": turns}, messages=messages)
    assert graded(InstructionRow.model_validate(row), FACTS).set == "count"
    assert (grade(row, "Twice."), grade(row, "Once.")) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("answer", "meta", "name"),
    [
        ("Yes, it is.", {}, "choice"), ("a violin", {}, "words"),
        ("red", {"answer": "red", "options": ["red"]}, "words"),
        ("red", {"answer": "red", "options": ["red", "green"]}, "choice"),
    ],
)  # fmt: skip
def test_unknown_tasks_go_by_the_shape_of_their_answer(answer: str, meta: Meta, name: str) -> None:
    row = InstructionRow.model_validate(instruction("anything", answer, meta))
    assert graded(row, FACTS).set == name


@pytest.mark.parametrize("task", ["anything", "absent", "checklist"])
def test_what_no_rule_can_grade_says_why(task: str) -> None:
    sentence = InstructionRow.model_validate(instruction(task, "A man walks his dog across the wet street.", {}))
    with pytest.raises(NoRuleError, match="judge|denial|list"):
        graded(sentence, FACTS)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(task=st.sampled_from([g[0] for g in GRADED]), answer=JUNK, options=JUNK, accept=JUNK, turns=JUNK)
def test_facts_of_any_shape_are_graded_or_left_out(
    task: str, answer: Any, options: Any, accept: Any, turns: Any
) -> None:
    meta = {"answer": answer, "options": options, "accept": accept, "turns": turns}
    row = InstructionRow.model_validate(instruction(task, "Something is heard here, I believe.", meta))
    with contextlib.suppress(NoRuleError):
        found = graded(row, FACTS)
        own_answer_passes(row, found, FACTS)


# --- files ---


def folder_of(tmp_path: Path, rows: list[Meta], name: str = "rows.jsonl") -> Path:
    soundfile.write(tmp_path / "a.wav", tone(0.2, 440.0).samples, 16_000)
    path = tmp_path / name
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def several(count: int) -> list[Meta]:
    """Rows of two tasks and two sources, and one that no rule grades."""
    rows = [
        instruction("count", "Twice.", {"answer": 2}, id=f"count-{n}", source=f"toys-{n % 2}") for n in range(count)
    ]
    rows += [instruction("note", "It is C4.", {"answer": "C4"}, id=f"note-{n}") for n in range(count)]
    return [*rows, instruction("absent", "I hear no dog.", {"answer": "absent"})]


def test_files_become_benchmarks_by_kind_of_answer(tmp_path: Path) -> None:
    path = folder_of(tmp_path, [*several(6), instruction("note", "C5", {"answer": "C5"}, split="train", id="t")])
    made = make(RowsOrder((path,), tmp_path / "out", most=4))
    assert {p.card.bench: len(p.items) for p in made.sets} == {"rows-count": 4, "rows-words": 4}
    assert list(lines(made.lost)) == ["absent: 1 left out, a denial in a sentence, which no rule reads"]
    count = read_prepared(tmp_path / "out" / "count")
    assert count.place_of(count.items[0].audios[0]).is_file() and count.items[0].audios[0].sha256
    assert {i.group for i in count.items} == {"toys-0", "toys-1"} and count.items[0].tags == {"task": "count"}
    assert all(m.role == "user" for i in count.items for m in i.messages), "the answer is not told"


def test_the_same_rows_are_drawn_whatever_their_order(tmp_path: Path) -> None:
    rows = several(9)
    hashes = []
    for name, own in (("a", rows), ("b", rows[::-1])):
        path = folder_of(tmp_path, own, f"{name}.jsonl")
        hashes.append({p.card.bench: p.hash for p in make(RowsOrder((path,), tmp_path / name, most=3)).sets})
    assert hashes[0] == hashes[1]
    other = make(RowsOrder((path,), tmp_path / "c", most=3, seed=1))
    assert {p.card.bench: p.hash for p in other.sets} != hashes[0], "control"


def test_one_source_for_all_makes_recordings_the_groups(tmp_path: Path) -> None:
    rows = [
        instruction("count", "Twice.", {"answer": 2, "recordings": [f"scene-{n}"]}, id=str(n)) for n in range(3)
    ]
    made = make(RowsOrder((folder_of(tmp_path, rows),), tmp_path / "out"))
    assert {i.group for i in made.sets[0].items} == {"scene-0", "scene-1", "scene-2"}


def test_rows_that_contradict_themselves_and_lost_recordings_are_told(tmp_path: Path) -> None:
    rows = [
        instruction("count", "Twice.", {"answer": 3}, id="wrong"),
        instruction("count", "Twice.", {"answer": 2}, id="gone", audios=["b.wav"]),
        instruction("count", "Twice.", {"answer": 2}, id="good"),
    ]
    made = make(RowsOrder((folder_of(tmp_path, rows),), tmp_path / "out"))
    assert [i.id for i in made.sets[0].items] == ["good"]
    reasons = Counter({"its own answer is not what its facts accept": 1, "a recording is not there": 1})
    assert made.lost == {"count": reasons} and made.sets[0].card.lost[0].count == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: row: Invalid JSON"),
        (json.dumps({**instruction("count", "2", {}), "audios": ["../a.wav"]}), "not below the folder"),
        (json.dumps({**instruction("count", "2", {}), "audios": ["/etc/a.wav"]}), "not below the folder"),
        (json.dumps({**instruction("count", "2", {}), "duration": -1}), "line 1: duration"),
        (json.dumps({**instruction("count", "2", {}), "messages": []}), "line 1: messages"),
        ('{"id": "' + "x" * (4 << 20) + '"}', "more than 4 MiB"),
    ],
)  # fmt: skip
def test_wrong_rows_are_refused_by_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(RecordError, match=said) as error:
        list(read_rows(path, "test"))
    assert str(path) in str(error.value)


def test_orders_that_cannot_be_met_are_refused(tmp_path: Path) -> None:
    path = folder_of(tmp_path, several(2))
    (tmp_path / "other").mkdir()
    elsewhere = folder_of(tmp_path / "other", several(1))
    with pytest.raises(ConfigError, match="2 folders"):
        make(RowsOrder((path, elsewhere), tmp_path / "out"))
    with pytest.raises(RecordError, match="occurs twice"):
        make(RowsOrder((path, path), tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"no rows of the task 'dance'.*absent, count, note"):
        make(RowsOrder((path,), tmp_path / "out", tasks=("dance",)))
    with pytest.raises(RecordError, match="not one row of the split 'dev'"):
        make(RowsOrder((path,), tmp_path / "out", split="dev"))


def test_the_command_says_what_it_made_and_left_out(tmp_path: Path) -> None:
    path = folder_of(tmp_path, several(3))
    done = CliRunner().invoke(app, ["rows", str(path), "--out", str(tmp_path / "out"), "--quiet"])
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'out' / 'count'}  3 questions, hash " in done.output
    assert "absent: 1 left out" in done.output
    wrong = CliRunner().invoke(app, ["rows", str(path), "--out", str(tmp_path / "out"), "--task", "dance"])
    assert wrong.exit_code == 2 and "no rows of the task 'dance'" in wrong.output


def test_closed_answers_are_those_that_occur() -> None:
    rows = [
        InstructionRow.model_validate(instruction("language", f"It is {name}.", {"answer": name}, id=name))
        for name in ("Dutch", "English")
    ]
    assert closed_answers(rows) == {"language": ("Dutch", "English")}
