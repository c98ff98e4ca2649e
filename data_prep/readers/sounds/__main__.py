"""`python -m data_prep.readers.sounds`: the page of these sources, printed or written."""

from __future__ import annotations

import argparse
from pathlib import Path

from data_prep.readers.sounds import SOUNDS
from data_prep.readers.sounds.page import page


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.readers.sounds", description=main.__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page here")
    place = parser.parse_args().write
    if place is None:
        print(page(SOUNDS), end="")
    else:
        place.write_text(page(SOUNDS), encoding="utf-8")


if __name__ == "__main__":
    main()
