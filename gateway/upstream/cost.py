"""`Cost`: which requests to the provider one operation needed, and how its records were answered.

It goes with the context of the operation, as its trace does, so that who asks need not hand it on.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from gateway.model.described import Model
from gateway.model.freshness import Answer
from gateway.upstream.budget.port import Lease


class Served(Model):
    """How many are answered in which way."""

    live: int = 0
    """By a request to the provider."""
    cache: int = 0
    """From what is known: in memory, in the archive, or to another replica."""
    stale: int = 0
    """By an older record, because no newer one can be had now, or while it is renewed."""


class CostReport(Model):
    """What an operation cost."""

    requests: int
    """Requests to the provider that carried its keys; one that carried several counts once."""
    mass: int
    """Those of them that were mass requests."""
    served: Served
    """How its records were answered."""


class Cost:
    """What one operation has cost so far."""

    def __init__(self) -> None:
        self._requests: set[Lease] = set()
        self._served: Counter[str] = Counter()

    def carried_by(self, request: Lease) -> None:
        """A request was sent that carries one of the operation's keys."""
        self._requests.add(request)

    def serve(self, answer: Answer) -> None:
        """A record is answered."""
        self._served[served_by(answer)] += 1

    def report(self) -> CostReport:
        return CostReport(
            requests=len(self._requests),
            mass=sum(request.mass for request in self._requests),
            served=Served(**self._served),
        )


def served_by(answer: Answer) -> str:
    """The member of `Served` that an answer counts for."""
    if answer.live:
        return "live"
    return "stale" if answer.stale else "cache"


_CURRENT: Final[ContextVar[Cost | None]] = ContextVar("cost", default=None)


def current_cost() -> Cost | None:
    """The cost of the operation that runs here; None: nobody wants to know it."""
    return _CURRENT.get()


@contextmanager
def costing() -> Iterator[Cost]:
    """Add up what is asked and answered within, and in the tasks begun there."""
    cost = Cost()
    token = _CURRENT.set(cost)
    try:
        yield cost
    finally:
        _CURRENT.reset(token)
