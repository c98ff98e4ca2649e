"""The example of one's own questions: which recordings, what counts as filed, and that the page tells what is done."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from bench.own import CONFIG, OTHER, QUESTION, START, drawn, filed, marked, page, steps, write_openaqa
from training.sounds import Sound

ROOT = Path(__file__).parents[1]
CLASSES = ("cat", "dog", "rain")


def clips() -> list[Sound]:
    """Ten dogs for each cat, rain with a cat, and recordings of another split."""
    found = [Sound(Path(f"{n}.wav"), ("dog",), "a dog", "kennel", "train", True) for n in range(30)]
    found += [Sound(Path(f"c{n}.wav"), ("cat",), "a cat", "house", "train", True) for n in range(3)]
    found += [Sound(Path("both.wav"), ("rain", "cat"), "a cat in the rain", "house", "train", False)]
    return [*found, Sound(Path("t.wav"), ("cat",), "a cat", "street", "test", True)]


def test_classes_come_equally_often_while_there_are_any() -> None:
    first = drawn(clips(), "train", 6, CLASSES, 0)
    assert Counter(c.classes for c in first) == {("dog",): 3, ("cat",): 3}
    assert first == drawn(clips(), "train", 6, CLASSES, 0), "control: the draw is fixed"
    assert first != drawn(clips(), "train", 6, CLASSES, 1)
    everything = drawn(clips(), "train", 100, CLASSES, 0)
    assert len(everything) == len(set(map(id, everything))) == 33, "nothing twice, no scene of two, no other split"


def test_only_the_form_of_the_rows_is_filed() -> None:
    assert filed('{"sound": "dog"}') == "dog" == filed(' {"sound":"dog"}\n')
    for other in ("dog", "a dog", '{"sounds": "dog"}', '["dog"]', '{"sound": "dog", "sure": 1}', '{"sound": "dog"', ""):
        assert filed(other) is None, other


def test_answers_are_marked_by_form_and_sound(tmp_path: Path) -> None:
    write_openaqa(clips()[:4], (QUESTION, OTHER), tmp_path / "held.json")
    rows = json.loads((tmp_path / "held.json").read_text())
    dog = '{"sound": "dog"}'
    said = [dog, '{"sound": "cat"}', "A dog.", '{"sound": "dogs"}', "A dog.", dog, "A dog.", dog]
    lines = [json.dumps({**row, "answer": text}) for row, text in zip(rows, said, strict=True)]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    assert [value for value, _ in marked(tmp_path / "answers.jsonl")] == ["75 %", "75 %", "50 %"]


def test_the_page_and_the_manual_name_the_same_commands() -> None:
    given = steps("AUDIO")
    text = page((4, 2), [["before", *["0 %", ""] * 3]], [1.0] * len(given), "python -m bench.own")
    manual = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    assert all(f"`{command}`" in text for command in steps("CORPUS"))
    assert CONFIG in " ".join(given) and (ROOT / CONFIG).exists() and START in " ".join(given)
    assert all(command in manual for command in given[3:5])
    assert f"{given[3]} --prepare" in manual and "`alm train features`" in manual, "which does what given[2] does"
