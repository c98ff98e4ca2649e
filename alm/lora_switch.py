"""Passes with LoRA and passes without it, from several threads over the same weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class LoraSwitch:
    """Passes of one sort may overlap; the two sorts take turns, so that none sees the other's setting.

    A copy of the model has a switch of its own.
    """

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._inside = 0
        self._off = False
        self._waiting = {True: 0, False: 0}

    @contextmanager
    def passing(self, off: bool, turn_off: Callable[[bool], None]) -> Iterator[None]:
        """While this lasts LoRA is off, or as it was before anybody turned it off.

        Args:
            turn_off: switches LoRA off (True), or on again.
        """
        self._enter(off, turn_off)
        try:
            yield
        finally:
            self._leave(turn_off)

    def _enter(self, off: bool, turn_off: Callable[[bool], None]) -> None:
        with self._news:
            self._waiting[off] += 1
            while self._inside and (self._off != off or self._waiting[not off]):
                self._news.wait()
            self._waiting[off] -= 1
            if off and not self._inside:
                turn_off(True)
            self._off = off
            self._inside += 1

    def _leave(self, turn_off: Callable[[bool], None]) -> None:
        with self._news:
            self._inside -= 1
            if not self._inside:
                if self._off:
                    turn_off(False)
                self._off = False
                self._news.notify_all()

    def __reduce__(self) -> tuple[type[LoraSwitch], tuple[()]]:
        return type(self), ()
