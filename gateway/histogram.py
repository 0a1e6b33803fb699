"""`Histogram`: how many values lie within each of some bounds, and their sum."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

_POSITIVE: Final = (0.0).__lt__


class Histogram:
    """Counts values by the least of its bounds that is not exceeded.

    What is less than nothing (clocks of two machines differ) counts as nothing, for a sum that went
    down would look like a restart.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        """In ascending order."""
        self.counts = [0] * (len(bounds) + 1)
        """One for each bound, and one for what exceeds them all; not cumulated."""
        self.sum = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        if value > 0:
            self.sum += value

    def include(self, other: "Histogram") -> None:
        """Count what another one with the same bounds has counted, too."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def add_all(self, values: Sequence[float]) -> None:
        """Many at once: to sort them and look up the bounds costs a third of looking up each."""
        ranked, below = sorted(values), 0
        for place, bound in enumerate(self.bounds):
            above = bisect_right(ranked, bound, below)
            self.counts[place] += above - below
            below = above
        self.counts[-1] += len(ranked) - below
        self.sum += sum(ranked) if not ranked or ranked[0] >= 0 else sum(filter(_POSITIVE, ranked))
