"""Which version of the code made something: a digest of the sources that it can reach, and of libraries that count."""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import cache
from modulefinder import ModuleFinder
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COUNTED = ("data_prep/", "alm/audio", "alm/errors")
"""Where sources lie whose change makes other data; the model has no part in it."""
LIBRARIES = ("av", "numpy", "pyarrow", "soundfile", "soxr")
"""Another version of these may write other bytes."""
DATA = "data_prep/manifest"
CODE_ALONE = ("data_prep", "data_prep/recipes")
"""Folders whose other files are no part of the code; prompts and the like are."""


@cache
def code_version(*modules: str) -> str:
    """The same as long as no source that these modules import, directly or not, has changed.

    Sources are found in the code, not by running it, so imports inside of functions count too.
    """
    finder = ModuleFinder(path=[str(ROOT)])
    for module in modules:
        finder.import_hook(module, None, ["*"])
    found = (getattr(module, "__file__", None) for module in finder.modules.values())
    files = {Path(name) for name in found if name}
    folders = {path.parent for path in files} - {ROOT / name for name in CODE_ALONE} | {ROOT / DATA}
    for folder in (one for one in folders if one.is_relative_to(ROOT / "data_prep")):
        files |= {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    digest = hashlib.sha256("\n".join(f"{name} {_installed(name)}" for name in LIBRARIES).encode())
    for path in sorted(files):
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if name.startswith(COUNTED):
            digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
