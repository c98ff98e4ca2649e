"""The output of a batch that is no journal itself: CSV, Parquet or OpenAI batch lines, in the order of the input."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from alm.errors import ConfigError, first_line
from serve.batch.journal import replaced
from serve.batch.readers import pyarrow_modules
from serve.batch.rows import ADDED_FIELDS, Line
from serve.batch.sources import TABLES, Source

Kind = Literal["jsonl", "csv", "parquet", "openai"]
#: An input row and its entry in the journal.
Pair = tuple[Line, Mapping[str, Any]]
_MAX_COLUMNS = 1000
_PARQUET_ROWS = 1000


@dataclass(frozen=True)
class Target:
    """Where a batch writes, and how."""

    path: Path
    kind: Kind

    @property
    def direct(self) -> bool:
        """The journal itself is the output."""
        return self.kind == "jsonl"

    @property
    def journal(self) -> Path:
        return self.path if self.direct else self.path.with_name(self.path.name + ".journal.jsonl")


def open_target(path: Path, source: Source) -> Target:
    """What the ending of the output asks for.

    Raises:
        ConfigError: the output is the input, no file, or the work of somebody else.
    """
    if source.path.resolve() == path.resolve():
        raise ConfigError(f"{path}: input and output are the same file; choose another output")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: no regular file; answers are kept in one so that a batch can go on")
    target = target_of(path, source)
    if target.kind == "parquet":
        pyarrow_modules()  # better now than after the last answer
    if path.exists() and not target.journal.exists():
        raise ConfigError(f"{path}: there already, without {target.journal.name} beside it; choose another output")
    return target


def target_of(path: Path, source: Source) -> Target:
    """By the ending of a path, which may not be there. Raises: ConfigError."""
    ending = path.suffix.lower()
    if ending in TABLES:
        raise ConfigError(f"{path}: answers are written as .jsonl, .csv or .parquet; name it so")
    if ending not in (".csv", ".parquet"):
        return Target(path, "openai" if source.dialect == "openai" else "jsonl")
    if source.dialect == "openai":
        raise ConfigError(f"{path}: requests of OpenAI's Batch API are answered by lines; call it .jsonl")
    return Target(path, "csv" if ending == ".csv" else "parquet")


def write_output(
    target: Target, source: Source, columns: Iterable[str], pairs: Iterable[Pair], details: bool, model: str
) -> None:
    """Write the output anew, in one step.

    Args:
        columns: names of the input's fields.
        model: what OpenAI's responses say.

    Raises:
        ConfigError: the rows do not fit into a table.
    """
    names = list(columns)
    if len(names) >= _MAX_COLUMNS and target.kind != "openai":
        raise ConfigError(f"{target.path}: the rows have {_MAX_COLUMNS} or more different fields; write .jsonl instead")
    added = list(ADDED_FIELDS if details else ADDED_FIELDS[:2])
    with replaced(target.path) as path:
        if target.kind == "csv":
            _write_csv(path, names, added, pairs)
        elif target.kind == "parquet":
            _write_parquet(path, source, names, added, pairs)
        else:
            _write_lines(path, pairs, model)


def _write_csv(path: Path, names: list[str], added: list[str], pairs: Iterable[Pair]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([_cell(name) for name in [*names, *added]])
        for line, entry in pairs:
            cells = [line.fields.get(name) for name in names] + _added_cells(entry, added)
            writer.writerow(["" if cell is None else _cell(cell) for cell in cells])


def _write_parquet(path: Path, source: Source, names: list[str], added: list[str], pairs: Iterable[Pair]) -> None:
    """Columns of a Parquet input keep their types; all others are texts."""
    arrow, parquet = pyarrow_modules()
    known = _kept_types(source) if source.container == "parquet" else {}
    schema = arrow.schema([(_cell(name), known.get(name, arrow.string())) for name in [*names, *added]])

    def row(line: Line, entry: Mapping[str, Any]) -> dict[str, Any]:
        fields = {_cell(name): _typed(line.fields.get(name), name in known) for name in names}
        return {**fields, **dict(zip(added, _added_cells(entry, added), strict=True))}

    rows = (row(*pair) for pair in pairs)
    try:
        with parquet.ParquetWriter(path, schema) as writer:
            while chunk := list(islice(rows, _PARQUET_ROWS)):
                writer.write_table(arrow.Table.from_pylist(chunk, schema=schema))
    except arrow.ArrowException as error:
        reason = first_line(error)[:200]
        raise ConfigError(
            f"{path.name.removesuffix('.tmp')}: cannot be written as Parquet ({reason}); the answers are kept beside "
            "it: give a new OUT.csv and --merge this one"
        ) from None


def _kept_types(source: Source) -> dict[str, Any]:
    """Types of a Parquet input's columns; ids that are numbers become texts where some rows had none."""
    arrow, parquet = pyarrow_modules()
    with parquet.ParquetFile(source.path) as file:
        own = file.schema_arrow
        known = {name: own.field(name).type for name in own.names if own.field(name).type != arrow.null()}
        if "id" in known and not arrow.types.is_string(known["id"]):
            batches = file.iter_batches(columns=["id"])
            if any(batch.column(0).null_count for batch in batches):
                del known["id"]
    return known


def _write_lines(path: Path, pairs: Iterable[Pair], model: str) -> None:
    from serve.batch.openai_lines import response_line

    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(json.dumps(response_line(*pair, model), ensure_ascii=False) + "\n" for pair in pairs)


def _added_cells(entry: Mapping[str, Any], added: Iterable[str]) -> list[str | None]:
    found = dict(entry)
    if "error" in found:
        found["error"] = f"{found['error']['type']}: {found['error']['message']}"
    return [None if found.get(name) is None else _cell(found[name]) for name in added]


def _typed(value: Any, keeps_type: bool) -> Any:
    return value if keeps_type or value is None else _cell(value)


def _cell(value: Any) -> str:
    """A text as it is, anything else as JSON; half a surrogate pair, which no UTF-8 file can hold, is written out."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode()


def pairs_of(lines: Iterable[tuple[Line, int, int]], row_at: Any) -> Iterator[Pair]:
    """Finished lines of an index with their entries in the journal."""
    for line, _, place in lines:
        yield line, row_at(place)
