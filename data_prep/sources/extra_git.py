"""Reading files of one commit of a public git repository: from a local mirror, or fetched shallow.

No work tree is ever made and nothing of the repository is run: blobs are read with `git cat-file`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.sources.catalog import Source

HOST = "https://github.com"
FETCH_SECONDS = 3600
MAX_BLOB_BYTES = 256 * 2**20
SAFE = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


def _git(arguments: Iterable[str], seconds: int = 600) -> bytes:
    """Standard output of a git command; raises `CorpusError` with git's last line."""
    tool = shutil.which("git")
    if tool is None:
        raise CorpusError("git is not installed on this machine; install it to fetch the extra recordings")
    command = [tool, *SAFE, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired as fault:
        raise CorpusError(f"git {command[-1]}: no end after {seconds} s; try again on a faster connection") from fault
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise CorpusError(f"git failed ({lines[-1]})")
    return done.stdout


@dataclass(frozen=True)
class GitFiles:
    """The files of `commit` in a git directory."""

    git_dir: Path
    commit: str

    def paths(self) -> list[str]:
        """All paths of the commit, sorted."""
        listing = _git(["--git-dir", str(self.git_dir), "ls-tree", "-r", "-z", "--name-only", self.commit])
        return sorted(name.decode(errors="surrogateescape") for name in listing.split(b"\0") if name)

    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Content of each of `paths` that the commit has; raises `CorpusError` for one above the size limit."""
        tool = shutil.which("git") or "git"
        command = [tool, *SAFE, "--git-dir", str(self.git_dir), "cat-file", "--batch"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            for path in paths:
                if "\n" in path:
                    continue
                process.stdin.write(f"{self.commit}:{path}\n".encode(errors="surrogateescape"))
                process.stdin.flush()
                header = process.stdout.readline().split()
                if header[-2:-1] != [b"blob"]:
                    continue  # "<name> missing": not in this commit, or not fetched
                size = int(header[-1])
                if size > MAX_BLOB_BYTES:
                    process.kill()
                    raise CorpusError(f"{path}: {size} bytes is above the limit of {MAX_BLOB_BYTES}")
                data = process.stdout.read(size)
                process.stdout.read(1)
                yield path, data
            process.stdin.close()


def mirror_dir(mirror: Path, source: Source) -> Path | None:
    """The git directory of `source` in a folder of mirrors (`owner+name`, with or without `repo` and `.git` inside)."""
    base = mirror / source.package
    for place in (base, base / "repo", base / ".git", base / "repo" / ".git"):
        if (place / "HEAD").is_file() and (place / "objects").is_dir():
            return place
    return None


def has_commit(git_dir: Path, commit: str) -> bool:
    """Whether the tree of `commit` is in the git directory."""
    try:
        _git(["--git-dir", str(git_dir), "cat-file", "-e", f"{commit}^{{tree}}"])
    except CorpusError:
        return False
    return True


def fetch(source: Source, folder: Path, host: str = HOST) -> Path:
    """Fetch exactly the commit of `source` into `folder/owner+name` (depth 1); gives the git directory.

    An interrupted fetch is repeated whole by the next call. Raises `CorpusError` when the host lacks the commit.
    """
    git_dir = folder / source.package
    if not (git_dir / "HEAD").is_file():
        git_dir.parent.mkdir(parents=True, exist_ok=True)
        _git(["init", "--bare", "--quiet", str(git_dir)])
    if not has_commit(git_dir, source.version):
        address = f"{host}/{source.name}"
        try:
            _git(["--git-dir", str(git_dir), "fetch", "--quiet", "--depth=1", address, source.version], FETCH_SECONDS)
        except CorpusError as fault:
            raise CorpusError(
                f"{source.name}: commit {source.version[:12]} is not to be had from {host}: {fault}"
            ) from fault
    return git_dir


def open_source(source: Source, mirrors: Iterable[Path], folder: Path | None, host: str = HOST) -> GitFiles:
    """Files of `source` from the first of `mirrors` that has its commit, else fetched into `folder`.

    With `folder` None nothing is downloaded, and a missing commit is a `CorpusError`.
    """
    places = list(mirrors)
    for mirror in places:
        found = mirror_dir(mirror, source)
        if found is not None and has_commit(found, source.version):
            return GitFiles(found, source.version)
    if folder is None:
        looked = ", ".join(map(str, places)) or "no mirror"
        raise CorpusError(f"{source.name}: commit {source.version[:12]} is not in {looked}, and downloads are off")
    return GitFiles(fetch(source, folder, host), source.version)
