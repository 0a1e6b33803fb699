"""What to ask next: a pure decision from what is wanted and what the limits allow.

Singles have no limit a minute for the login but only a few places at a time; a mass request
carries many keys but goes out once a minute. So few keys go as singles, many as one mass request
with the rest behind it as singles, oldest want first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.budget.memory import Full, MemoryBudget
from gateway.errors import Limit
from gateway.records import DetailLevel, Record, StatusKey

MASS_FROM_ROUNDS = 2
"""A mass request pays when the keys would need more than this many rounds through the places."""


@dataclass(frozen=True, slots=True)
class Want:
    """A key that somebody waits for until `deadline` (monotonic seconds).

    `kind` is what the caller takes it for; it does not matter here. `alone`: never in a mass
    request, for the provider refused one that held it.
    """

    key: StatusKey
    detail: DetailLevel
    deadline: float
    kind: type[Record] | None = None
    alone: bool = False


class Ask(NamedTuple):
    """One request to send now: mass if it has more than one key."""

    keys: tuple[StatusKey, ...]
    detail: DetailLevel

    @property
    def mass(self) -> bool:
        return len(self.keys) > 1


@dataclass(slots=True)
class Plan:
    """Requests to send now, wants to give up with the limit in their way, and when to look again.

    `wake_at` is in monotonic seconds; None: when a request ends or a want comes.
    """

    asks: list[Ask] = field(default_factory=list)
    refusals: list[tuple[StatusKey, Full]] = field(default_factory=list)
    wake_at: float | None = None


def plan(wants: Sequence[Want], budget: MemoryBudget, now: float, *, mass_max_ids: int) -> Plan:
    """Decide for all wants, given in the order they came."""
    result = Plan()
    wakes: list[float] = []
    askable: list[Want] = []
    for want in wants:
        full = budget.message_full(want.key)
        if full is None:
            askable.append(want)
        elif want.deadline <= now or (full.until is not None and full.until > want.deadline):
            result.refusals.append((want.key, full))
        else:
            wakes.append(want.deadline if full.until is None else full.until)

    places = budget.places()
    company = [want for want in askable if not want.alone][:mass_max_ids]
    many = len(company) > MASS_FROM_ROUNDS * budget.limits.concurrency
    if many and places and not budget.mass_full():
        keys = tuple(want.key for want in company)
        detail = max((want.detail for want in company), key=lambda level: level.all)
        result.asks.append(Ask(keys, detail))
        places -= 1
        taken = set(keys)
        askable = [want for want in askable if want.key not in taken]

    result.asks += [Ask((want.key,), want.detail) for want in askable[:places]]
    for want in askable[places:]:
        if want.deadline <= now:
            result.refusals.append((want.key, Full(Limit.CONCURRENCY, budget.place_free_at())))
        else:
            wakes.append(want.deadline)
    if askable[places:] and (place_free_at := budget.place_free_at()) is not None:
        wakes.append(place_free_at)
    result.wake_at = min(wakes, default=None)
    return result
