"""Official rules by name, intervals of large runs, and the tool that runs published scorers beside ours."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from kinds_helpers import NOTHING, answer, choice, label, measured, pair, row, sounds, transcript

from alm.errors import ConfigError
from eval import metrics
from eval.benchmarks import BENCHMARKS
from eval.harness.items import Item
from eval.kinds.base import Row, Surroundings
from eval.official import OFFICIAL
from tools.agreement_official import functions, run_script, statements
from tools.agreement_rows import questions, sentences


def test_every_rule_that_a_benchmark_names_exists() -> None:
    named = {rule for bench in BENCHMARKS.values() for rule in bench.official}
    assert named and not (missing := named - set(OFFICIAL)), missing
    assert all(rule.name == name and rule.about for name, rule in OFFICIAL.items())
    assert all(other in OFFICIAL for rule in OFFICIAL.values() for other in rule.beside)


def test_intervals_of_many_sources_are_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    binary = [float(rng.random() < 0.3) for _ in range(3000)]
    real = [rng.random() for _ in range(3000)]
    plain = [metrics.cluster_bootstrap(values, range(3000)) for values in (binary, real)]
    monkeypatch.setattr(metrics, "MANY_SOURCES", 1)
    counted = metrics.cluster_bootstrap(binary, range(3000))
    assert counted == pytest.approx(plain[0], abs=0.002), "other draws, the same distribution"
    assert metrics.cluster_bootstrap(real, range(3000)) == pytest.approx(plain[1], abs=1e-9), "the same draws"
    other = metrics.cluster_bootstrap([1 - b for b in binary], range(3000))
    assert other != pytest.approx(plain[0], abs=0.002), "control"


SCRIPT = """
import no_such_package
TOTAL = paid_interface()

class Scorer:
    def score(self): return "method"

def score(x):
    return helper(x) * factor

def helper(x):
    return x + 1

for n in rows:
    if n > 2:
        kept = [r for r in rows if r > 2]
"""


def test_parts_of_a_script_run_without_the_rest(tmp_path: Path) -> None:
    script = tmp_path / "scorer.py"
    script.write_text(SCRIPT)
    assert functions(script, "score", "helper", factor=10)["score"](1) == 20
    assert statements(script, lambda s: "kept" in str(vars(s)) or hasattr(s, "target"))(rows=[1, 2, 3])["kept"] == [3]
    with pytest.raises(ConfigError, match="no function 'grade'"):
        functions(script, "grade")
    with pytest.raises(ConfigError, match="--checkout"):
        functions(tmp_path / "absent.py", "score")
    with pytest.raises(ConfigError, match="ends with 1"):
        run_script(script, folder=tmp_path)


def test_invented_rows_are_always_the_same() -> None:
    first, again = (list(questions(500)) for _ in range(2))
    assert first == again and first != list(questions(500, seed=1))
    assert all(q.answer < len(q.choices) for q in first)
    assert any(q.said is None for q in first) and any(q.said == "" for q in first)
    assert any(len(set(map(str.lower, q.choices))) < len(q.choices) for q in first), "options worded alike"
    assert any(h == "" for _, h in sentences(500))


def timed(rows: list[tuple[Item, str]], around: Surroundings = NOTHING) -> float:
    begun = time.process_time()
    scored: list[Row] = [row(one, said, around) for one, said in rows]
    measured(scored, around)
    return time.process_time() - begun


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["choice", "label", "transcript", "characters", "pair"])
def test_a_tenth_of_a_hundred_thousand_takes_a_tenth_of_a_minute_of_one_core(kind: str) -> None:
    rng = random.Random(0)
    names = [f"label {n} of the set" for n in range(200)]
    words = ["".join(rng.choices("abcdefghij", k=5)) for _ in range(500)] + ["one", "mister", "isn't"] * 10

    def one(number: int) -> tuple[Item, str]:
        if kind == "choice":
            said = rng.choice(("B", "(C) Frog", "It is the owl, since it hoots", "Dog or owl"))
            return choice(answer=number % 4), said
        if kind == "label":
            return label([names[number % 200]]), f"I hear {names[number % 200]} in the street"
        if kind == "pair":
            return pair(mode="two-clip", choices=("first", "second"), answer=0, group=str(number // 2)), "the first"
        heard = rng.choices(words, k=20)
        return transcript(" ".join(heard), metric="cer" if kind == "characters" else "wer"), " ".join(heard[:-1])

    rows = [one(number) for number in range(10_000)]
    rows = [(item.model_copy(update={"id": str(n)}), said) for n, (item, said) in enumerate(rows)]
    assert timed(rows, sounds(*names)) < 6.0


def test_an_error_of_the_model_is_no_answer() -> None:
    for one in (choice(), transcript("turn left")):
        assert row(one, answer("Owl", error="timed out")).scored.status == "error"
