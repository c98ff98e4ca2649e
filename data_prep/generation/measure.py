"""How good the check against the evidence is: `python -m data_prep.generation.measure` on sentences written for it.

Of each planted fault it is said whether the check finds it, and of each true sentence whether it passes.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from data_prep.generation.facts import facts_of
from data_prep.generation.grounding import Grounds
from data_prep.sample_files import read_samples

FOLDER = Path(__file__).with_name("check")
KINDS = ("sound", "number", "time", "quotation", "trait", "relation")


def measured() -> tuple[Counter[str], Counter[str], list[str]]:
    """Sentences and rightly treated ones by fault (`none`: a true sentence), and the texts of those treated wrongly."""
    facts = {sample.id: facts_of(sample) for sample in read_samples(FOLDER / "samples.jsonl")}
    total, right, wrong = Counter[str](), Counter[str](), list[str]()
    for line in (FOLDER / "grounding.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        missing = Grounds.of(facts[row["sample"]]).missing(row["text"])
        fault = row.get("fault", "none")
        total[fault] += 1
        if bool(missing) == row["grounded"]:
            wrong.append(f"{fault}: {row['text']} {missing or ''}".strip())
        else:
            right[fault] += 1
    return total, right, wrong


def table() -> str:
    """Markdown."""
    total, right, wrong = measured()
    lines = ["| sentence | sentences | rightly treated |", "|---|---|---|"]
    lines += [f"| true | {total['none']} | {right['none']} |"]
    lines += [f"| with a wrong {kind} | {total[kind]} | {right[kind]} |" for kind in KINDS]
    return "\n".join([*lines, "", "Wrongly treated:", "", *(f"- {text}" for text in wrong)])


if __name__ == "__main__":
    print(table())  # noqa: T201
