"""What an evaluation found, as JSON for machines, Markdown for people, and one line per question for whoever doubts."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from eval.metrics import Estimate

PACKAGES = ("torch", "transformers", "peft", "faster-whisper", "ctranslate2", "jiwer", "numpy")
FORMAT = 1


@dataclass(frozen=True)
class Figure:
    """One number of a result."""

    key: str
    label: str
    estimate: Estimate
    unit: str = "%"
    """`%` for shares, else printed behind the plain number."""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"key": self.key, "label": self.label, "unit": self.unit, "note": self.note, **self.estimate.to_dict()}


@dataclass(frozen=True)
class Table:
    """A further table; long ones are folded away in Markdown."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    folded: bool = False


@dataclass
class Result:
    """One evaluation of one model."""

    name: str
    title: str
    about: str
    """What was asked of what, in a sentence or two."""
    figures: list[Figure]
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """How it was made: command, versions, hashes, seed, counts, seconds."""

    def figure(self, key: str) -> Figure:
        return next(f for f in self.figures if f.key == key)


def constant(value: float, items: int = 0) -> Estimate:
    """A figure without uncertainty, such as chance."""
    return Estimate(value, value, value, items, value, value, 0)


def versions() -> dict[str, str]:
    """Versions of the packages that a figure depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def folder_hash(folder: Path | None) -> str | None:
    """Short hash over names and contents of an adapter's weights and settings; its card may change."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def write(result: Result, out: Path) -> list[Path]:
    """Write `NAME.json`, `NAME.md` and `items/NAME.jsonl.gz`; gives their paths."""
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "format": FORMAT, "name": result.name, "title": result.title, "about": result.about, **result.facts,
        "figures": [f.to_dict() for f in result.figures],
        "tables": [asdict(t) for t in result.tables],
        "notes": result.notes,
    }  # fmt: skip
    text, page = out / f"{result.name}.json", out / f"{result.name}.md"
    text.write_text(json.dumps(finite(document), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write_text(markdown(result), encoding="utf-8")
    written = [text, page]
    if result.items:
        rows = "".join(json.dumps(finite(i), ensure_ascii=False) + "\n" for i in result.items)
        place = out / "items" / f"{result.name}.jsonl.gz"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(gzip.compress(rows.encode(), 9, mtime=0))
        written.append(place)
    return written


def read_items(out: Path, name: str) -> list[dict[str, Any]]:
    """The questions of a written result, one by one."""
    place = out / "items" / f"{name}.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(place.read_bytes()).decode().splitlines()]


def finite(value: Any) -> Any:
    """JSON has no infinity: what is not known becomes null."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown(result: Result) -> str:
    """The fragment of a result: figures, tables, notes, and the command that makes it again."""
    lines = [f"## {result.title}", "", result.about, ""]
    if command := result.facts.get("command"):
        lines += ["```", str(command), "```", ""]
    rows = [(f.label, *_cells(f), f.note) for f in result.figures]
    lines += markdown_table(("", "value", "95 % interval", "95 % by source", "questions", "note"), rows)
    for table in result.tables:
        body = markdown_table(table.header, [tuple(map(_cell, r)) for r in table.rows])
        if table.folded:
            lines += ["", f"<details><summary>{table.title}</summary>", "", *body, "", "</details>"]
        else:
            lines += ["", f"**{table.title}**", "", *body]
    lines += ["", *(f"- {note}" for note in result.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _cells(figure: Figure) -> tuple[str, str, str, str]:
    e = figure.estimate
    sourced = between(e.source_low, e.source_high, figure.unit) if e.sources > 1 else ""
    spread = between(e.low, e.high, figure.unit) if e.high > e.low else ""
    return shown(e.value, figure.unit), spread, sourced, str(e.items) if e.items else ""


def shown(value: float, unit: str = "%") -> str:
    """A value with its unit."""
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.2f} {unit}".strip()


def between(low: float, high: float, unit: str = "%") -> str:
    """An interval; empty when it says nothing."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{100 * low:.1f} to {100 * high:.1f}" if unit == "%" else f"{low:.2f} to {high:.2f}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{100 * value:.0f} %" if isinstance(value, float) else str(value)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a table; bars in cells are escaped."""
    clean = [[str(c).replace("|", "\\|") for c in row] for row in [header, *rows]]
    return [f"| {' | '.join(clean[0])} |", "|" + "---|" * len(header), *(f"| {' | '.join(r)} |" for r in clean[1:])]
