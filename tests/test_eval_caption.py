"""Captions: CIDEr-D without Java against published figures, and what is taken off an answer before."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alm.errors import RecordError
from eval.harness.answers import Answered
from eval.harness.items import CaptionWant, Item, Message
from eval.kinds import KINDS
from eval.kinds.base import Row, Surroundings
from eval.kinds.caption import caption_in
from eval.scorers.cider import cider_d, words_of

KIND, AROUND = KINDS["caption"], Surroundings()
WORDS = "a dog barks while rain falls on the roof and wind blows".split()
CAPTION = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


def by_definition(candidates: list[str], references: list[list[str]]) -> list[float]:
    """The formula written down word by word: another way to the same figures."""

    def groups(text: str) -> list[Counter[tuple[str, ...]]]:
        words = words_of(text)
        return [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in (1, 2, 3, 4)]

    clips = Counter[tuple[str, ...]]()
    for own in references:
        clips.update({g for text in own for one in groups(text) for g in one})

    def vector(text: str) -> list[dict[tuple[str, ...], float]]:
        rare = math.log(len(candidates))
        return [{g: c * (rare - math.log(max(1, clips[g]))) for g, c in one.items()} for one in groups(text)]

    def norm(one: dict[tuple[str, ...], float]) -> float:
        return math.sqrt(sum(v * v for v in one.values()))

    scores = []
    for said, own in zip(candidates, references, strict=True):
        total = 0.0
        for text in own:
            apart = len(words_of(said)) - len(words_of(text))
            for ours, theirs in zip(vector(said), vector(text), strict=True):
                shared = sum(min(v, theirs.get(g, 0.0)) * theirs.get(g, 0.0) for g, v in ours.items())
                if shared:
                    total += math.exp(-(apart**2) / 72) * shared / (norm(ours) * norm(theirs))
        scores.append(10 * total / 4 / len(own))
    return scores


@given(st.lists(st.tuples(CAPTION, st.lists(CAPTION, min_size=1, max_size=4)), min_size=2, max_size=8))
@settings(max_examples=80, deadline=None)
def test_figures_are_those_of_the_formula(clips: list[tuple[str, list[str]]]) -> None:
    said, references = [c for c, _ in clips], [r for _, r in clips]
    assert cider_d(said, references) == pytest.approx(by_definition(said, references), abs=1e-9)


def test_figures_of_the_published_implementation() -> None:
    """pycocoevalcap 1.2 on the same five clips, captions split at blanks."""
    references = [
        ["a dog barks loudly while rain falls", "a dog is barking in the rain"],
        ["a man speaks and a crowd applauds", "a man gives a speech and people clap"],
        ["birds sing in a forest", "several birds are singing in the morning"],
        ["an engine starts and idles", "a car engine is running"],
        ["water runs from a tap", "someone washes hands under running water"],
    ]
    said = [references[0][0], "a man speaks to a crowd", "dogs bark", "", "water runs from a tap"]
    assert cider_d(said, references) == pytest.approx(PUBLISHED, abs=1e-9)


PUBLISHED = [5.733242689959913, 2.2962047457601233, 0.0, 0.0, 5.267130733923647]


def test_one_clip_is_refused() -> None:
    with pytest.raises(RecordError, match="at least 2 clips"):
        cider_d(["a dog"], [["a dog"]])
    with pytest.raises(RecordError, match="clip 1 has no reference"):
        cider_d(["a", "b"], [["a"], []])


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    references = [[f"a dog {i} barks", "rain falls"] for i in range(30)]
    whole = cider_d([r[0] for r in references], references)
    monkeypatch.setattr("eval.scorers.cider.AT_ONCE", 7)
    assert np.array_equal(whole, cider_d([r[0] for r in references], references))


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("A dog barks.", "A dog barks."),
        ("Here is a caption: A dog barks.", "A dog barks."),
        ("Sure! In this audio, a dog barks.\n\nI hope this helps.", "a dog barks."),
        ("Caption:\n\n\"A dog barks.\"", "A dog barks."),
        ("The audio contains a dog barking.", "a dog barking."),
        ("I can hear a dog barking.", "a dog barking."),
        ("The dog hears the audio.", "The dog hears the audio."),
        ("Okaying papers, a man hums.", "Okaying papers, a man hums."),
        ("", ""),
    ],
)
def test_lead_ins_are_taken_off(text: str, caption: str) -> None:
    assert caption_in(text)[0] == caption


def rows(said: list[str | None]) -> list[Row]:
    found = []
    for number, text in enumerate(said):
        want = CaptionWant(references=(f"a dog barks {number} times in the rain", "a dog barks"))
        item = Item(id=f"{number:06d}", messages=(Message(role="user", content="?"),), want=want, official="clotho")
        answered = None if text is None else Answered(id=item.id, key="k", text=text)
        found.append(Row(item, answered, KIND.score(item, answered, (), AROUND)))
    return found


def values(found: list[Row]) -> dict[str, float]:
    return {m.key: m.estimate.value for m in KIND.measures(found, AROUND)}


def test_missing_and_empty_captions_score_nothing_and_count() -> None:
    good = "a dog barks 0 times in the rain"
    both, half = values(rows([good, good.replace("0", "1")])), values(rows([good, None]))
    assert half["robust"] == pytest.approx(both["robust"] / 2)
    assert values(rows([good]))["words"] == 8 and "robust" not in values(rows([good])), "one clip: no CIDEr-D"


def test_order_changes_no_digit() -> None:
    found = rows(["a dog", "rain", None, "Sure! Caption: a dog barks 3 times in the rain"])
    assert KIND.measures(found, AROUND) == KIND.measures(found[::-1], AROUND)
    assert values(found)["robust"] > values(found)["official"], "the rule takes the whole answer"


@pytest.mark.slow
def test_a_hundred_thousand_captions_take_less_than_a_minute() -> None:
    """In a process of its own: this one's memory tells of other tests, too."""
    code = "import tests.test_eval_caption as own; print(*own.a_hundred_thousand())"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    seconds, mebibytes = map(float, done.stdout.split())
    assert seconds < 60 and mebibytes < 2048


def a_hundred_thousand() -> tuple[float, float]:
    """Seconds of the processor and peak memory in MiB."""
    from bench.memory import peak_mebibytes

    started = time.process_time()
    assert values(rows([f"a dog barks {i % 977} times near a road" for i in range(100_000)]))
    return time.process_time() - started, peak_mebibytes()
