"""The public names of `alm` with their signatures, one per line: `python -m tools.surface [--write]`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

SURFACE = Path(__file__).resolve().parent.parent / "tests" / "public_surface.txt"


def _signature(value: object) -> str:
    try:
        return str(inspect.signature(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""


def _class_signature(value: type) -> str:
    """Parameters of the constructor; of a configuration only the fields that this project adds to transformers' own."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    fields = {
        name for base in value.__mro__ if base.__module__.startswith("alm") for name in inspect.get_annotations(base)
    }
    if dataclasses.is_dataclass(value) and set(signature.parameters) - fields:
        kept = [p for name, p in signature.parameters.items() if name in fields]
        signature = signature.replace(parameters=kept)
    return str(signature)


def _members(name: str, value: type) -> Iterator[str]:
    """Public methods and properties that the class itself, inside this project, defines."""
    for key, member in sorted(vars(value).items()):
        if key.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"{name}.{key}"
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            yield f"{name}.{key}{_signature(getattr(value, key))}"


def lines() -> Iterator[str]:
    """One line per public name: functions and classes with signatures, then the classes' public members."""
    alm = importlib.import_module("alm")
    for name in sorted(alm.__all__):
        value = getattr(alm, name)
        if inspect.isclass(value):
            own = "" if issubclass(value, BaseException) else _class_signature(value)
            yield f"class {name}{own}"
            yield from _members(name, value)
        elif callable(value):
            yield f"{name}{_signature(value)}"
        else:
            yield name


def describe() -> str:
    """The whole surface as text."""
    return "".join(f"{line}\n" for line in lines())


def main() -> None:
    """Print the surface, or keep it for the test to compare with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {SURFACE.name} instead of printing")
    if parser.parse_args().write:
        SURFACE.write_text(describe(), encoding="utf-8")
    else:
        print(describe(), end="")


if __name__ == "__main__":
    main()
