from collections.abc import Callable

import pytest

from gateway.histogram import Histogram

BOUNDS = (1.0, 5.0, 60.0)
Counted = Callable[[list[float]], Histogram]
VALUES = [0.0, 1.0, 1.5, 5.0, 60.0, 60.5, 1e9]


def one_by_one(values: list[float]) -> Histogram:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.add(value)
    return histogram


def together(values: list[float]) -> Histogram:
    histogram = Histogram(BOUNDS)
    histogram.add_all(values)
    return histogram


@pytest.mark.parametrize("counted", [one_by_one, together])
class TestHistogram:
    def test_a_value_on_a_bound_does_not_exceed_it(self, counted: Counted) -> None:
        found = counted(VALUES[::-1])
        assert found.counts == [2, 2, 1, 2]
        assert (found.count, found.sum) == (len(VALUES), sum(VALUES))

    def test_what_is_less_than_nothing_takes_nothing_from_the_sum(self, counted: Counted) -> None:
        found = counted([2.0, -3.0])
        assert (found.counts, found.sum) == ([1, 1, 0, 0], 2.0)

    def test_nothing_is_counted_of_nothing(self, counted: Counted) -> None:
        assert (counted([]).count, counted([]).sum) == (0, 0.0)
