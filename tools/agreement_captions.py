"""`python -m tools.agreement_captions --python DIR/bin/python`: CIDEr-D and alpha beside the libraries that have them.

The interpreter is of another environment, with `pycocoevalcap` and `krippendorff`: the first wants Java for its
tokeniser, the second is under the GPL, so neither is a dependency here.
"""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import typer

from eval.judges.agreement import krippendorff_alpha
from eval.scorers.cider import cider_d, words_of

ROWS = 800
_STARTS = ("A dog", "An old man", "Rain", "A woman", "The engine", "Water")
_MIDDLES = ("barks loudly", "speaks, then laughs", "falls on a tin-roof", "doesn't stop", "is idling (a car?)", "runs")
_ENDS = ("while wind blows.", "in the distance", "; footsteps follow", "- twice!", ". A door's closing.", "")
_LEVELS = ("nominal", "ordinal", "interval")
_OTHER = """
import json, sys
import krippendorff, numpy as np
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
asked = json.load(sys.stdin)
def cider(said, references):
    return Cider().compute_score(dict(enumerate(references)), {i: [s] for i, s in enumerate(said)})[1].tolist()
split = cider(asked["said_split"], asked["references_split"])
turned = lambda texts: PTBTokenizer().tokenize({i: [{"caption": t} for t in own] for i, own in enumerate(texts)})
said, references = turned([[s] for s in asked["said"]]), turned(asked["references"])
java = Cider().compute_score(references, said)[1].tolist()
numbers = lambda rows: np.array([[np.nan if v is None else v for v in r] for r in rows], float)
pairs = [(numbers(one), level) for one in asked["ratings"] for level in asked["levels"]]
alpha = [krippendorff.alpha(one, level_of_measurement=level) for one, level in pairs]
print("RESULT" + json.dumps({"split": split, "java": java, "alpha": alpha}))
"""

app = typer.Typer(add_completion=False)


def _caption(rng: random.Random) -> str:
    return f"{rng.choice(_STARTS)} {rng.choice(_MIDDLES)} {rng.choice(_ENDS)}".strip()


def _ratings(rng: random.Random) -> list[list[int | None]]:
    base = [rng.randint(1, 5) for _ in range(rng.randint(4, 30))]
    near = [[min(5, max(1, b + rng.choice((0, 0, 0, 1, -1)))) for b in base] for _ in range(rng.randint(2, 4))]
    return [[v if rng.random() > 0.1 else None for v in row] for row in near]


@app.command()
def main(python: Path = typer.Option(help="interpreter of an environment with pycocoevalcap and krippendorff")) -> None:
    """Compare and print a Markdown table."""
    rng = random.Random(0)
    references = [[_caption(rng) for _ in range(5)] for _ in range(ROWS)]
    said = [own[0] if rng.random() < 0.3 else _caption(rng) for own in references]
    ratings = [_ratings(rng) for _ in range(100)]
    asked = {
        "said": said,
        "references": references,
        "said_split": [" ".join(words_of(s)) for s in said],
        "references_split": [[" ".join(words_of(r)) for r in own] for own in references],
        "ratings": ratings,
        "levels": _LEVELS,
    }
    done = subprocess.run([python, "-c", _OTHER], input=json.dumps(asked), capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout.partition("RESULT")[2])
    ours = list(map(float, cider_d(said, references)))
    alphas = [krippendorff_alpha(one, level) for one in ratings for level in _LEVELS]
    print("| figure | rows | published, mean | ours, mean | largest difference |\n|---|---|---|---|---|")
    for name, a, b in (
        ("CIDEr-D, the same tokens", theirs["split"], ours),
        ("CIDEr-D, Java's tokens against ours", theirs["java"], ours),
        ("Krippendorff's alpha", theirs["alpha"], [x or 0.0 for x in alphas]),
    ):
        most = max(abs(x - y) for x, y in zip(a, b, strict=True))
        print(f"| {name} | {len(a)} | {sum(a) / len(a):.4f} | {sum(b) / len(b):.4f} | {most:.1e} |")


if __name__ == "__main__":
    app()
