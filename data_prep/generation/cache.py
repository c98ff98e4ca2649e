"""Answers that were paid for once: a file of SQLite, keyed by the hash of what was asked. Killed at any time, it holds
every answer that was put into it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.errors import CorpusError

_TABLE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


def content_key(content: Mapping[str, Any]) -> str:
    """SHA-256 over what was asked, which does not depend on the order of its fields."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Cache:
    """Values by key, for many threads of one process.

    Raises:
        CorpusError: the file is no cache, or another program holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._turn = threading.Lock()
        try:
            self._store = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            self._store.execute("PRAGMA journal_mode=WAL")
            self._store.execute("PRAGMA synchronous=NORMAL")  # a crash of the machine may cost the last answers
            self._store.execute(_TABLE)
        except sqlite3.Error as fault:
            raise CorpusError(f"{path}: cannot be used as a cache of answers ({fault}); delete or move it") from fault

    def get(self, key: str) -> dict[str, Any] | None:
        """What was put there."""
        with self._turn:
            row = self._store.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep a value; the first one stays."""
        with self._turn:
            self._store.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, json.dumps(value)))

    def close(self) -> None:
        self._store.close()
