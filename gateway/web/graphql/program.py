"""The interfaces of a compiled operation; `compiled` implements them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from graphql import GraphQLError

from gateway.callers.model import Caller
from gateway.service import Basis, StatusService


class Known(NamedTuple):
    """JSON that needed no waiting for: one member of the response, or all of it.

    `basis` says how long it holds; None: it is different the next time.
    """

    json: bytes
    basis: Basis | None


class Result(NamedTuple):
    """What became of one field at the top. `spoils`: its null leaves no data at all."""

    key: bytes
    value: bytes
    error: GraphQLError | None = None
    spoils: bool = False


class Call(Protocol):
    """A field at the top with its arguments."""

    def now(self, service: StatusService) -> Known | None:
        """Its member of the response, if it need not be waited for and is no error."""
        ...

    async def run(self, service: StatusService, caller: str) -> Result:
        """What becomes of it."""
        ...


class Program(Protocol):
    """A compiled operation."""

    def is_shown_to(self, caller: Caller) -> bool:
        """May the caller see all the fields selected? Else some are errors."""
        ...

    def bind(self, given: Mapping[str, Any]) -> Sequence[Call]:
        """The fields to run, with the variables of a request."""
        ...
