"""The store of one process: bounded, and what is read stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.freshness import Known
from gateway.records import StatusKey
from gateway.store.memory import SLACK, MemoryStore
from tests.store.test_written import RECORD

SIZE = 80


def key(number: int) -> StatusKey:
    return StatusKey("79990000001", number + 1)


def filled(size: int = SIZE) -> MemoryStore:
    store = MemoryStore(size, size)
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
    """As long as fewer new ones come between two of its reads than there is room."""
    store = filled()
    for number, other in enumerate(others):
        assert store.get(key(hot)) is not None
        store.get(key(other))
        store.put(key(SIZE + number), Known(None, 0, 0))
    assert store.get(key(hot)) is not None
    assert len(store) == SIZE


def test_what_is_young_need_not_be_moved_to_stay() -> None:
    store = filled()
    store.get(key(SIZE - 1))
    for number in range(SIZE - 1 - SIZE // SLACK):
        store.put(key(SIZE + number), Known(None, 0, 0))
    assert store.get(key(SIZE - 1)) is not None


def test_what_is_no_longer_young_is_known_all_the_same() -> None:
    store = MemoryStore(SIZE, 10)
    kept = {key(number): Known(RECORD, number, 1.5, misses=number) for number in range(SIZE)}
    for one, known in kept.items():
        store.put(one, known)
    assert {one: store.get(one) for one in kept} == kept
    assert len(store) == SIZE
    store.put(key(SIZE), Known(None, 0, 0))
    assert (len(store), store.get(key(0))) == (SIZE, None)


def test_an_old_record_is_replaced() -> None:
    store = MemoryStore(SIZE, 1)
    for number in (0, 1):
        store.put(key(number), Known(RECORD, number, 0))
    store.put(key(0), Known(None, 99, 0))
    assert len(store) == 2
    store.put(key(2), Known(None, 0, 0))
    known = store.get(key(0))
    assert known is not None
    assert (known.observed_at, len(store)) == (99, 3)


@pytest.mark.parametrize("max_young", [1, 5, 20])
def test_what_may_still_change_is_told(max_young: int) -> None:
    store = MemoryStore(20, max_young)
    final = RECORD.model_copy(update={"is_final": True})
    for number in range(10):
        record = (RECORD, final, None)[number % 3]
        store.put(key(number), Known(record, 0, 0))
    assert set(store.unfinished()) == {key(number) for number in range(10) if number % 3 != 1}
