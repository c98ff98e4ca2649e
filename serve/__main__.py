"""`python -m serve chat`, `serve` and `batch`: the same commands where no console script is installed."""

from __future__ import annotations

import typer

from alm.cli_group import CommandGroup
from serve.api.command import serve
from serve.batch.command import batch
from serve.chat.command import chat

app = typer.Typer(cls=CommandGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(chat)
app.command()(serve)
app.command()(batch)


@app.callback()
def main(debug: bool = typer.Option(False, "--debug", help="Show tracebacks.")) -> None:
    """The chat page, the server and the batch runner of `alm`."""


if __name__ == "__main__":
    app(prog_name="python -m serve")
