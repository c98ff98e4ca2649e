"""The stages of a batch on Ray Data: windows of rows go to processes with a model each, results come back in order.

The driver spools the open rows to a file, so that any window of them can be read at once, and writes the journal
itself: killing and going on are as without Ray. On a cluster the folder of the output and the recordings must be
reachable under the same paths everywhere.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alm.errors import ConfigError
from serve.batch.rows import Line
from serve.batch.stages import Answerer, Finished, Opens, RecordingCache, Results, Window, answered, ready_or_error


@dataclass(frozen=True)
class _Span:
    """Where a window lies in the spool."""

    place: int
    rows: int


@dataclass(frozen=True)
class RayEngine:
    """Satisfies `serve.batch.stages.Engine`.

    Args:
        load_answerer: called once in each process.
        spool: a file for the open rows; it is removed in the end.
        workers: processes with a model each.
    """

    source: Opens
    load_answerer: Callable[[], Answerer]
    spool: Path
    window: int
    details: bool
    workers: int = 1

    def __call__(self, lines: Iterator[Line]) -> Results:
        ray = ray_module()
        with ExitStack() as at_end:
            at_end.callback(self.spool.unlink, missing_ok=True)
            spans = _spooled(lines, self.spool, self.window)
            if not spans:
                return
            if not ray.is_initialized():
                _start(ray)
                at_end.callback(ray.shutdown)
            ray.data.DataContext.get_current().enable_progress_bars = False
            ray.data.DataContext.get_current().execution_options.preserve_order = True
            data = ray.data.from_items([vars(s) for s in spans], override_num_blocks=min(len(spans), 1000))
            results = data.map_batches(
                _Worker,
                fn_constructor_args=(self,),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=self.workers),
            )
            try:
                with self.spool.open("rb") as spool:
                    for result in results.iter_rows():
                        for raw in json.loads(str(result["finished"])):
                            yield _line(spool.readline()), Finished(**raw)
            except ray.exceptions.RayError as error:
                last = str(error).strip().splitlines()[-1][:300]
                raise ConfigError(f"Ray gave up ({last}); try --engine local, or look into Ray's logs") from None


class _Worker:
    """One process of the pool."""

    def __init__(self, engine: RayEngine) -> None:
        self.engine = engine
        self.answer = engine.load_answerer()
        self.recordings = RecordingCache()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Spans of the spool to finished rows, as JSON."""
        spans = zip(batch["place"].tolist(), batch["rows"].tolist(), strict=True)
        return {"finished": [json.dumps(self._finished(_Span(*span))) for span in spans]}

    def _finished(self, span: _Span) -> list[dict[str, Any]]:
        window = Window()
        with self.engine.spool.open("rb") as spool:
            spool.seek(span.place)
            for _ in range(span.rows):
                line = _line(spool.readline())
                window.add(line, ready_or_error(line, self.engine.source, self.recordings))
        done = answered(window, self.answer, self.engine.details)
        return [{"added": f.added, "seconds": f.seconds, "cut": f.cut} for _, f in done]


def ray_module() -> Any:
    """`ray` with Ray Data, imported when it is asked for. Raises: ConfigError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError:
        raise ConfigError("--engine ray needs Ray Data: pip install 'alm[ray]', or use --engine local") from None
    return ray


def _start(ray: Any) -> None:
    """A local Ray, or the cluster that RAY_ADDRESS names. Raises: ConfigError."""
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    except Exception as error:  # Ray raises bare ones
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ConfigError(f"Ray could not be started ({reason}); try again, or --engine local") from None


def _spooled(lines: Iterator[Line], spool: Path, rows: int) -> list[_Span]:
    """Write the lines to the spool; where each window of them begins."""
    places: list[int] = []
    count = 0
    with spool.open("wb") as file:
        for count, line in enumerate(lines, start=1):
            if (count - 1) % rows == 0:
                places.append(file.tell())
            fields = {"number": line.number, "id": line.id, "fields": line.fields, "unit": line.unit}
            file.write(json.dumps(fields, default=str).encode() + b"\n")
    return [_Span(place, min(rows, count - index * rows)) for index, place in enumerate(places)]


def _line(raw: bytes) -> Line:
    return Line(**json.loads(raw))
