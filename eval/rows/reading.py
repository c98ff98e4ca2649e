"""Instruction rows as `alm data make` and `alm data convert --to alm` write them, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from alm.errors import RecordError
from eval.harness.items import Message

LONGEST_LINE = 4 << 20
"""Bytes of one row."""
Text = Annotated[str, Field(min_length=1)]


class InstructionRow(BaseModel):
    """What evaluation needs of a row; its other fields are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Text
    messages: tuple[Message, ...] = Field(min_length=2)
    audios: tuple[Text, ...]
    """Paths, relative to the folder of the file."""
    source: Text
    task: Text
    split: Text
    licence: Text
    duration: float = Field(ge=0, allow_inf_nan=False)
    """Seconds of all recordings together."""
    meta: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ends_with_an_answer(self) -> InstructionRow:
        if [m.role for m in self.messages[-2:]] != ["user", "assistant"]:
            raise ValueError("the last two messages must be a question of the user and its answer")
        for path in map(PurePosixPath, self.audios):
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"recording {str(path)[:80]!r} is not below the folder of the file")
        return self

    @property
    def answer(self) -> str:
        """The answer that the row teaches."""
        return self.messages[-1].content

    @property
    def recordings(self) -> tuple[str, ...]:
        """What the row's recordings were made of, by name; their paths where the row does not say."""
        named = self.meta.get("recordings")
        return tuple(map(str, named)) if isinstance(named, list) and named else self.audios


def read_rows(path: Path, split: str) -> Iterator[InstructionRow]:
    """Rows of one split.

    Raises:
        RecordError: the file cannot be read, or a row is not one, by file and line.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
                row = _row(line, f"{path}, line {number}")
                if row.split == split:
                    yield row
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); give a file of rows, one a line") from error


def _row(line: bytes, where: str) -> InstructionRow:
    if len(line) > LONGEST_LINE:
        raise RecordError(f"{where}: more than {LONGEST_LINE >> 20} MiB; one row a line is wanted")
    try:
        return InstructionRow.model_validate_json(line)
    except ValidationError as error:
        found = error.errors()[0]
        field = ".".join(map(str, found["loc"])) or "row"
        raise RecordError(
            f"{where}: {field}: {found['msg']}, and it is {str(found['input'])[:80]!r}; check the file with "
            "`alm data validate FILE --from alm`"
        ) from error
