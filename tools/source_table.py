"""The table of sources in docs/data-sources.md, out of the registry: `python -m tools.source_table [--write]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from data_prep.readers import SOURCES, listing

DOCS = Path(__file__).resolve().parent.parent / "docs" / "data-sources.md"
BEGIN, END = "<!-- sources: begin -->\n", "<!-- sources: end -->\n"


def renewed(text: str) -> str:
    """The page with the table as the registry gives it."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{listing.markdown(SOURCES.values())}{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the page instead of printing the table")
    if parser.parse_args().write:
        DOCS.write_text(renewed(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(listing.markdown(SOURCES.values()), end="")


if __name__ == "__main__":
    main()
