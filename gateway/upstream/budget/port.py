"""`Budget`, the interface of a rate-limit budget, with `Limits`, `Lease` and `Full`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.errors import Limit
from gateway.model.records import DescribedEnum, DetailLevel, StatusKey

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Limits:
    """What the provider allows (its page, error 9). `window` is in seconds."""

    per_message: int = 5
    mass: int = 1
    concurrency: int = 4
    window: float = 60.0


class Sharing(DescribedEnum):
    """Whether other processes spend the same limits."""

    ALONE = "ALONE", "One process, which shares with nobody."
    SHARED = "SHARED", "With all that use the same Redis."
    LOST = "LOST", "Redis can't be reached: nothing is asked of the provider."


class Full(NamedTuple):
    """No room: the limit that is reached, and when it next allows a request, if known."""

    limit: Limit
    until: float | None


class Lease:
    """The room that one request takes; end it exactly once."""

    def __init__(
        self,
        end: "Callable[[Lease, float | None], None]",
        keys: tuple[StatusKey, ...],
        *,
        mass: bool,
        row: int,
    ) -> None:
        self._end = end
        self.keys = keys
        self.mass = mass
        self.row = row

    def end(self, *, linger: float = 0.0) -> None:
        """The request is over; its place stays taken for `linger` seconds more.

        After a time-out the provider may still be busy with it.
        """
        self._end(self, linger)

    def refund(self) -> None:
        """The request never reached the provider."""
        self._end(self, None)


class Budget(Protocol):
    """What may be sent now: windows for each message and for mass requests, and places."""

    limits: Limits

    def message_left(self, key: StatusKey) -> int:
        """How many more requests there is room for about this message."""
        ...

    def message_free_at(self, key: StatusKey, left: int = 1) -> float | None:
        """When there is room for so many about this message; None: now, or it can't be told."""
        ...

    def message_full(self, key: StatusKey, *, keep: int = 0) -> Full | None:
        """Is there no room for one more request about this message, with `keep` left over?"""
        ...

    def spent_messages(self) -> int:
        """How many messages have no room left."""
        ...

    def mass_left(self) -> int:
        """How many mass requests there is room for."""
        ...

    def mass_full(self) -> Full | None:
        """Is there no room for a mass request?"""
        ...

    def places(self) -> int:
        """How many more requests may be under way at the same time."""
        ...

    def place_free_at(self) -> float | None:
        """When a lingering place is free again; None: when a request under way ends."""
        ...

    def take(self, keys: Iterable[StatusKey], *, mass: bool) -> Lease | Full:
        """Take room for one request, all of it or nothing."""
        ...

    async def confirm(self, lease: Lease, detail: DetailLevel | None) -> bool:
        """Is the room still ours, or has another process taken it meanwhile? Then refund it.

        `detail`: the level that is asked for; None: the request asks for nothing. Raises
        `Overloaded` where that can't be told.
        """
        ...

    def refused(self, keys: Iterable[StatusKey], *, mass: bool) -> Full:
        """The provider answered 9 where there was room: somebody else spends the login's limits."""
        ...

    def answered_elsewhere(self, key: StatusKey, detail: DetailLevel) -> float | None:
        """The latest end of another process's request for the message at this level or above."""
        ...

    def changes_at(self) -> float:
        """When a place held by another process expires without notice; infinite: never."""
        ...

    def queue_up(self) -> None:
        """Callers wait: reserve the next place that another process frees for this one."""
        ...

    def preview(
        self, keys: "Iterable[StatusKey]", monotonic: "Callable[[], float]", takes: float
    ) -> "Budget":
        """A copy to plan with, by a clock of its own, for these keys alone.

        What is under way ends in `takes` seconds there.
        """
        ...

    @property
    def sharing(self) -> Sharing:
        """Do other processes spend the same limits?"""
        ...
