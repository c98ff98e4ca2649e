"""The command line with the stand-in assistant, as a process of its own: `python cli_with_double.py DELAY ARGS`."""

from __future__ import annotations

import sys

import assistant_double

import alm.cli
import serve.batch.command


def main() -> None:
    delay = float(sys.argv.pop(1))
    alm.cli.load_assistant = lambda *_, **__: assistant_double.Assistant(delay)  # type: ignore[assignment, return-value]
    # Without the real one's imports: a process that is killed twenty times must start fast.
    serve.batch.command._answerer = lambda *_: assistant_double.batch_answerer(assistant_double.Assistant(delay))
    alm.cli.app.command("batch")(serve.batch.command.batch)
    alm.cli.app_main()


if __name__ == "__main__":
    main()
