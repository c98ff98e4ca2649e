"""`python -m tools.agreement_rules --checkout DIR`: MMAU-Pro's checks of constraints beside ours on invented answers.

`DIR` is a checkout of sonalkum/MMAUPro; its checks are taken out and run. Numbers of sentences are left out: the script
counts them with a model of NLTK's, which it downloads.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import typer

from eval.official.opened import pro_passes
from eval.rules import passes
from tools.agreement_official import functions

ROWS = 60
SCRIPT = "evaluate_mmau_pro_comprehensive.py"
RULES: dict[str, dict[str, Any]] = {
    "Include Keywords": {"keywords": "dog, rain"},
    "Keyword Frequency": {"keyword": "dog", "N": 2},
    "Forbidden Words": {"forbidden_words": "art, sing"},
    "Number Paragraphs": {"N": 2},
    "Number Words (at least)": {"N": 8},
    "Number Words (at most)": {"N": 10},
    "Number Words (range)": {"N1": 5, "N2": 12},
    "Postscript": {"postscript_marker": "P.S."},
    "Number Placeholder": {"N": 1},
    "Number Bullets": {"N": 1},
    "Title": {},
    "Minimum Number Highlighted Section": {"N": 1},
    "Multiple Sections": {"N": 2, "section_splitter": "SECTION"},
    "Two Responses": {},
    "All Uppercase": {},
    "All Lowercase": {},
    "All-capital Words (at least)": {"N": 1},
    "All-capital Words (at most)": {"N": 2},
    "All-capital Words (range)": {"N1": 1, "N2": 3},
    "Start Checker": {"start_phrase": "Hello there"},
    "End Checker": {"end_phrase": "The end."},
    "Quotation": {},
    "No Commas": {},
}
PIECES = (
    "dog", "Dog", "LOUD", "rain,", "a", "art", "start", "hotdog", "* item", "*big* thing", "[name]", "<<Title>>", "***",
    "******", "P.S. bye", "\n", "\n* one", '"quoted"', "The end.", "sing", "UPPER CASE", "SECTION", "ups",
    "Hello there",
)  # fmt: skip
HELPERS = (
    "count_words", "count_sentences", "count_paragraphs", "count_bullet_points", "count_highlighted_sections",
    "count_placeholders", "count_capital_words", "count_keyword_frequency", "has_title", "has_postscript",
    "starts_with_phrase", "ends_with_phrase", "is_wrapped_in_quotes", "has_no_commas", "check_sections",
)  # fmt: skip

app = typer.Typer(add_completion=False)


def _answer(rng: random.Random) -> str:
    text = " ".join(rng.choices(PIECES, k=rng.randint(1, 13)))
    text = rng.choice(("{}", "{}", "{}", "Hello there {}", "{} The end.", '"{}"')).format(text)
    return rng.choice((text, text, text, text.upper(), text.lower()))


@app.command()
def main(checkout: Path = typer.Option(help="checkout of sonalkum/MMAUPro")) -> None:
    """Compare and print a Markdown table."""
    rng = random.Random(0)
    space = functions(checkout / SCRIPT, "evaluate_aif_sample", *HELPERS, re=re, sent_tokenize=str.splitlines)
    check = space["evaluate_aif_sample"]
    print("| constraint | answers | same as published | robust rule differs |\n|---|---|---|---|")
    for name, arguments in RULES.items():
        rule = {"rule": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"), **arguments}
        answers = [_answer(rng) for _ in range(ROWS)]
        theirs = [bool(check(a, {"task_identifier": name, "kwargs": arguments})) for a in answers]
        same = sum(pro_passes(a, rule) == t for a, t in zip(answers, theirs, strict=True))
        apart = sum(passes(a, rule) != t for a, t in zip(answers, theirs, strict=True))
        print(f"| {name} | {ROWS} | {same} | {apart} |")


if __name__ == "__main__":
    app()
