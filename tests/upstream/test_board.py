"""Where flights stand: whatever happens, nobody who waits is lost, and nothing is sent in vain."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.model.records import DetailLevel, StatusKey
from gateway.upstream.board import Board
from gateway.upstream.flight import Flight, Waiter
from gateway.upstream.planner import FetchRequest, Why

KEYS = [StatusKey("79990000001", number + 1) for number in range(3)]
KEY = st.just(KEYS[0])
"""Keys have nothing to do with each other: with one, moves that matter together come together."""
BASIC, FULL = DetailLevel.BASIC, DetailLevel.FULL


class Result:
    """Stands for a future, which needs a loop."""

    def __init__(self) -> None:
        self.told: str | None = None

    def done(self) -> bool:
        return self.told is not None

    def set_result(self, result: str) -> None:
        self.told = result


def waiter() -> Waiter[str]:
    return Waiter[str](math.inf, math.inf, Result())  # type: ignore[arg-type] # all that is used


class Boards(RuleBasedStateMachine):
    """Callers come and go, things fall due, requests are sent, lost and answered."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board[str]()
        self.now = 0.0
        self.callers: list[tuple[StatusKey, Waiter[str]]] = []

    @rule(key=KEY, detail=st.sampled_from([BASIC, FULL]))
    def call(self, key: StatusKey, detail: DetailLevel) -> None:
        flight = self.board.sent(key)
        if flight is None or not flight.fetch.detail.covers(detail):
            flight = self.board.queued(key) or Flight[str](FetchRequest(key, detail))
            self.board.wait(flight)
            flight.raise_to(detail)
        one = waiter()
        flight.callers.append(one)
        self.callers.append((key, one))

    @rule(key=KEY, pause=st.integers(0, 3))
    def stand_by(self, key: StatusKey, pause: int) -> None:
        if self.board.queued(key) is None:
            fetch = FetchRequest(key, BASIC, Why.WATCHER, due=self.now + pause)
            flight = Flight[str](fetch, background=fetch)
            self.board.wait_until_due(flight, fetch)

    @rule()
    def time_goes_on(self) -> None:
        self.now += 1
        self.board.bring_due(self.now)
        due = self.board.next_due
        assert due is None or due > self.now
        later = self.board.later(KEYS[0])
        assert later is None or later.fetch.due > self.now

    @rule(key=KEY, elsewhere=st.booleans())
    def send(self, key: StatusKey, elsewhere: bool) -> None:
        if key not in self.board.waiting or self.board.is_under_way(key):
            return
        if elsewhere:
            self.board.leave_to_others(key)
        else:
            self.board.send(key)

    @rule(key=KEY, answered=st.booleans())
    def end(self, key: StatusKey, answered: bool) -> None:
        flight = self.board.sent(key)
        if flight is None:
            return
        self.board.land(flight)
        if answered:
            flight.settle("told")
        elif flight.is_wanted:
            self.board.wait(flight)

    @rule(key=KEY)
    def news(self, key: StatusKey) -> None:
        for flight in list(self.board.of(key)):
            self.board.settle(flight, "told")

    @rule(which=st.integers(0, 20))
    def leave(self, which: int) -> None:
        if self.callers:
            key, one = self.callers.pop(which % len(self.callers))
            self.board.leave(key, one)

    @invariant()
    def whoever_waits_stands_somewhere(self) -> None:
        self.callers = [(key, one) for key, one in self.callers if not one.result.done()]
        for key, one in self.callers:
            assert sum(one in flight.callers for flight in self.board.of(key)) == 1

    @invariant()
    def what_is_to_be_sent_is_wanted(self) -> None:
        for key in KEYS:
            flight = self.board.queued(key)
            assert flight is None or flight.is_wanted

    @invariant()
    def a_key_is_queued_once(self) -> None:
        for key in KEYS:
            assert (key in self.board.waiting) + (self.board.later(key) is not None) <= 1


TestBoards = Boards.TestCase
TestBoards.settings = settings(max_examples=300)


def test_when_it_closes_all_but_what_was_sent_is_taken_off() -> None:
    board = Board[str]()
    for key in KEYS:
        board.wait(Flight[str](FetchRequest(key, BASIC)))
    sent = board.send(KEYS[0])
    board.leave_to_others(KEYS[1])
    assert {flight.fetch.key for flight in board.clear()} == set(KEYS[1:])
    assert (board.sent(KEYS[0]), board.has(KEYS[1]), board.waiting) == (sent, False, {})
