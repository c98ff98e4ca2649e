"""Where recordings lie, and how files name them without naming a folder of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from data_prep.errors import CorpusError

MARK = "@"


@dataclass(frozen=True)
class Places:
    """Folders that recordings are below: names are relative to `root`, or begin with `@NAME/` for another folder."""

    root: Path
    others: Mapping[str, Path] = field(default_factory=dict)

    def name(self, path: str) -> str:
        """How rows name the file at `path`; a path below no known folder stays as it is."""
        if not Path(path).is_absolute():
            return path
        for name, folder in self.others.items():
            if Path(path).is_relative_to(folder):
                return f"{MARK}{name}/{Path(path).relative_to(folder).as_posix()}"
        if Path(path).is_relative_to(self.root):
            return Path(path).relative_to(self.root).as_posix()
        return path

    def path(self, name: str) -> Path:
        """The file that `name` means.

        Raises:
            CorpusError: it is an address, leads out of its folder, or names a folder that is not known.
        """
        pure = PurePosixPath(name)
        if "://" in name or "\0" in name or ".." in pure.parts:
            raise CorpusError(f"recording {name[:120]!r}: must be a file below {self.root}; fetch it first")
        if not name.startswith(MARK):
            return self.root / name
        folder = self.others.get(pure.parts[0][len(MARK) :])
        if folder is None:
            if (self.root / name).is_file():
                return self.root / name
            raise CorpusError(f"recording {name[:120]!r}: no folder is called {pure.parts[0]!r}; build again")
        return folder.joinpath(*pure.parts[1:])

    def provenance(self, name: str) -> str:
        """`name` as published rows tell it: of a path outside of all folders only its last part."""
        return PurePosixPath(name).name if PurePosixPath(name).is_absolute() else name
