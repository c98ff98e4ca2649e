"""The field's benchmarks: what each is, where its data are, and how the official download becomes a prepared one."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from alm.errors import ConfigError
from eval.benchmarks import (
    ahelm,
    ahelm_speech,
    air,
    blab,
    captions,
    closed_sets_list,
    clotho_aqa,
    compa,
    dynamic_superb,
    mmar,
    mmau,
    seld,
    slue,
    speech,
    teleantifraud,
)
from eval.benchmarks.preparing import Progress, prepare_benchmark
from eval.benchmarks.records import Benchmark
from eval.harness.prepared import Prepared

__all__ = ["BENCHMARKS", "Benchmark", "benchmark", "prepare"]

_FAMILIES = (
    mmau,
    mmar,
    air,
    ahelm,
    ahelm_speech,
    blab,
    dynamic_superb,
    slue,
    clotho_aqa,
    compa,
    teleantifraud,
    captions,
    speech,
    seld,
    closed_sets_list,
)

BENCHMARKS: dict[str, Benchmark] = {one.name: one for family in _FAMILIES for one in family.BENCHMARKS}


def benchmark(name: str) -> Benchmark:
    """One benchmark by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in BENCHMARKS:
        near = get_close_matches(name, BENCHMARKS, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"no benchmark {name!r}{hint} `alm eval list` names all")
    return BENCHMARKS[name]


def prepare(
    name: str,
    download: Path,
    out: Path,
    split: str = "",
    *,
    allow_lost: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """[`prepare_benchmark`] by name. Raises: ConfigError if there is no such benchmark, else as that."""
    return prepare_benchmark(benchmark(name), download, out, split, allow_lost=allow_lost, progress=progress)
