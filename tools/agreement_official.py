"""Parts of published scorers, run from a checkout: whole scripts in a process of their own, or single functions.

Many scorers load models, fixed paths or paid interfaces when they are imported. Only the functions and statements that
score are taken out of them, by name, and run as they are. A checkout is code of others: who gives its folder runs it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alm.errors import ConfigError

SECONDS = 900


def commit_of(checkout: Path) -> str:
    """The commit that a checkout is of, shortened; `?` where git does not know."""
    done = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()[:7] if done.returncode == 0 else "?"


def run_script(script: Path, *arguments: str, folder: Path) -> str:
    """What a script prints and logs.

    Raises:
        ConfigError: it is not there, or ends with an error.
    """
    if not script.is_file():
        raise ConfigError(f"{script}: no such script; give the folder of the benchmark's repository with --checkout")
    command = [sys.executable, str(script.resolve()), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode != 0:
        raise ConfigError(f"{script} ends with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout + done.stderr


def functions(script: Path, *names: str, **given: Any) -> dict[str, Any]:
    """Functions and classes of a script by name, nested ones too; `given` are the other names that they use.

    Raises:
        ConfigError: the script or a function is not there.
    """
    kinds = ast.FunctionDef | ast.ClassDef
    found = [n for n in ast.walk(_tree(script)) if isinstance(n, kinds)]
    nodes = {n.name: n for n in reversed(found) if n.name in names}  # outer ones before methods of the same name
    if missing := [name for name in names if name not in nodes]:
        raise ConfigError(f"{script}: no function {missing[0]!r}; is it another version of the repository?")
    space = dict(given)
    _run([nodes[name] for name in names], space, script)
    return space


def statements(script: Path, wanted: Callable[[ast.stmt], bool], **given: Any) -> Callable[..., dict[str, Any]]:
    """The first statement that is wanted, as a function of the names that it uses; returns all names after it.

    Raises:
        ConfigError: the script or the statement is not there.
    """
    found = next((n for n in ast.walk(_tree(script)) if isinstance(n, ast.stmt) and wanted(n)), None)
    if found is None:
        raise ConfigError(f"{script}: the part that scores is not there; is it another version of the repository?")

    def called(**names: Any) -> dict[str, Any]:
        space = {**given, **names}
        _run([found], space, script)
        return space

    return called


def _tree(script: Path) -> ast.Module:
    try:
        return ast.parse(script.read_text(encoding="utf-8"), str(script))
    except OSError:
        raise ConfigError(
            f"{script}: no such script; give the folder of the benchmark's repository with --checkout"
        ) from None


def _run(nodes: list[Any], space: dict[str, Any], script: Path) -> None:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = []
    exec(compile(ast.Module(body=nodes, type_ignores=[]), str(script), "exec"), space)
