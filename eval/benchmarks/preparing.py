"""From what a reader yields to a prepared benchmark: recordings hashed, losses counted, counts checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from alm.errors import RecordError
from eval.benchmarks.download import Download
from eval.benchmarks.records import Benchmark, Unusable
from eval.harness.items import BenchCard, Clip, Item, Lost
from eval.harness.prepared import Prepared, write_prepared
from eval.kinds.base import LabelSet
from eval.suites.studio import file_sha256

Progress = Callable[[str, float], None]


def prepare_benchmark(
    bench: Benchmark,
    download: Path,
    out: Path,
    split: str = "",
    *,
    allow_lost: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Read an official download and write the prepared benchmark.

    Args:
        split: One of the benchmark's; empty is the usual one.
        allow_lost: Go on where the download lacks rows or recordings; how many is written on the card.
        progress: Told the step and its fraction done.

    Raises:
        RecordError: the download is not the official one, or lacks something and `allow_lost` is not given.
    """
    split = _known_split(bench, split)
    source = Download(download)
    items, labels, lost, unusable = _sorted_pieces(bench, source, split)
    kept, missing = _heard(items, source, progress or _silent)
    lost += missing
    _check_counts(bench, split, kept, lost, unusable, allow_lost)
    card = BenchCard(
        bench=bench.name,
        version=bench.version,
        split=split,
        licence=bench.licence,
        source=bench.source,
        items=len(kept),
        lost=_added_up(lost, unusable),
        prompts={name: text.template for name, text in bench.prompts.items()},
        files={**{t: file_sha256(source.root / t) for t in sorted(source.tables)}, **_recordings(kept)},
        data_root=str(source.root),
    )
    return write_prepared(out, card, kept, labels)


def _silent(step: str, fraction: float) -> None:
    """Progress that nobody watches."""


def _known_split(bench: Benchmark, split: str) -> str:
    if (split or bench.split) not in bench.splits:
        raise RecordError(f"{bench.name}: no split {split!r}; there are {', '.join(bench.splits)}")
    return split or bench.split


def _sorted_pieces(
    bench: Benchmark, source: Download, split: str
) -> tuple[list[Item], list[LabelSet], list[Lost], list[Unusable]]:
    items: list[Item] = []
    labels: list[LabelSet] = []
    lost: list[Lost] = []
    unusable: list[Unusable] = []
    seen: Counter[str] = Counter()
    for piece in bench.read(source, split):
        match piece:
            case Item():
                items.append(_unlike(piece, seen))
            case LabelSet():
                labels.append(piece)
            case Lost():
                lost.append(piece)
            case Unusable():
                unusable.append(piece)
    return items, labels, lost, unusable


def _unlike(item: Item, seen: Counter[str]) -> Item:
    """Official tables name some rows alike: the second one is `NAME#2`."""
    seen[item.id] += 1
    return item if seen[item.id] == 1 else item.model_copy(update={"id": f"{item.id}#{seen[item.id]}"})


def _heard(items: Iterable[Item], source: Download, progress: Progress) -> tuple[list[Item], list[Lost]]:
    """Items whose recordings are all there, with hashes; the others are lost."""
    rows = list(items)
    paths = sorted({c.path for i in rows for c in i.audios})
    hashes = {}
    for number, path in enumerate(paths, start=1):
        hashes[path] = file_sha256(source.root / path) if _holds_bytes(source.root / path) else ""
        progress("hash recordings", number / len(paths))
    kept = [_hashed(i, hashes) for i in rows if all(hashes[c.path] for c in i.audios)]
    return kept, [Lost(reason="recording missing or empty", count=len(rows) - len(kept))] * (len(kept) < len(rows))


def _holds_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _hashed(item: Item, hashes: dict[str, str]) -> Item:
    clips = tuple(Clip(path=c.path, sha256=hashes[c.path], start=c.start, end=c.end) for c in item.audios)
    return item.model_copy(update={"audios": clips})


def _recordings(items: Iterable[Item]) -> dict[str, str]:
    return {c.path: c.sha256 for i in items for c in i.audios}


def _added_up(lost: Iterable[Lost], unusable: Iterable[Unusable]) -> tuple[Lost, ...]:
    counts: Counter[str] = Counter()
    for reason, count in [*((one.reason, one.count) for one in lost), *((u.reason, u.count) for u in unusable)]:
        counts[reason] += count
    return tuple(Lost(reason=reason, count=count) for reason, count in counts.items() if count)


def _check_counts(
    bench: Benchmark, split: str, items: list[Item], lost: list[Lost], unusable: list[Unusable], allow_lost: bool
) -> None:
    """
    Raises:
        RecordError: there is nothing, more than the official number, or something is lost and that is not allowed.
    """
    official = bench.splits[split]
    rows = len(items) + sum(u.count for u in unusable)
    if official is not None and rows + sum(one.count for one in lost) < official:
        absent = official - rows - sum(one.count for one in lost)
        lost.append(Lost(reason="row missing in the official tables", count=absent))
    told = f"{bench.name} {bench.version}, split {split}"
    if not items:
        raise RecordError(f"{told}: not one item could be made: {_losses(lost, unusable)}. {bench.how_to_get}")
    if official is not None and rows > official:
        raise RecordError(f"{told}: {rows} items, but the official number is {official}: another version?")
    if lost and not allow_lost:
        total = "" if official is None else f" of {official}"
        raise RecordError(
            f"{told}: only {len(items)}{total} items: {_losses(lost, unusable)}. "
            "Complete the download, or go on with what is there by --allow-lost; the report will say so"
        )


def _losses(lost: Iterable[Lost], unusable: Iterable[Unusable]) -> str:
    return "; ".join(f"{one.count} x {one.reason}" for one in _added_up(lost, unusable)) or "nothing was found"
