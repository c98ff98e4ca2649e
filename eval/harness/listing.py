"""What `alm eval list` says about the benchmarks."""

from __future__ import annotations

from typing import Any


def describe(name: str | None = None) -> list[dict[str, Any]]:
    """One entry for each benchmark, with `text` for people; how to get the data only where one is asked for.

    Raises:
        ConfigError: no such benchmark.
    """
    from eval.benchmarks import BENCHMARKS, benchmark

    found = []
    for one in [benchmark(name)] if name is not None else [BENCHMARKS[key] for key in sorted(BENCHMARKS)]:
        entry = {
            "name": one.name, "title": one.title, "version": one.version, "licence": one.licence,
            "source": one.source, "measures": one.measures, "splits": dict(one.splits),
            "how_to_get": one.how_to_get,
        }  # fmt: skip
        found.append({**entry, "text": _long(entry) if name is not None else _short(entry)})
    return found


def _short(entry: dict[str, Any]) -> str:
    return f"{entry['name']:<28} {entry['title']} ({entry['version']}); {entry['measures']}; {entry['licence']}"


def _long(entry: dict[str, Any]) -> str:
    splits = ", ".join(f"{k} ({v} items)" if v else k for k, v in entry["splits"].items())
    return "\n".join([
        f"{entry['name']}: {entry['title']}, version {entry['version']}",
        f"measures: {entry['measures']}",
        f"splits: {splits}",
        f"licence: {entry['licence']}",
        f"source: {entry['source']}",
        f"data: {entry['how_to_get']}",
        f"then: alm eval prepare {entry['name']} --from FOLDER --out prepared/{entry['name']}",
    ])  # fmt: skip
