"""The command line with the stand-in assistant, as a process of its own: `python cli_with_double.py DELAY ARGS`."""

from __future__ import annotations

import sys

import assistant_double

import alm.cli
import serve.cli


def main() -> None:
    delay = float(sys.argv.pop(1))
    alm.cli.load_assistant = lambda *_, **__: assistant_double.Assistant(delay)  # type: ignore[assignment, return-value]
    # Without the real one's imports: a process that is killed twenty times must start fast.
    serve.cli._answerer = lambda *_: assistant_double.batch_answerer(assistant_double.Assistant(delay))
    alm.cli.app.command("batch")(serve.cli.batch)
    alm.cli.app_main()


if __name__ == "__main__":
    main()
