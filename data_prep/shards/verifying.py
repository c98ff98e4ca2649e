"""Whether a folder of shards is what its index says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.shards.layout import Index, read_index


def verify_shards(folder: Path, advance: Callable[[], None] = lambda: None) -> Index:
    """Hash every file of the index.

    Raises:
        CorpusError: a file is absent or differs; all such files are named.
    """
    index = read_index(folder)
    wrong = []
    for shard in index.shards:
        for ending, wanted in ((".tar", shard.tar_sha256), (".parquet", shard.parquet_sha256)):
            path = folder / f"{shard.name}{ending}"
            if not path.is_file():
                wrong.append(f"{shard.name}{ending} is absent")
                continue
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != wanted:
                    wrong.append(f"{shard.name}{ending} has other bytes")
        advance()
    if wrong:
        shown = "; ".join(wrong[:20]) + (f"; and {len(wrong) - 20} more" if len(wrong) > 20 else "")
        raise CorpusError(f"{folder}: {shown}; build again, or copy the folder again")
    return index
