"""What is sent is counted, paced and kept within the budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from alm.errors import AlmError
from data_prep.generation.plan import Budget, Pace

MINUTE = 60.0


class BudgetSpentError(AlmError):
    """The next request could exceed the budget."""


@dataclass
class Spent:
    """What went to one server, and what the cache saved."""

    requests: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    """Answers whose tokens the server did not count; estimated from their letters."""
    cost: float = 0.0
    waited_seconds: float = 0.0
    """For the sake of the pace."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass
class _Bucket:
    """So much flows in a minute, and a minute's worth is at hand at the start."""

    per_minute: float
    at: float
    level: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = self.per_minute

    def wait_for(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there, which is taken at once; more than a minute's worth waits for all of it."""
        if not self.per_minute:
            return 0.0
        self.level = min(self.per_minute, self.level + (now - self.at) * self.per_minute / MINUTE)
        self.at = now
        self.level -= amount
        return max(0.0, -self.level * MINUTE / self.per_minute)


class Meter:
    """May be used by many threads.

    Args:
        clock, sleep: another time than the machine's, for tests.
    """

    def __init__(
        self,
        budget: Budget,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.budget, self.spent = budget, Spent()
        self._clock, self._sleep, self._turn = clock, sleep, threading.Lock()
        self._requests = _Bucket(pace.requests_per_minute, clock())
        self._tokens = _Bucket(pace.tokens_per_minute, clock())
        self._open = [0, 0, 0]
        """Requests, tokens of prompts and of answers that were sent and are not counted yet."""

    def begin(self, prompt_tokens: int, most_completion: int) -> None:
        """Wait until the pace allows a request.

        Raises:
            BudgetSpentError: with all that is open and this one, a limit could be exceeded.
        """
        with self._turn:
            self._check(prompt_tokens, most_completion)
            self._reserve(1, prompt_tokens, most_completion)
            now = self._clock()
            wait = max(self._requests.wait_for(1, now), self._tokens.wait_for(prompt_tokens + most_completion, now))
            self.spent.waited_seconds += wait
        if wait:
            self._sleep(wait)

    def end(self, begun: tuple[int, int], used: tuple[int, int] | None, counted: bool = True) -> None:
        """What a request really took.

        Args:
            begun: what `begin` was told.
            used: tokens of prompt and answer; None if there was no answer.
        """
        with self._turn:
            self._reserve(-1, -begun[0], -begun[1])
            self.spent.requests += 1
            if used is None:
                self.spent.failed += 1
                return
            self.spent.uncounted += not counted
            self.spent.prompt_tokens += used[0]
            self.spent.completion_tokens += used[1]
            self.spent.cost += self.budget.cost(*used)

    def saved(self) -> None:
        """The cache had the answer."""
        with self._turn:
            self.spent.cached += 1

    def _reserve(self, *amounts: int) -> None:
        self._open = [o + a for o, a in zip(self._open, amounts, strict=True)]

    def _check(self, prompt: int, most: int) -> None:
        requests, open_prompt, open_answer = self._open
        budget, spent = self.budget, self.spent
        tokens = spent.tokens + open_prompt + open_answer + prompt + most
        cost = spent.cost + budget.cost(open_prompt + prompt, open_answer + most)
        for name, limit, would in (
            ("--max-requests", budget.most_requests, spent.requests + requests + 1),
            ("--max-tokens", budget.most_tokens, tokens),
            ("--max-cost", budget.most_cost, cost),
        ):
            if limit and would > limit:
                raise BudgetSpentError(
                    f"the budget is spent: {name} is {limit:g}, the next request could bring it to {would:g}; "
                    "raise it and run the command again, what was answered is not asked again"
                )
