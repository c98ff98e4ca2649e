"""Repositories of the hub, and single files in them (`owner/repository:file`)."""

from __future__ import annotations

import re
from pathlib import Path

from alm.encoders.checkpoints.choosing import USUAL, weights_among
from alm.encoders.checkpoints.tables import NAMES, shards
from alm.errors import WeightsError, first_line

_SOURCE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(:(?P<file>.+))?")


def is_on_the_hub(source: str) -> bool:
    """Whether this is how a repository, or a file in one, is named."""
    return _SOURCE.fullmatch(source) is not None


def in_cache(source: str) -> bool:
    """Whether the weights of a repository are on this machine already; nothing is asked of the hub."""
    match = _SOURCE.fullmatch(source)
    return match is not None and _cached(match["repository"], match["file"])[0] is not None


def from_hub(source: str) -> tuple[Path, list[str]]:
    """Where a repository lies on this machine, and which of its files are the weights.

    What is in the cache already is taken as it is, without a connection. A repository whose file has a name of its
    own is listed first where the hub can be reached, for the cache may hold one of several.

    Raises:
        WeightsError: the hub gives out no such repository or file, or it has several files of which none was named.
    """
    match = _SOURCE.fullmatch(source)
    assert match is not None
    repository, file = match["repository"], match["file"]
    root, wanted, why = _cached(repository, file)
    if root and (file or wanted[0].removesuffix(".index.json") in USUAL):
        return root, wanted
    try:
        names = _listed(repository)
    except Exception as error:  # errors of a broken connection are those of a library under the hub's
        if root:
            return root, wanted
        raise _not_given(repository, f"{first_line(error)}; in the cache: {why}") from error
    wanted = _chosen(names, repository, file)
    return _fetched(repository, names, wanted), wanted


def _cached(repository: str, file: str | None) -> tuple[Path | None, list[str], str]:
    """The folder in the cache and the weights in it; no folder, and why, where they are not all there."""
    from huggingface_hub import snapshot_download

    try:
        root = Path(snapshot_download(repository, local_files_only=True))
        names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        wanted = _chosen(names, repository, file)
        index = wanted[0] if wanted[0].endswith(".index.json") else ""
        missing = [shard for shard in shards(root / index) if shard not in names] if index else []
        return (None, [], f"{missing[0]} is missing") if missing else (root, wanted, "")
    except (WeightsError, OSError, ValueError) as error:
        return None, [], first_line(error)


def _listed(repository: str) -> list[str]:
    from huggingface_hub import HfApi

    return list(HfApi().list_repo_files(repository))


def _chosen(names: list[str], repository: str, file: str | None) -> list[str]:
    """The weights among the files of a repository; with a file of TensorFlow's, its data."""
    if file is None:
        return weights_among(names, repository, f"name the file itself, as in {repository}:FILE")
    if file not in names:
        raise _not_given(repository, f"it has no file {file!r}")
    data = file.removesuffix(".index") + ".data-"
    return [file, *(name for name in names if file.endswith(".index") and name.startswith(data))]


def _fetched(repository: str, names: list[str], wanted: list[str]) -> Path:
    """The weights and the tables beside them or at the top."""
    from huggingface_hub import snapshot_download

    places = {"", wanted[0].rpartition("/")[0]}
    tables = [name for name in names if name.rpartition("/")[2] in NAMES and name.rpartition("/")[0] in places]
    try:
        return Path(snapshot_download(repository, allow_patterns=[_literal(name) for name in (*wanted, *tables)]))
    except Exception as error:  # as above
        raise _not_given(repository, first_line(error)) from error


def _literal(name: str) -> str:
    """A pattern that this name alone fits."""
    return re.sub(r"([\[*?])", r"[\1]", name)


def _not_given(repository: str, why: str) -> WeightsError:
    return WeightsError(
        f"{repository}: neither a file here nor something that the hub gives out ({why}); fetch it by other means and "
        "name the file"
    )
