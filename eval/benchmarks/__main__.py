"""`python -m eval.benchmarks`: the page of all benchmarks, printed or written."""

from __future__ import annotations

import argparse
from pathlib import Path

from eval.benchmarks import BENCHMARKS
from eval.benchmarks.page import page


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(prog="python -m eval.benchmarks", description=main.__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page here")
    place = parser.parse_args().write
    text = page(BENCHMARKS.values())
    if place is None:
        print(text, end="")
    else:
        place.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
