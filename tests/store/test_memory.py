"""The store of one process: bounded, and what is read stays."""

import gc

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.model.freshness import Known
from gateway.model.records import DetailLevel, StatusKey
from gateway.store.memory import SECOND_CHANCES, MemoryStore
from tests.store.test_wire import RECORD

SIZE = 80


def key(number: int) -> StatusKey:
    return StatusKey("79990000001", number + 1)


def filled(size: int = SIZE) -> MemoryStore:
    store = MemoryStore(size)
    for number in range(size):
        store.put(key(number), Known(None, number, 0))
    return store


def test_the_newest_is_known() -> None:
    store = filled()
    store.put(key(3), Known(None, 99, 0))
    known = store.get(key(3))
    assert known is not None
    assert (known.observed_at, len(store)) == (99, SIZE)
    assert store.get(key(SIZE)) is None


def test_what_nobody_reads_goes_first() -> None:
    store = filled()
    for number in range(SIZE, SIZE + 10):
        store.put(key(number), Known(None, number, 0))
    assert len(store) == SIZE
    assert [store.get(key(number)) is None for number in (0, 9, 10)] == [True, True, False]


@given(st.integers(0, SIZE - 1), st.lists(st.integers(0, SIZE - 1), max_size=3 * SIZE))
def test_what_is_read_again_and_again_stays(hot: int, others: list[int]) -> None:
    """As long as it is read before all others had their turn."""
    store = filled()
    for number, other in enumerate(others):
        assert store.get(key(hot)) is not None
        store.get(key(other))
        store.put(key(SIZE + number), Known(None, 0, 0))
    assert store.get(key(hot)) is not None
    assert len(store) == SIZE


def test_where_all_are_read_the_oldest_go_all_the_same() -> None:
    store = filled()
    for number in range(SIZE):
        store.get(key(number))
    store.put(key(SIZE), Known(None, 0, 0))
    gone = [number for number in range(SIZE) if store.get(key(number)) is None]
    assert (gone, len(store)) == ([SECOND_CHANCES], SIZE)


def test_what_may_still_change_is_told() -> None:
    store = MemoryStore(20)
    final = replace(RECORD, is_final=True)
    for number in range(10):
        record = (RECORD, final, None)[number % 3]
        store.put(key(number), Known(record, 0, 0))
    assert set(store.unfinished()) == {key(number) for number in range(10) if number % 3 != 1}


def test_the_garbage_collector_has_nothing_to_look_at() -> None:
    store = MemoryStore(SIZE)
    before = len(gc.get_objects())
    for number in range(SIZE):
        store.put(key(number), Known(replace(RECORD, text=str(number)), number, 0))
    assert len(gc.get_objects()) - before < SIZE / 2


def test_what_is_settled_is_final_fresh_and_in_detail() -> None:
    store, final = MemoryStore(10), replace(RECORD, is_final=True)
    settled = Known(final, 0, 100)
    store.put(key(0), settled)
    store.put(key(1), replace(settled, detail=DetailLevel.STANDARD))
    store.put(key(2), Known(RECORD, 0, 100))
    store.put(key(3), Known(None, 0, 100))

    def are_settled(*numbers: int, detail: DetailLevel = DetailLevel.FULL, now: float = 99) -> bool:
        return store.get_settled([key(number) for number in numbers], detail, now) is not None

    assert store.get_settled([key(0)], DetailLevel.FULL, 99) == [settled]
    assert not are_settled(0, now=100)
    assert are_settled(0, 1, detail=DetailLevel.STANDARD)
    assert not are_settled(0, 1)
    assert [are_settled(0, other) for other in (2, 3, 4)] == [False] * 3
