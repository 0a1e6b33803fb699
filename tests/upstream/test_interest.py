"""What will be asked for next."""

from gateway.model.records import DetailLevel, StatusKey
from gateway.upstream.demand import MAX_KEYS, MEMORY, Interest

BASIC, FULL = DetailLevel.BASIC, DetailLevel.FULL


def key(number: int) -> StatusKey:
    return StatusKey("79990000001", number)


def test_the_latest_come_first_with_how_often_and_the_last_level() -> None:
    interest = Interest()
    for at, number, level in (
        (0, 1, BASIC),
        (1, 2, FULL),
        (2, 1, FULL),
        (3, 3, BASIC),
        (4, 1, BASIC),
    ):
        interest.note(key(number), level, at)
    assert list(interest.recent(5)) == [(key(1), BASIC, 3), (key(3), BASIC, 1), (key(2), FULL, 1)]


def test_interest_fades() -> None:
    interest = Interest()
    for _ in range(8):
        interest.note(key(1), BASIC, 0)
    interest.note(key(1), BASIC, MEMORY)
    assert list(interest.recent(MEMORY)) == [(key(1), BASIC, 5)]
    assert list(interest.recent(3 * MEMORY)) == []


def test_only_so_many_are_remembered() -> None:
    interest = Interest()
    for number in range(MAX_KEYS + 5):
        interest.note(key(number + 1), BASIC, number / 1e6)
    kept = [found.id for found, _, _ in interest.recent(1)]
    assert (len(kept), kept[0], kept[-1]) == (MAX_KEYS, MAX_KEYS + 5, 6)
