"""Recordings that a table holds as bytes: written beside it, so that the rest of the harness sees files."""

from __future__ import annotations

from collections.abc import Mapping

from alm.errors import RecordError
from eval.benchmarks.download import Download, Row

FOLDER = "unpacked"
MAX_BYTES = 1 << 30
_KINDS = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3"}


def extracted(source: Download, row: Row, name: str, stem: str) -> str:
    """The recording of a row, in the folder `unpacked` of the download; one that is there already stays.

    Raises:
        RecordError: the field holds no recording, or the folder cannot be written.
    """
    value = row.values.get(name)
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes) or not data or len(data) > MAX_BYTES:
        raise row.fault(name, f"must hold the bytes of a recording, at most {MAX_BYTES}")
    ending = next((e for head, e in _KINDS.items() if data.startswith(head)), ".mp3")
    place = source.inside(f"{FOLDER}/{stem}{ending}")
    path = source.root / place
    if not path.is_file() or path.stat().st_size != len(data):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise RecordError(f"{path}: recordings inside tables are unpacked here, but: {error}") from error
    return place
