"""Reading a download to its end: what it brought, and files of samples and of what was lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.atomic import writing_text
from data_prep.errors import CorpusError
from data_prep.readers.base import Lost, ReadOptions, ReadReport, Source
from data_prep.samples import Sample, to_json

SAMPLES, LOST = "samples.jsonl", "lost.jsonl"


def read_all(
    source: Source,
    root: Path,
    options: ReadOptions,
    out: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> ReadReport:
    """Read a download as a stream; with `out`, `samples.jsonl` and `lost.jsonl` there are whole or absent.

    Raises:
        CorpusError: it is not the official download, or not one sample is in it.
    """
    report = ReadReport()
    with ExitStack() as stack:
        # Names of lost files may hold bytes that are no text; these are written out.
        whole = partial(writing_text, errors="backslashreplace")
        files = {name: stack.enter_context(whole(out / name)) for name in (SAMPLES, LOST)} if out else {}
        for one in source.read(root, options):
            report.count(one)
            advance()
            if files:
                row = to_json(one) if isinstance(one, Sample) else asdict(one)
                kind = SAMPLES if isinstance(one, Sample) else LOST
                files[kind].write(json.dumps(row, ensure_ascii=False) + "\n")
    if not report.samples:
        raise CorpusError(f"{root}: not one sample of {source.name}: {_losses(report) or 'its lists are empty'}")
    return report


def _losses(report: ReadReport) -> str:
    told = [f"{count} x {reason}" for reason, count in report.lost.most_common()]
    return "; ".join(told) + (f", such as {_line(report.shown[0])}" if report.shown else "")


def _line(lost: Lost) -> str:
    return f"{lost.where}: {lost.detail or lost.reason}"


def lines(source: Source, report: ReadReport) -> list[str]:
    """The report for people."""
    found = ", ".join(f"{split} {count}" for split, count in sorted(report.samples.items()))
    told = [f"{source.name}: {sum(report.samples.values())} samples ({found}), {sum(report.lost.values())} lost"]
    for reason, count in report.lost.most_common():
        told.append(f"  {count} x {reason}")
        told += [f"    {_line(one)}" for one in report.shown if one.reason == reason]
    return told


def as_json(source: Source, report: ReadReport) -> dict[str, Any]:
    """The report for programs."""
    shown = [asdict(one) for one in report.shown]
    return {"source": source.name, "samples": dict(report.samples), "lost": dict(report.lost), "shown": shown}
