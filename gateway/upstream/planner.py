"""Decides what to ask next from fetch requests, budget and time: a pure function.

Singles have no limit a minute for the login but only a few places at a time; a mass request
carries many keys but goes out once a minute, and counts for each of them. So few keys go as
singles, many as one mass request with the rest behind it as singles. Callers come first, in fair
order; watchers and refreshes get what no caller needs, and fill up a mass request that goes anyway.
What is followed in bulk gets what is left then, and one request every few seconds in any case.
Times are monotonic seconds.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import NamedTuple

from gateway.errors import Limit
from gateway.model.records import DetailLevel, Record, StatusKey
from gateway.upstream.budget.port import Budget, Full

MASS_FROM_ROUNDS = 2
"""A mass request pays when the keys would need more than this many rounds through the places."""

KEPT_PLACES = 1
"""Places that background work leaves free for a caller who may come next."""

KEPT_TOKENS = 1
"""Requests about a message that background work leaves to callers in each window."""

PATIENCE = 60.0
"""Seconds after which an overdue watcher stands in line like a caller, or overload would starve
it."""

FOLLOW_TURN = 5.0
"""Seconds after which a followed key gets a place before callers: overload is not to stop it."""

MASS_IS_CALLERS = 5
"""Windows for which the mass request is the callers' alone after they needed one."""


class Why(Enum):
    """Why a key is fetched, which decides its priority."""

    CALLER = "a caller waits"
    WATCHER = "somebody is to be told of changes"
    REFRESH = "what is known may be renewed; nobody waits"
    FOLLOW = "it is one of many that somebody wants to know one day"


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """A key to ask the provider for, at no less than the level.

    For a caller: given up at `deadline`; `turn` counts the keys of its call, so that a caller of
    many takes turns with the others. For the rest: not before `due`, and sooner the longer ago it
    was `seen` and the more it is `wanted`. A watcher who has seen nothing yet waits for a first
    answer: it stands in line like a caller, but is never given up. `alone`: never in a mass
    request, for the provider refused one that held it. `kind` is what the caller takes it for.
    """

    key: StatusKey
    detail: DetailLevel
    why: Why = Why.CALLER
    deadline: float = math.inf
    caller: str = ""
    turn: int = 0
    due: float = -math.inf
    seen: float = -math.inf
    wanted: int = 1
    kind: type[Record] | None = None
    alone: bool = False


class Ask(NamedTuple):
    """One request to send now: mass if it has more than one key."""

    keys: tuple[StatusKey, ...]
    detail: DetailLevel

    @property
    def mass(self) -> bool:
        return len(self.keys) > 1


class Pace(NamedTuple):
    """Recent traffic, as far as planning needs it.

    Seconds that a request usually takes, the moment callers last needed a mass request, when each
    caller was last served, in any unit that grows, and when a followed key was last asked for.
    """

    latency: float = 0.0
    callers_mass_at: float = -math.inf
    served: Mapping[str, float] = MappingProxyType({})
    followed_at: float = -math.inf


@dataclass(slots=True)
class Plan:
    """Requests to send now, keys to refuse with the limit in their way, and when to plan again.

    `wake_at` is infinite when only the end of a request or a new fetch request can change anything.
    """

    asks: list[Ask] = field(default_factory=list)
    refusals: list[tuple[StatusKey, Full]] = field(default_factory=list)
    wake_at: float = math.inf


def plan(
    fetches: Iterable[FetchRequest],
    budget: Budget,
    now: float,
    *,
    mass_max_ids: int,
    pace: Pace,
) -> Plan:
    """Decide for all fetch requests, given in the order they came."""
    result = Plan()
    callers, background, followed = _askable(fetches, budget, now, result)
    callers = _fair(callers, pace.served)
    background.sort(key=lambda fetch: urgency(fetch, now), reverse=True)
    background += followed
    if callers and followed and now >= pace.followed_at + FOLLOW_TURN:
        callers.insert(0, background.pop(-len(followed)))

    places = budget.places()
    mass, held_until = _mass(callers, background, budget, now, pace=pace, max_ids=mass_max_ids)
    if mass is not None:
        result.asks.append(mass)
        places -= 1
        taken = set(mass.keys)
        callers = [fetch for fetch in callers if fetch.key not in taken]
        background = [fetch for fetch in background if fetch.key not in taken]
    if held_until is not None:
        result.wake_at = min(result.wake_at, held_until)
        return result
    result.asks += [_ask([fetch]) for fetch in callers[:places]]
    left = max(0, places - len(callers) - _kept_places(budget))
    result.asks += [_ask([fetch]) for fetch in background[:left]]
    _wait_for_a_place([*callers[places:], *background[left:]], budget, now, result)
    return result


def urgency(fetch: FetchRequest, now: float) -> float:
    """Priority of a background request: demand times the age of what is cached."""
    return fetch.wanted * (now - fetch.seen)


