"""What is said about sources: the list, one in detail, the table of the documentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from data_prep.readers.base import Source


def facts(source: Source) -> dict[str, Any]:
    """JSON-able: everything but the reader itself."""
    found = {f.name: getattr(source, f.name) for f in dataclasses.fields(source) if f.name != "read"}
    return found | {
        "tells": list(source.tells),
        "splits": list(source.splits),
        "more_homes": list(source.more_homes),
        "layout": source.layout.split("\n"),
    }


def short(source: Source) -> str:
    """One line."""
    mark = "  [benchmark]" if source.benchmark else ""
    return f"{source.name:<20} {source.title}; {source.size.split(';')[0]}; {source.licence}{mark}"


def long(source: Source) -> str:
    """All that is known."""
    layout = "\n".join(f"    {line}" for line in source.layout.split("\n"))
    rule = "its test side never goes into training unless told so by name" if source.benchmark else "no"
    return "\n".join([
        f"{source.name}: {source.title}",
        f"  size:      {source.size}",
        f"  licence:   {source.licence}",
        f"  home:      {', '.join((source.home, *source.more_homes))}",
        f"  get it:    {source.how_to_get}",
        f"  tells:     {', '.join(source.tells)}",
        f"  splits:    {', '.join(source.splits)}",
        f"  benchmark: {rule}",
        "  layout:",
        layout,
        f"  then:      alm data read {source.name} --from FOLDER",
    ])  # fmt: skip


def _titled(source: Source) -> str:
    """The title as a link; further addresses follow it as numbers."""
    more = "".join(f", [{n}]({url})" for n, url in enumerate(source.more_homes, 2))
    return f"[{source.title}]({source.home}){more}"


def markdown(sources: Iterable[Source]) -> str:
    """The table of the documentation, and the layouts below it."""
    known = list(sources)
    lines = ["| source | what | size | licence | tells | benchmark |", "|---|---|---|---|---|---|"]
    for one in known:
        cells = (f"`{one.name}`", _titled(one), one.size, one.licence, ", ".join(one.tells))
        lines.append(f"| {' | '.join((*cells, 'yes' if one.benchmark else ''))} |")
    for one in known:
        lines += ["", f"**{one.name}.** Get {one.how_to_get}. Splits: {', '.join(f'`{s}`' for s in one.splits)}."]
        lines += ["```", one.layout, "```"]
    return "\n".join(lines) + "\n"
