"""The page of all benchmarks, and the rows of `alm eval list`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eval.benchmarks.records import Benchmark

HEADER = ("name", "title", "version", "licence", "items", "measures", "where")
_INTRO = """# Benchmarks

Written by `python -m eval.benchmarks --write docs/benchmarks.md` from the registry; a test holds it current.

`alm eval prepare NAME --from DIR --out DIR` reads the official download of a benchmark, hashes every file that is
used, and writes our records; no data of others is in this repository. It refuses when rows or recordings are missing,
or when there are more than the official number; `--allow-lost` goes on with what is there, and the report says how
many are gone. Items that no answer can be scored against (an empty key, one option only) are counted as such.

The lay-outs are those that the official repositories, loaders and pages describe. None of the downloads was at hand
when the readers were written: they are tested on invented rows in these lay-outs, and what does not fit is refused by
file, line and field. Licences and versions are as the sources state them; ask there before you use the data.

Questions are asked in our own words, since few benchmarks publish theirs; the card of a prepared benchmark records
them. *items* is the official number of items of the usual split, where there is one that could be checked: closed
sets ask three questions a recording, and CompA four questions a pair.
"""


def listing(benchmarks: Iterable[Benchmark]) -> Iterator[tuple[str, ...]]:
    """A row for each benchmark, in the order of `HEADER`."""
    for one in benchmarks:
        number = one.splits[one.split]
        items = "not published" if number is None else f"{number:,}"
        yield one.name, one.title, one.version, one.licence, items, one.measures, one.source


def page(benchmarks: Iterable[Benchmark]) -> str:
    """Markdown: a table, then how to get each and what to know of its figures."""
    known = list(benchmarks)
    lines = [_INTRO, f"There are {len(known)}.\n", "| name | measures | items | licence |", "|---|---|---|---|"]
    for name, _, _, licence, items, measures, _ in listing(known):
        lines.append(f"| [{name}](#{name}) | {_cell(measures)} | {items} | {_cell(licence)} |")
    for one in known:
        lines += ["", *_section(one)]
    return "\n".join(lines) + "\n"


def _section(one: Benchmark) -> Iterator[str]:
    splits = ", ".join(f"`{s}`" + ("" if n is None else f" ({n:,} items)") for s, n in one.splits.items())
    rules = ", ".join(f"`{rule}`" for rule in one.official) or "none of its own"
    yield f"## {one.name}"
    yield ""
    yield f"{one.title}, version {one.version}. {one.measures}."
    yield ""
    yield f"- Where: {', '.join(_linked(part) for part in one.source.split(', '))}"
    yield f"- Folder: {one.how_to_get}"
    yield f"- Splits: {splits}"
    yield f"- Kinds: {', '.join(one.kinds)}; official rules: {rules}"
    if one.note:
        yield f"- Note: {one.note}"


def _linked(address: str) -> str:
    """An address in angle brackets, with what stands behind it left alone."""
    link, _, rest = address.partition(" ")
    return f"<{link}>{' ' + rest if rest else ''}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
