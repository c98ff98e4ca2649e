"""The command line with the stand-in assistant, as a process of its own: `python cli_with_double.py DELAY ARGS`."""

from __future__ import annotations

import sys

import assistant_double

import alm.cli
import serve.batch
import serve.cli


def light_answerer(assistant: assistant_double.Assistant, _: serve.batch.BatchSettings) -> serve.batch.Answerer:
    """Without the real one's imports: a process that is killed twenty times must start fast."""
    return lambda row, recordings: assistant.conversation().ask(row.messages[-1]["content"], recordings)  # type: ignore[return-value]


def main() -> None:
    delay = float(sys.argv.pop(1))
    for module in (alm.cli, serve.cli):
        module.load_assistant = lambda *_, **__: assistant_double.Assistant(delay)  # type: ignore[attr-defined]
    serve.batch.answerer = light_answerer  # type: ignore[assignment]
    alm.cli.app.command("batch")(serve.cli.batch)
    alm.cli.app_main()


if __name__ == "__main__":
    main()
