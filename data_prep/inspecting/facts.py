"""The figures of a set of records in words, for the page and the report alike."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep.inspecting.statistics import Statistics, spread


def fact_rows(found: Statistics) -> Iterator[tuple[str, str]]:
    """Name and value of every figure."""
    yield "records", f"{found.records:,} with {found.turns:,} answers"
    yield "rows that are no records", f"{found.wrong:,}"
    yield "splits", ", ".join(f"{name} {number:,}" for name, number in found.splits.most_common()) or "none"
    yield "recordings", f"{found.recordings:,}"
    yield "recordings that are not there", _missing(found)
    yield "hours of sound, each record counted", f"{found.hours:.2f}"
    low, _, middle, _, long, high = spread(found.seconds)
    yield "seconds of a record", f"median {middle:.2f}, shortest {low:.2f}, 99 % up to {long:.2f}, longest {high:.2f}"
    yield "recordings in a record", ", ".join(f"{n}: {c:,}" for n, c in sorted(found.per_record.items())) or "none"
    for name, counts in (("tasks", found.tasks), ("labels", found.labels), ("sources", found.sources)):
        yield f"different {name}", f"{len(counts):,}"
    yield "different licences", f"{len(found.licences):,}"
    yield "rows that repeat another word for word", f"{found.repeated:,}"
    yield "questions with different answers in different rows", f"{found.contradicting:,}"
    yield "copies", _copies(found)
    yield "leaks of benchmarks", _leaks(found)


def _missing(found: Statistics) -> str:
    if found.missing < 0:
        return "not looked for"
    shown = f", such as {found.missing_shown[0]}" if found.missing_shown else ""
    return f"{found.missing:,}{shown}"


def _copies(found: Statistics) -> str:
    told = found.copies
    if told is None:
        return "not looked for: run `alm data copies`"
    return (
        f"{told['same_samples']:,} pairs with the same samples, {told['near']:,} near copies, in "
        f"{len(told['groups']):,} groups; {told['across_splits']:,} pairs on two sides of a split"
    )


def _leaks(found: Statistics) -> str:
    if found.leaks is None:
        return "not looked for: run `alm data leaks`"
    parts = [f"{name}: {len(pairs):,}" for name, pairs in found.leaks["leaks"].items()]
    allowed = f" (allowed: {', '.join(found.leaks['allowed'])})" if found.leaks["allowed"] else ""
    return (", ".join(parts) or "none") + allowed
