"""The budget of several processes, held by a real Valkey, in time that the tests move."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Limit, Overloaded
from gateway.model.records import DetailLevel, StatusKey
from gateway.replicas import Replicas
from gateway.upstream.budget.port import Full, Lease, Limits, Sharing
from gateway.upstream.budget.redis import KIND, LATE, SETTLE, TURN, SharedBudget
from tests.support.server import closed_port
from tests.support.size import size, soak
from tests.support.valkey import Valkey, until, valkey
from tests.support.valkeys import HOST, Cluster, Watched, cluster, wait_until, watched

pytestmark = pytest.mark.anyio

KEYS = [StatusKey(f"7999000000{n}", n + 1) for n in range(6)]
WINDOW, TIMEOUT = 60.0, 10.0
BASIC, FULL = DetailLevel.BASIC, DetailLevel.FULL
ACCOUNTS = count()


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Replica(SharedBudget):
    """The budget of one process."""

    async def try_to_take(
        self, *keys: StatusKey, mass: bool = False, detail: DetailLevel | None = None
    ) -> Lease | None:
        """As the dispatcher does it."""
        lease = self.take(keys, mass=mass)
        if isinstance(lease, Full):
            return None
        if not await self.confirm(lease, detail):
            lease.refund()
            return None
        return lease

    async def get(self, *keys: StatusKey, mass: bool = False) -> Lease:
        lease = await self.try_to_take(*keys, mass=mass)
        assert lease is not None
        return lease

    def listen_to(self, news: list[bytes]) -> None:
        """Write down what is heard, too."""
        heard = self.hear

        def listen(sender: bytes, body: bytes) -> None:
            news.append(body)
            heard(sender, body)

        self._replicas.listen(KIND, listen, self.join)

    @property
    def heard(self) -> int:
        """The number of what it heard last."""
        return self._sequence

    @property
    def server(self) -> str:
        """What began at the process of the server that it joined last."""
        return self._epoch or ""

    @property
    def remembered(self) -> int:
        """Of how many requests of others it knows."""
        return len(self._heard)

    async def written(self) -> int:
        """Let all be written that this one has to tell; gives the number of what was told last."""
        key = f"{self._replicas.prefix}sequence"
        return int(await self._replicas.run("return redis.call('GET', KEYS[1])", [key], []) or 0)


async def spread(*budgets: Replica) -> None:
    """Let all be written, and heard by all."""
    last = max([await budget.written() for budget in budgets])
    await until(lambda: all(budget.heard >= last for budget in budgets))


@asynccontextmanager
async def sharing(
    server: Valkey | Watched | Cluster,
    *,
    limits: Limits | None = None,
    replicas: int = 2,
    account: str = "",
) -> AsyncIterator[tuple[list[Replica], Time]]:
    account, time = account or f"account {next(ACCOUNTS)}", Time()
    async with AsyncExitStack() as stack:
        budgets = []
        for _ in range(replicas):
            link = Replicas(server.url, account)
            budgets.append(Replica(limits or Limits(), time, link, timeout=TIMEOUT, time=time))
            await stack.enter_async_context(link)
        yield budgets, time


async def test_what_one_spends_of_a_message_the_others_can_not_spend(server: Valkey) -> None:
    async with sharing(server) as ((a, b), time):
        for budget in (a, b, a, b, a):
            (await budget.get(KEYS[0])).end()
        assert await b.try_to_take(KEYS[0]) is None
        # It was told when there is room, to plan with.
        assert b.message_full(KEYS[0]) == Full(Limit.PER_MESSAGE, time.now + WINDOW)
        time.now += WINDOW
        assert b.message_full(KEYS[0]) is None
        await b.get(KEYS[0])


async def test_one_mass_request_for_all(server: Valkey) -> None:
    async with sharing(server) as ((a, b), time):
        lease = await a.get(*KEYS[:3], mass=True)
        await spread(a, b)
        assert b.mass_full() == Full(Limit.MASS, None)  # it may end at any moment
        lease.end()
        await spread(a, b)
        assert b.mass_full() == Full(Limit.MASS, time.now + WINDOW)
        assert await b.try_to_take(*KEYS[:2], mass=True) is None
        time.now += WINDOW
        assert b.mass_left() == 1
        await b.get(*KEYS[:2], mass=True)


async def test_four_places_for_all(server: Valkey) -> None:
    async with sharing(server) as ((a, b), _):
        leases = [await budget.get(key) for budget, key in zip((a, b, a, b), KEYS, strict=False)]
        await spread(a, b)
        assert (a.places(), b.places()) == (0, 0)
        leases[0].end()
        await spread(a, b)
        assert (a.places(), b.places()) == (1, 1)
        await b.get(KEYS[4])


async def test_of_two_who_take_the_last_room_at_once_one_gets_it(server: Valkey) -> None:
    async with sharing(server, limits=Limits(per_message=1)) as (budgets, _):
        leases = await asyncio.gather(*(budget.try_to_take(KEYS[0]) for budget in budgets))
        assert sum(lease is not None for lease in leases) == 1


async def test_of_two_mass_requests_at_once_one_is_sent(server: Valkey) -> None:
    async with sharing(server) as ((a, b), _):
        leases = await asyncio.gather(
            a.try_to_take(*KEYS[:2], mass=True), b.try_to_take(*KEYS[2:4], mass=True)
        )
        assert sum(lease is not None for lease in leases) == 1


async def test_a_line_that_broke_before_the_answer_takes_nothing_twice(server: Valkey) -> None:
    async with sharing(server, limits=Limits(concurrency=1, per_message=1)) as ((a, b), _):
        lease = a.take([KEYS[0]], mass=False)
        assert isinstance(lease, Lease)
        assert await a.confirm(lease, FULL)
        assert await a.confirm(lease, FULL)  # as the library sends it again
        lease.end()
        await spread(a, b)
        assert b.places() == 1


async def test_who_hears_late_that_it_may_send_does_not(server: Valkey) -> None:
    async with sharing(server, limits=Limits(concurrency=1)) as ((a, b), time):
        lease = a.take([KEYS[0]], mass=False)
        assert isinstance(lease, Lease)
        confirming = asyncio.create_task(a.confirm(lease, FULL))
        await asyncio.sleep(0)
        time.now += LATE
        assert not await confirming
        lease.refund()
        await spread(a, b)
        assert b.places() == 1
        await b.get(KEYS[0])


async def test_older_states_are_passed_over(server: Valkey) -> None:
    async with sharing(server) as ((a, b), _):
        news: list[bytes] = []
        b.listen_to(news)
        lease = await a.get(KEYS[0])
        lease.end()
        await spread(a, b)
        assert len(news) == 2
        b.hear(b"", news[0])
        assert b.places() == 4


async def test_of_two_who_ask_the_same_at_once_one_asks(server: Valkey) -> None:
    async with sharing(server) as ((a, b), _):
        first, second = await asyncio.gather(
            a.try_to_take(KEYS[0], detail=FULL), b.try_to_take(KEYS[0], detail=BASIC)
        )
        (lease,) = filter(None, (first, second))
        late = b if second is None else a
        if late is b:
            assert b.answered_elsewhere(KEYS[0], FULL) is not None
        lease.end()
        await spread(a, b)
        assert late.answered_elsewhere(KEYS[0], BASIC) is None
        assert await late.try_to_take(KEYS[0], detail=FULL)


async def test_who_needs_more_detail_asks_too(server: Valkey) -> None:
    async with sharing(server) as ((a, b), _):
        assert await a.try_to_take(KEYS[0], detail=BASIC)
        await spread(a, b)
        assert b.answered_elsewhere(KEYS[0], BASIC) is not None
        assert b.answered_elsewhere(KEYS[0], FULL) is None
        assert await b.try_to_take(KEYS[0], detail=FULL)


async def test_a_free_place_is_for_who_has_waited_longest(server: Valkey) -> None:
    async with sharing(server, limits=Limits(concurrency=1), replicas=3) as ((a, b, c), time):
        lease = await a.get(KEYS[0])
        for budget in (b, c):
            await spread(a, b, c)
            time.now += 0.1
            budget.queue_up()
            await budget.written()
        time.now += TURN * 0.6
        b.queue_up()  # again, and keeps its turn
        await b.written()
        order = []
        for key in KEYS[1:4]:
            lease.end()
            await spread(a, b, c)
            for name, budget in {"a": a, "b": b, "c": c}.items():
                time.now += 0.01
                if (taken := await budget.try_to_take(key)) is not None:
                    lease = taken
                    order.append(name)
        assert order == ["b", "c", "a"]


async def test_a_turn_that_is_not_taken_is_lost(server: Valkey) -> None:
    async with sharing(server, limits=Limits(concurrency=1)) as ((a, b), time):
        lease = await a.get(KEYS[0])
        await spread(a, b)
        b.queue_up()
        await b.written()
        lease.end()
        assert await a.try_to_take(KEYS[1]) is None
        time.now += TURN
        await a.get(KEYS[1])


async def test_a_request_that_never_reached_the_provider_costs_nothing(server: Valkey) -> None:
    async with sharing(server, limits=Limits(per_message=1)) as ((a, b), _):
        (await a.get(*KEYS[:2], mass=True)).refund()
        await spread(a, b)
        await b.get(*KEYS[:2], mass=True)


async def test_a_place_lingers_for_all_and_counts_from_then_on(server: Valkey) -> None:
    async with sharing(server, limits=Limits(concurrency=1)) as ((a, b), time):
        (await a.get(*KEYS[:2], mass=True)).end(linger=TIMEOUT)
        await spread(a, b)
        assert (b.places(), b.changes_at()) == (0, time.now + TIMEOUT)
        time.now += TIMEOUT
        assert b.mass_full() == Full(Limit.MASS, time.now + WINDOW)
        await b.get(KEYS[2])


async def test_a_process_that_died_frees_its_place_and_has_spent(server: Valkey) -> None:
    limits = Limits(concurrency=1, per_message=1)
    async with sharing(server, limits=limits) as ((a, b), time):
        await a.get(KEYS[0])
        await spread(a, b)
        died = time.now + TIMEOUT + LATE
        assert b.changes_at() == died
        time.now = died
        assert await b.try_to_take(KEYS[0]) is None
        assert b.message_full(KEYS[0]) == Full(Limit.PER_MESSAGE, died + WINDOW)
        await b.get(KEYS[1])


async def test_who_comes_later_knows_what_was_spent(server: Valkey) -> None:
    account = "of the late one"
    async with sharing(server, replicas=1, account=account) as ((a,), time):
        (await a.get(*KEYS[:2], mass=True)).end()
        await a.get(KEYS[2])
        await spread(a)
        link = Replicas(server.url, account)
        late = Replica(Limits(), time, link, timeout=TIMEOUT, time=time)
        async with link:
            assert late.mass_full() == Full(Limit.MASS, time.now + WINDOW)
            assert late.places() == 3


async def test_a_refusal_of_the_provider_is_for_all(server: Valkey) -> None:
    async with sharing(server) as ((a, b), time):
        lease = await a.get(KEYS[0])
        lease.end()
        a.refused([KEYS[0]], mass=False)
        lease = await a.get(*KEYS[1:3], mass=True)
        lease.end()
        a.refused(KEYS[1:3], mass=True)
        await spread(a, b)
        assert await b.try_to_take(KEYS[0]) is None
        assert b.message_full(KEYS[0]) == Full(Limit.PER_MESSAGE, time.now + WINDOW)
        assert b.mass_full() == Full(Limit.MASS, time.now + WINDOW)


async def test_other_accounts_have_budgets_of_their_own(server: Valkey) -> None:
    async with sharing(server) as ((a, _), _), sharing(server) as ((other, _), _):
        await a.get(*KEYS[:2], mass=True)
        await other.get(*KEYS[:2], mass=True)


async def test_a_server_that_forgot_is_told_again() -> None:
    with valkey() as server:
        async with sharing(server) as ((a, b), time):
            for _ in range(4):
                (await a.get(KEYS[0])).end()
            (await a.get(*KEYS[1:3], mass=True)).end()
            held = await a.get(KEYS[3])
            server.stop()
            await until(lambda: a.sharing is Sharing.LOST)
            lease = b.take([KEYS[4]], mass=False)
            assert isinstance(lease, Lease)
            with pytest.raises(Overloaded, match="Redis"):
                await b.confirm(lease, FULL)
            lease.refund()
            server.start()
            await until(lambda: {a.sharing, b.sharing} == {Sharing.SHARED})
            await spread(a, b)
            assert b.mass_full() == Full(Limit.MASS, time.now + WINDOW)
            assert (b.places(), b.changes_at()) == (0, time.now + SETTLE)
            time.now += SETTLE
            assert b.places() == 3
            (await b.get(KEYS[0])).end()
            assert await b.try_to_take(KEYS[0]) is None
            held.end()
            await spread(a, b)
            assert b.places() == 4


async def test_what_a_dead_process_spent_may_be_forgotten_so_mass_waits(server: Valkey) -> None:
    async with sharing(server, replicas=1, account="forgotten") as ((a,), time):
        async with sharing(server, replicas=1, account="forgotten") as ((dead,), _):
            (await dead.get(*KEYS[:2], mass=True)).end()
        server.client.flushdb()
        assert await a.try_to_take(KEYS[2]) is None  # it notices
        assert a.mass_full() == Full(Limit.MASS, time.now + WINDOW)


async def test_what_a_dead_process_sent_is_told_again_by_those_who_heard_of_it() -> None:
    with valkey() as server:
        async with sharing(server, limits=Limits(per_message=2), account="gone") as ((a, b), time):
            async with sharing(server, replicas=1, account="gone") as ((dead,), _):
                for _ in range(2):
                    (await dead.get(KEYS[0])).end()
                await spread(dead, a, b)
            time.now += WINDOW / 2
            server.client.flushdb()
            assert await a.try_to_take(KEYS[1]) is None  # it notices
            assert await b.try_to_take(KEYS[1]) is None
            time.now += SETTLE
            assert await a.try_to_take(KEYS[0]) is None
            assert await b.try_to_take(KEYS[0]) is None
            await spread(a, b)
            assert a.places() == 4  # its requests had ended
            time.now += WINDOW
            await a.get(KEYS[0])


async def test_the_place_of_a_dead_process_is_told_again_too() -> None:
    with valkey() as server:
        async with sharing(server, replicas=1, account="gone") as ((a,), time):
            async with sharing(server, replicas=1, account="gone") as ((dead,), _):
                await dead.get(KEYS[0])
                await spread(dead, a)
            server.client.flushdb()
            assert await a.try_to_take(KEYS[1]) is None  # it notices
            await spread(a)
            ends = time.now + TIMEOUT + LATE
            time.now += SETTLE
            assert (a.places(), a.changes_at()) == (3, ends)


@pytest.mark.parametrize("first", ["who heard of it", "who sent it"])
async def test_who_is_first_at_a_server_that_forgot_knows_what_the_others_sent(first: str) -> None:
    with valkey() as server:
        async with sharing(server, limits=Limits(per_message=2)) as ((a, b), time):
            for _ in range(2):
                (await b.get(KEYS[0])).end()
            await spread(a, b)
            time.now += WINDOW / 2
            server.client.flushdb()
            for budget in (a, b) if first == "who heard of it" else (b, a):
                assert await budget.try_to_take(KEYS[1]) is None  # it notices
                await spread(budget)
                time.now += SETTLE
                assert await budget.try_to_take(KEYS[0]) is None
                assert budget.message_full(KEYS[0])
            time.now += WINDOW / 2
            await b.get(KEYS[0])  # for it told exactly when they ended


async def test_what_a_new_master_lacks_is_told_again() -> None:
    """A replica is a moment behind, and knows the epoch of its master."""
    with watched() as servers:
        limits = Limits(concurrency=1, per_message=2)
        async with sharing(servers, limits=limits, replicas=3) as ((a, b, c), time):
            (await a.get(KEYS[0])).end()
            await spread(a, b, c)
            await asyncio.to_thread(wait_until, lambda: servers.is_in_step)
            servers.replica.ask("REPLICAOF", HOST, closed_port())  # behind from now on
            (await a.get(KEYS[0])).end()
            (await a.get(*KEYS[1:3], mass=True)).end()
            held = await a.get(KEYS[3])
            await spread(a, b, c)
            killed = a.server
            await asyncio.to_thread(servers.kill)
            await until(lambda: {a.server, b.server, c.server}.isdisjoint({killed}))
            await spread(a, b, c)
            time.now += SETTLE
            assert (b.places(), b.mass_full()) == (0, Full(Limit.MASS, time.now - SETTLE + WINDOW))
            held.end()
            await spread(a, b, c)
            for budget in (b, c):
                assert await budget.try_to_take(KEYS[0]) is None
                assert budget.message_full(KEYS[0])
            await b.get(KEYS[1])


async def test_a_slot_that_moves_takes_with_it_what_was_spent() -> None:
    with cluster() as nodes:
        async with sharing(nodes, limits=Limits(per_message=2), account="moved") as ((a, b), time):
            for budget in (a, b):
                (await budget.get(KEYS[0])).end()
            await spread(a, b)
            prefix, held_by = Replicas(nodes.url, "moved").prefix, a.server
            owner = nodes.owner(prefix)
            nodes.move(prefix, next(one for one in nodes.nodes[:3] if one is not owner))
            with pytest.raises(Overloaded):
                await a.try_to_take(KEYS[1])
            await until(lambda: a.server != held_by and b.server == a.server)
            await spread(a, b)
            time.now += SETTLE
            assert await a.try_to_take(KEYS[0]) is None
            assert a.message_full(KEYS[0])
            await b.get(KEYS[1])


async def test_what_others_sent_is_remembered_for_no_longer_than_it_counts(server: Valkey) -> None:
    async with sharing(server) as ((a, b), time):
        for key in KEYS:
            (await b.get(key)).end()
            await spread(a, b)
            assert a.remembered == 1
            time.now += WINDOW + TIMEOUT + LATE


async def test_nothing_is_taken_from_a_server_that_forgot_unseen(server: Valkey) -> None:
    async with sharing(server) as ((a, b), time):
        (await a.get(*KEYS[:2], mass=True)).end()
        await spread(a, b)
        server.client.flushdb()
        assert await a.try_to_take(KEYS[2]) is None  # it notices
        await spread(a)
        (places,) = server.client.keys("*:places") or [b"none"]
        held = cast("list[bytes]", server.client.zrange(places, 0, -1))
        assert [one for one in held if not one.startswith(b"settling")] == []  # nothing was sent
        assert b.mass_full() == Full(Limit.MASS, time.now + WINDOW)
        assert await b.try_to_take(KEYS[3]) is None
        await spread(a, b)
        time.now += SETTLE
        assert await b.try_to_take(*KEYS[2:4], mass=True) is None
        assert await b.try_to_take(KEYS[3])


@dataclass
class Sent:
    """A request as the provider may count it: at any moment from `at` to `ended`."""

    at: float
    keys: tuple[StatusKey, ...]
    mass: bool
    lease: Lease
    replica: int
    ended: float | None = None
    leaves: float | None = None


@dataclass
class World:
    """What all replicas have sent, and the limits as the provider's page has them."""

    limits: Limits
    sent: list[Sent] = field(default_factory=list)
    taken: int = 0

    def check(self, now: float) -> None:
        under_way = [one for one in self.sent if one.leaves is None or one.leaves > now]
        assert len(under_way) <= self.limits.concurrency
        counted = [one for one in self.sent if one.ended is None or one.ended + WINDOW > now]
        assert sum(one.mass for one in counted) <= self.limits.mass
        for key in KEYS:
            assert sum(key in one.keys for one in counted) <= self.limits.per_message


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "mass", "end", "linger", "refund", "wait"]),
        st.integers(0, 2),
        st.integers(0, len(KEYS) - 1),
        st.sampled_from([0.0, 0.0, 0.3, 5.0, 30.0]),
    ),
    min_size=10,
    max_size=60,
)


