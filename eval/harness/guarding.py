"""What every command of the harness shares: typed errors and interruptions end in one line, progress is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import typer

from alm.cli_group import INTERRUPTED, USER_ERROR
from alm.errors import AlmError
from alm.terminal import console, printable, progress_bars

if TYPE_CHECKING:
    from eval.harness.generate import Outcome

INCOMPLETE = 1
"""Exit code where answers or grades are missing."""
PLAIN_SECONDS = 30.0
"""Where standard error is no terminal, a line comes so often."""


@contextmanager
def guarded() -> Iterator[None]:
    """Typed errors end with code 2; an interruption with 130, everything that was answered kept."""
    try:
        yield
    except AlmError as fault:
        console().print(f"error: {printable(' '.join(str(fault).split()))}")
        raise typer.Exit(USER_ERROR) from fault
    except KeyboardInterrupt:
        console().print("interrupted; what was answered is kept, the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def progress(what: str, quiet: bool) -> Iterator[Callable[[Outcome], None]]:
    """A bar with rate and time left on a terminal; elsewhere a line now and then."""
    screen, last = console(), time.monotonic()
    with progress_bars(quiet=quiet) as bars:
        task = bars.add_task(what, total=None, note="")

        def report(outcome: Outcome) -> None:
            nonlocal last
            done = outcome.already + outcome.done + outcome.failed
            bars.update(task, total=outcome.total, completed=done, note=rate(outcome))
            if not quiet and not screen.is_terminal and time.monotonic() - last >= PLAIN_SECONDS:
                last = time.monotonic()
                screen.print(f"{what}: {done} of {outcome.total}, {rate(outcome)}, {time_left(outcome)}")

        yield report


def rate(outcome: Outcome) -> str:
    failed = f", {outcome.failed} failed" if outcome.failed else ""
    if outcome.seconds <= 0:
        return failed.removeprefix(", ")
    each = (outcome.done + outcome.failed) / outcome.seconds
    return f"{each:.2f}/s, {outcome.audio_seconds / outcome.seconds:.1f} s of audio/s{failed}"


def time_left(outcome: Outcome) -> str:
    """At the rate so far."""
    now = outcome.done + outcome.failed
    if not now or not outcome.seconds:
        return "time left unknown"
    return f"{timedelta(seconds=round(outcome.left * outcome.seconds / now))} left"