def hopeless(fetch: FetchRequest, budget: Budget, now: float) -> Full | None:
    """The full window that opens only after the caller's deadline; None: waiting makes sense."""
    full = budget.message_full(fetch.key)
    if full is None:
        return None
    too_late = full.until is not None and full.until > fetch.deadline
    return full if too_late or fetch.deadline <= now else None


def fill_up(mass: Ask, riders: Iterable[FetchRequest], budget: Budget, *, mass_max_ids: int) -> Ask:
    """A mass request that goes anyway takes along what is going to be wanted next."""
    on_board = dict.fromkeys(mass.keys)
    detail = mass.detail
    for fetch in riders:
        if len(on_board) >= mass_max_ids:
            break
        if not (fetch.alone or budget.message_full(fetch.key, keep=_kept_tokens(budget))):
            on_board[fetch.key] = None
            detail = max(detail, fetch.detail, key=attrgetter("all"))
    return Ask(tuple(on_board), detail)


def _askable(
    fetches: Iterable[FetchRequest], budget: Budget, now: float, result: Plan
) -> tuple[list[FetchRequest], list[FetchRequest], list[FetchRequest]]:
    """Callers, background and follows whose message has room; the rest is refused or waited for."""
    callers: list[FetchRequest] = []
    background: list[FetchRequest] = []
    followed: list[FetchRequest] = []
    for fetch in fetches:
        if fetch.why is Why.CALLER:
            full = budget.message_full(fetch.key)
            if full is None:
                callers.append(fetch)
            elif gives_up := hopeless(fetch, budget, now):
                result.refusals.append((fetch.key, gives_up))
            else:
                result.wake_at = min(result.wake_at, full.until or fetch.deadline, fetch.deadline)
        elif fetch.due > now:
            result.wake_at = min(result.wake_at, fetch.due)
        elif full := budget.message_full(fetch.key, keep=_kept_tokens(budget)):
            result.wake_at = min(result.wake_at, full.until or math.inf)
        elif fetch.why is Why.WATCHER and (fetch.seen == -math.inf or now - fetch.due > PATIENCE):
            callers.append(fetch)
        elif fetch.why is Why.FOLLOW:
            followed.append(fetch)
        else:
            background.append(fetch)
    return callers, background, followed


def _fair(fetches: Iterable[FetchRequest], served: Mapping[str, float]) -> list[FetchRequest]:
    """Each caller's first, then each caller's second, and so on; the longest unserved leads."""
    turns = Counter[str]()
    ranked = []
    for fetch in sorted(fetches, key=attrgetter("turn")):
        ranked.append((turns[fetch.caller], served.get(fetch.caller, -math.inf), fetch))
        turns[fetch.caller] += 1
    ranked.sort(key=itemgetter(0, 1))
    return [fetch for *_, fetch in ranked]


def _mass(
    callers: Sequence[FetchRequest],
    background: Sequence[FetchRequest],
    budget: Budget,
    now: float,
    *,
    pace: Pace,
    max_ids: int,
) -> tuple[Ask | None, float | None]:
    """The mass request to send now, or the moment that is worth waiting for, to send it then."""
    concurrency = budget.limits.concurrency
    company = [fetch for fetch in callers if not fetch.alone]
    riders = [fetch for fetch in background if not fetch.alone]
    for_callers = len(company) > MASS_FROM_ROUNDS * concurrency
    reserved = now < pace.callers_mass_at + MASS_IS_CALLERS * budget.limits.window
    for_background = (
        not reserved
        and len(riders) > MASS_FROM_ROUNDS * concurrency
        and budget.places() > _kept_places(budget)
    )
    full = budget.mass_full()
    if full is None and budget.places() and (for_callers or for_background):
        mass = _ask([*company, *riders][:max_ids])
        return (mass if mass.mass else None), None
    if full is not None and full.until is not None and for_callers and len(company) <= max_ids:
        # Singles would take so long that the mass request is there before they are through.
        rounds = math.ceil(len(callers) / concurrency)
        in_time = all(fetch.deadline >= full.until for fetch in callers)
        if in_time and full.until - now <= rounds * pace.latency:
            return None, full.until
    return None, None


def _kept_tokens(budget: Budget) -> int:
    return min(KEPT_TOKENS, budget.limits.per_message - 1)


def _kept_places(budget: Budget) -> int:
    return min(KEPT_PLACES, budget.limits.concurrency - 1)


def _ask(fetches: Sequence[FetchRequest]) -> Ask:
    """One request for all of them, at the level that serves each."""
    detail = max((fetch.detail for fetch in fetches), key=attrgetter("all"))
    return Ask(tuple(fetch.key for fetch in fetches), detail)


def _wait_for_a_place(
    fetches: Sequence[FetchRequest], budget: Budget, now: float, result: Plan
) -> None:
    free_at = budget.place_free_at()
    for fetch in fetches:
        if fetch.deadline <= now:
            result.refusals.append((fetch.key, Full(Limit.CONCURRENCY, free_at)))
        else:
            result.wake_at = min(result.wake_at, fetch.deadline)
    if fetches and free_at is not None:
        result.wake_at = min(result.wake_at, free_at)
