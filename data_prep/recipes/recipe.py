"""A recipe as it is written: a YAML file with a name, a seed and steps, each checked before anything runs."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from alm.errors import ConfigError

T = TypeVar("T")
SHIPPED = Path(__file__).parent
VERSION = 1
MAX_BYTES = 2**20
MAX_STEPS = 100
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
KEYS = ("recipe", "name", "seed", "title", "steps")


@dataclass(frozen=True)
class AskedStep:
    """One step of a recipe."""

    use: str
    """Kind of step."""
    name: str
    """Of its own; the kind when not given."""
    takes: tuple[str, ...]
    """Earlier steps whose results it takes; empty: all."""
    options: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class Recipe:
    """What `run_recipe` does."""

    name: str
    seed: int
    title: str
    steps: tuple[AskedStep, ...]


class _Strict(yaml.SafeLoader):
    """Repeated keys are errors, and so are aliases, by which a small file could describe a huge one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"the key {twice[0]!r} is there twice, line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"aliases are not allowed, line {self.line + 1}")
        return super().compose_node(parent, index)


def find_recipe(name: str) -> Path:
    """The file `name`, or the recipe of that name that is shipped.

    Raises:
        ConfigError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{name}.yaml"
    if NAME.fullmatch(name) and shipped.is_file():
        return shipped
    known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
    raise ConfigError(f"{name}: no such file, and no shipped recipe (there are: {known})")


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file.

    Raises:
        ConfigError: it is not readable, not YAML, or a key is unknown, repeated or of a wrong kind.
    """
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path}: has {len(data)} bytes; a recipe has at most {MAX_BYTES}")
        document = yaml.load(data.decode(), Loader=_Strict)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as fault:
        raise ConfigError(f"{path}: is no readable recipe ({fault})") from fault
    if not isinstance(document, dict) or document.get("recipe") != VERSION:
        raise ConfigError(f"{path}: must begin with `recipe: {VERSION}`")
    if unknown := [key for key in document if key not in KEYS]:
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(KEYS)}")
    name, seed = document.get("name", path.stem), document.get("seed", 0)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"{path}: name is {name!r}; it must be small letters, digits, '-' and '_'")
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ConfigError(f"{path}: seed is {seed!r}; it must be a whole number that is not negative")
    return Recipe(name, seed, str(document.get("title", name)), _steps(document.get("steps"), path))


def _steps(rows: Any, path: Path) -> tuple[AskedStep, ...]:
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_STEPS:
        raise ConfigError(f"{path}: steps must be a list of 1 to {MAX_STEPS} steps")
    steps: list[AskedStep] = []
    for number, row in enumerate(rows, start=1):
        where = f"{path}: step {number}"
        if not isinstance(row, dict) or not isinstance(row.get("use"), str):
            raise ConfigError(f"{where}: must have `use:` with the kind of step")
        row = dict(row)
        use, takes = row.pop("use"), row.pop("takes", [])
        name = row.pop("name", use)
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in [step.name for step in steps]:
            raise ConfigError(f"{where}: name is {name!r}; it must be small letters, digits, '-' and '_', and its own")
        if not isinstance(takes, list) or (unknown := [t for t in takes if t not in [step.name for step in steps]]):
            raise ConfigError(f"{where}: takes {takes if not isinstance(takes, list) else unknown}; name earlier steps")
        steps.append(AskedStep(use, name, tuple(takes), row, where))
    return tuple(steps)


def options_of(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass of plain values.

    Raises:
        ConfigError: a key is unknown or missing, or a value of another type than its field.
    """
    _check_keys(kind, values, where)
    try:
        # As JSON, so that lists may become tuples while a number stays what it is.
        return TypeAdapter(kind).validate_json(json.dumps(dict(values)), strict=True)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {place or 'options'} is {str(first['input'])[:80]!r}: {first['msg']}") from fault
    except TypeError as fault:  # dates and the like
        raise ConfigError(f"{where}: {fault}; write texts in quotes") from fault


def _check_keys(kind: type, values: Mapping[str, Any], where: str) -> None:
    """In tables inside of tables, too: a limit with its name misspelt would be none."""
    hints = get_type_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; known are {', '.join(known) or 'none'}")
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping):
            _check_keys(cast(type, hints[key]), value, f"{where}: {key}")
