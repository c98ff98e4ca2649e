"""The same as the page shows, as Markdown with plots, for documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data_prep.atomic import write_bytes, write_text
from data_prep.inspecting.facts import fact_rows
from data_prep.inspecting.flags import FlagFile
from data_prep.inspecting.plots import Plot, plots_of
from data_prep.inspecting.statistics import Statistics, read_all
from data_prep.inspecting.table import Table

_MOST_PAIRS = 20


def write_report(place: Path, target: Path, title: str, *, check_files: bool = True) -> list[Path]:
    """Write the report and its plots (into `STEM/` beside it); gives the files.

    Raises:
        CorpusError: there are no records at `place`, or what was found about copies is damaged.
    """
    table, found = read_all(place, check_files=check_files)
    plots = plots_of(found)
    pictures = target.with_suffix("")
    flags = FlagFile(table.folder / "flags.jsonl")
    written = [pictures / f"{plot.name}.png" for plot in plots]
    for path, plot in zip(written, plots, strict=True):
        write_bytes(path, plot.png)
    text = "\n".join(_lines(table, found, plots, pictures.name, flags, title))
    write_text(target, text + "\n")
    return [target, *written]


def _lines(
    table: Table, found: Statistics, plots: list[Plot], pictures: str, flags: FlagFile, title: str
) -> Iterator[str]:
    yield f"# {_cell(title)}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in fact_rows(found):
        yield f"| {_cell(name)} | {_cell(value)} |"
    if table.wrong_shown:
        yield "\nFirst rows that are no records:\n"
        yield from (f"- {_cell(line)}" for line in table.wrong_shown)
    yield from _copies(found)
    if flags.flags:
        yield "\n## Flags\n"
        counts = Counter(flag.reason for flag in flags.flags)
        yield from (f"- {reason}: {number}" for reason, number in counts.most_common())
    yield "\n## Plots"
    for plot in plots:
        yield f"\n### {_cell(plot.title)}\n"
        yield f"![{_cell(plot.title)}: {_cell(plot.words)}]({pictures}/{plot.name}.png)"


def _copies(found: Statistics) -> Iterator[str]:
    if not found.copies or not found.copies["pairs"]:
        return
    across = [pair for pair in found.copies["pairs"] if set(pair["splits"][0]) ^ set(pair["splits"][1])]
    if across:
        yield f"\n## Copies on two sides of a split ({len(across)})\n"
        yield "| recording | other | splits | score | semitones | seconds |"
        yield "|---|---|---|---|---|---|"
    for pair in across[:_MOST_PAIRS]:
        splits = " / ".join("+".join(side) for side in pair["splits"])
        score = "same samples" if pair["same_samples"] else f"{pair['score']:.1f}"
        moved, long = pair.get("semitones", 0.0), pair.get("seconds", "all")
        yield f"| {_cell(pair['recording'])} | {_cell(pair['other'])} | {splits} | {score} | {moved} | {long} |"
    if len(across) > _MOST_PAIRS:
        yield f"\nThe rest of the {len(across)} is in `copies.json`."


def _cell(text: str) -> str:
    """Text that stays text in a Markdown table."""
    line = " ".join(str(text).split())
    return "".join("\\" + letter if letter in "\\|[]<>`*_#" else letter for letter in line)