@soak
@given(steps=STEPS)
@settings(max_examples=size(small=20, whole=300))
def test_no_limit_is_broken_by_any_of_them(
    server: Valkey, steps: list[tuple[str, int, int, float]]
) -> None:
    """`World.check` asserts it after each step; a step takes room whenever there is some."""
    world = asyncio.run(_any_order(server, steps))
    takes = sum(what in {"take", "mass"} for what, *_ in steps)
    assert bool(world.taken) is bool(takes)


async def _any_order(server: Valkey, steps: list[tuple[str, int, int, float]]) -> World:
    limits = Limits(per_message=2, mass=1, concurrency=2)
    world = World(limits)
    async with sharing(server, limits=limits, replicas=3) as (budgets, time):
        for what, replica, number, pause in steps:
            budget = budgets[replica]
            time.now += pause
            open_ = [one for one in world.sent if one.ended is None]
            # A request lasts no longer than the time-out; the gateway sees to that.
            for one in open_:
                if time.now - one.at > TIMEOUT:
                    one.lease.end()
                    one.ended = one.leaves = time.now
            if what in {"take", "mass"}:
                mass = what == "mass"
                keys = tuple(KEYS[number : number + 3]) if mass else (KEYS[number],)
                lease = await budget.try_to_take(*keys, mass=mass)
                if lease is not None:
                    world.taken += 1
                    world.sent.append(Sent(time.now, keys, mass, lease, replica))
            elif what != "wait" and (open_ := [o for o in world.sent if o.ended is None]):
                one = open_[number % len(open_)]
                if what == "refund":
                    one.lease.refund()
                    world.sent.remove(one)
                else:
                    linger = TIMEOUT if what == "linger" else 0.0
                    one.lease.end(linger=linger)
                    one.ended = one.leaves = time.now + linger
                await budgets[one.replica].written()
            world.check(time.now)
        for one in world.sent:
            if one.ended is None:
                one.lease.end()
        await spread(*budgets)
        time.now += WINDOW + TIMEOUT + LATE + TURN
        await budgets[0].get(*KEYS[:3], mass=True)
        await budgets[1].get(KEYS[0])
    return world
