"""The fields of a run's configuration with their defaults and what they mean, read out of `training.config` itself."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from textwrap import dedent
from typing import Any, get_args, get_type_hints

from training.config import RunConfig


def documented(kind: type) -> dict[str, str]:
    """Each field's docstring, on one line; fields without one are left out."""
    body = ast.parse(dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for node, following in zip(body.body, body.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = following.value if isinstance(following, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[node.target.id] = " ".join(value.value.split())
    return found


def configurations(kind: type = RunConfig, path: str = "") -> Iterator[tuple[str, type]]:
    """Every dataclass of a configuration with the path at which it stands: `""`, `data`, `stages[].augment`."""
    yield path, kind
    for name, hint in get_type_hints(kind).items():
        own = [hint, *get_args(hint)]
        if (inner := next((h for h in own if is_dataclass(h)), None)) is not None:
            here = f"{path}.{name}" if path else name
            yield from configurations(inner, here if inner is hint else f"{here}[]")  # type: ignore[arg-type]


def explain() -> Iterator[str]:
    """Lines for a reader: each table, then its fields with default and meaning."""
    for path, kind in configurations():
        yield f"{path or 'top level'}: {(kind.__doc__ or '').strip().splitlines()[0]}"
        docs = documented(kind)
        for one in fields(kind):
            yield f"  {one.name} ({one.type}{_default(one)}): {docs[one.name]}"
        yield ""


def _default(one: Field[Any]) -> str:
    if one.default is not MISSING:
        return f", default {one.default!r}"
    return ", must be given" if one.default_factory is MISSING else ""
