"""Join the results of a folder into one page with pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alm.errors import RecordError
from eval import plots

ORDER = ("choice", "open", "presence", "order", "count", "wer", "speech_qa", "speed", "memory")
HEAD = """# Results

Written by `python -m eval report` from the files in `{folder}`; do not edit. Each part names the command that makes it
again; `CORPUS` is the folder that `python -m data_prep fetch` and `python -m data_prep scenes` filled. Intervals are
95 %: by question (Wilson for shares), and by source, where whole packages are drawn anew, since recordings of one
package resemble each other.
"""


def documents(folder: Path) -> dict[str, dict[str, Any]]:
    """The results of a folder by name.

    Raises:
        RecordError: none, or one cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RecordError(f"{path}: not JSON ({error}); run the evaluation again") from error
        if isinstance(document, dict) and "figures" in document:
            found[document["name"]] = document
    if not found:
        raise RecordError(f"{folder}: no results; run `python -m eval choice --corpus CORPUS` first")
    return found


def made_with(found: dict[str, dict[str, Any]]) -> list[str]:
    """Which model and versions the results come from; more than one is said."""
    adapters = sorted({str(d["adapter"]["sha256"]) for d in found.values() if d.get("adapter")})  # `speed` loads none
    corpora = sorted({str(d["corpus"]) for d in found.values() if d.get("corpus")})
    first = next(iter(found.values()))
    packages = ", ".join(f"{k} {v}" for k, v in first.get("versions", {}).items())
    lines = [f"Preset {first.get('preset')}, adapter {', '.join(adapters)}, corpus {', '.join(corpora)}; {packages}."]
    if limited := sorted(n for n, d in found.items() if d.get("limit")):
        lines.append(f"**Only a part of the questions was asked for: {', '.join(limited)}.**")
    return lines


def pictures(found: dict[str, dict[str, Any]], images: Path) -> dict[str, list[str]]:
    """Draw what can be drawn; gives file names by result."""
    made: dict[str, list[str]] = {}
    for name, document in found.items():
        if plots.bars(document, images / f"{name}.png"):
            made.setdefault(name, []).append(f"{name}.png")
        for table in document["tables"]:
            if table["title"].startswith("Groups:"):
                groups, rows = table["header"][1:], table["rows"]
                plots.matrix(table["title"], groups, [r[1:] for r in rows], images / f"{name}_groups.png")
                made.setdefault(name, []).append(f"{name}_groups.png")
    return made


def write(folder: Path, page: Path, images: Path) -> Path:
    """Write the page and its pictures."""
    found = documents(folder)
    made = pictures(found, images)
    parts = [HEAD.format(folder=folder.name), "\n\n".join(made_with(found)), ""]
    for name in [*(n for n in ORDER if n in found), *sorted(set(found) - set(ORDER))]:
        parts.append((folder / f"{name}.md").read_text(encoding="utf-8"))
        parts += [f"![{found[name]['title']}]({images.name}/{picture})\n" for picture in made.get(name, [])]
    for extra in sorted(folder.glob("schemes*.md")):
        parts.append(extra.read_text(encoding="utf-8"))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(parts), encoding="utf-8")
    return page
