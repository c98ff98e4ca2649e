"""Where units and shards are made: in this process, or by Ray Data in processes of any number of machines."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from alm.errors import AlmError, ConfigError
from data_prep.errors import CorpusError
from data_prep.places import Places
from data_prep.recipes.units import Done, Unit, read_done, run_unit
from data_prep.shards.layout import Shard, shard_from_json
from data_prep.shards.packing import Job
from data_prep.shards.writing import in_threads

T = TypeVar("T")


class Engine(Protocol):
    """Runs the units of a step, and the shards; results come in the order of the work."""

    def units(self, units: Sequence[Unit], work: Path, places: Places) -> Iterator[Done]: ...

    def shards(self, pack: Callable[[Job], Shard], jobs: list[Job]) -> Iterator[Shard]: ...


@dataclass(frozen=True)
class LocalEngine:
    """This process: unit after unit, shards in threads."""

    workers: int = 1

    def units(self, units: Sequence[Unit], work: Path, places: Places) -> Iterator[Done]:
        """Units in turn."""
        return (run_unit(unit, work, places) for unit in units)

    def shards(self, pack: Callable[[Job], Shard], jobs: list[Job]) -> Iterator[Shard]:
        """Shards side by side."""
        return in_threads(self.workers)(pack, jobs)


@dataclass(frozen=True)
class RayEngine:
    """Ray Data; folders must have one path on all its machines. `ray_engine` makes one.

    Units and shards are pure functions that write whole files or none, so it does not matter where they run, nor
    whether one is run again after a machine was lost.
    """

    ray: Any

    def units(self, units: Sequence[Unit], work: Path, places: Places) -> Iterator[Done]:
        """Units of a step side by side."""

        def run(unit: Unit) -> str:
            run_unit(unit, work, places)
            return ""

        for unit, _ in zip(units, self._map(run, units), strict=True):
            done = read_done(unit, work)
            if done is None:
                raise ConfigError(f"{unit.folder(work)}: is not seen from here; Ray's machines must share the folder")
            yield done

    def shards(self, pack: Callable[[Job], Shard], jobs: list[Job]) -> Iterator[Shard]:
        """Shards side by side."""

        def run(job: Job) -> str:
            return json.dumps(dataclasses.asdict(pack(job)))

        return (shard_from_json(json.loads(made)) for made in self._map(run, jobs))

    def _map(self, work: Callable[[T], str], items: Sequence[T]) -> Iterator[str]:
        if not items:
            return
        shared = self.ray.put(list(items))
        get = self.ray.get

        def one(row: dict[str, Any]) -> dict[str, str]:
            try:
                return {"made": work(get(shared)[int(row["number"])]), "error": ""}
            except AlmError as fault:
                return {"made": "", "error": str(fault) or type(fault).__name__}

        rows = self.ray.data.from_items([{"number": n} for n in range(len(items))], override_num_blocks=len(items))
        try:
            for row in rows.map(one, num_cpus=1).iter_rows():
                if row["error"]:
                    raise CorpusError(str(row["error"]))
                yield str(row["made"])
        except self.ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1][:300]
            raise ConfigError(f"Ray gave up ({last}); try --engine local, or look into Ray's logs") from None


@contextmanager
def ray_engine(workers: int = 1) -> Iterator[RayEngine]:
    """An engine on a local Ray with so many processors, or on the cluster that RAY_ADDRESS names.

    Raises:
        ConfigError: Ray is not installed, or does not start.
    """
    ray = _ray()
    mine = not ray.is_initialized()
    if mine:
        _start(ray, workers)
    try:
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        ray.data.DataContext.get_current().enable_progress_bars = False
        ray.data.DataContext.get_current().execution_options.preserve_order = True
        yield RayEngine(ray)
    finally:
        if mine:
            ray.shutdown()


def _ray() -> Any:
    """`ray` with Ray Data, imported when it is asked for. Raises: ConfigError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError:
        raise ConfigError("--engine ray needs Ray Data: pip install 'alm[ray]', or use --engine local") from None
    return ray


def _start(ray: Any, workers: int) -> None:
    """Raises: ConfigError."""
    # With RAY_ADDRESS set the cluster has its own number of processors, and naming one is an error.
    size = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers}
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING, **size)
    except Exception as error:  # Ray raises bare ones
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ConfigError(f"Ray could not be started ({reason}); try again, or --engine local") from None
