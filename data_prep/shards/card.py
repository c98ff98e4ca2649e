"""The data card: what a folder of shards holds and how to read it, in the form that the field's hubs show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from data_prep.shards.features import features_of
from data_prep.shards.layout import Index, endings_of, fields_of

SHOWN = 40
HOW = """## Reading it

```python
from data_prep.shards import ShardStream          # shuffled, resumed and split over workers exactly

for item in ShardStream(FOLDER, "{split}", seed=0):
    print(item.record.messages, item.waveform(0).seconds)

import datasets                                   # one configuration for each kind of sample

rows = datasets.load_dataset(FOLDER, "{kind}", split="{split}", streaming=True)

import webdataset                                 # any tool that reads WebDataset tars

samples = webdataset.WebDataset(f"{{FOLDER}}/{split}/{kind}/{{{{00000..{last:05d}}}}}.tar", shardshuffle=False)
```

A sample is a recording, or several that are asked about together, and `json` with its `records` (`id`, `messages`,
`task`, `source`, `licence`, `split`, `duration`, and `meta` as JSON in a text). The Parquet file beside each tar has a
row for each record. `index.json` lists SHA-256 of every file; `alm data shards FOLDER --verify` checks them.
"""


def card(index: Index, title: str) -> str:
    """Markdown with a YAML head."""
    head = yaml.safe_dump(_head(index, title), sort_keys=False, allow_unicode=True)
    parts = [f"---\n{head}---\n", f"# {title}\n", _table(_totals(index))]
    for name, what in (("Tasks", "tasks"), ("Licences", "licences"), ("Sources", "sources")):
        parts.append(f"## {name}\n\nRecords; one on several recordings may count for several.\n")
        parts.append(_table(_by_split(index, what)))
    if index.shards:
        first = index.shards[0]
        last = max(int(s.name[-5:]) for s in index.shards if (s.split, s.kind) == (first.split, first.kind))
        parts.append(HOW.format(split=first.split, kind=first.kind, last=last))
    return "\n".join(parts)


def _head(index: Index, title: str) -> dict[str, Any]:
    kinds = dict.fromkeys(shard.kind for shard in index.shards if shard.samples)
    configs = [
        {
            "config_name": kind,
            "data_files": [
                {"split": split, "path": f"{split}/{kind}/*.tar"}
                for split in index.splits
                if any(shard.kind == kind and shard.samples for shard in index.of(split))
            ],
        }
        for kind in kinds
    ]
    infos = [{"config_name": kind, "features": features_of(fields_of(endings_of(kind)))} for kind in kinds]
    return {
        "pretty_name": title,
        "task_categories": ["audio-text-to-text"],
        "configs": configs,
        "dataset_info": infos,
    }


def _totals(index: Index) -> Iterable[tuple[str, ...]]:
    yield ("split", "records", "samples", "hours", "shards", "MB", "records left out")
    for split in index.splits:
        shards = index.of(split)
        hours = sum(shard.seconds for shard in shards) / 3600
        megabytes = index.total("tar_bytes", split) / 1e6
        yield (
            split,
            f"{index.total('records', split):,}",
            f"{index.total('samples', split):,}",
            f"{hours:.2f}",
            str(len(shards)),
            f"{megabytes:,.1f}",
            f"{index.total('lost_records', split):,}",
        )


def _by_split(index: Index, what: str) -> Iterable[tuple[str, ...]]:
    counts: Mapping[str, Mapping[str, int]] = {split: index.counted(what, split) for split in index.splits}
    yield (what, *counts)
    names = list(index.counted(what))
    for name in names[:SHOWN]:
        yield (name, *(f"{counts[split].get(name, 0):,}" for split in counts))
    if len(names) > SHOWN:
        yield (f"and {len(names) - SHOWN} more in index.json", *("" for _ in counts))


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * (lines[0].count("|") - 1), *lines[1:]]) + "\n"
