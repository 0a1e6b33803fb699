"""The simulated messages and lookups in memory, which change state over time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from gateway.simulator.model import STATUS_NAMES, Report, not_found

MAX_MESSAGES = 100_000
"""What is known at once; a new message takes the place of the oldest."""

_FIRST_ID = 1001
"""Behind the samples."""

_PUNCTUATION = str.maketrans("", "", "+ -()")


@dataclass(frozen=True, slots=True)
class Change:
    """After so many seconds of life these fields of the report change."""

    after: float
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Life:
    """A report as it begins, and what becomes of it. `began` is in Unix seconds."""

    report: Report
    began: float
    changes: Sequence[Change] = ()

    def moments(self, after: float) -> list[float]:
        """When its status changes, after that moment."""
        if not self.changes or self.began + self.changes[-1].after <= after:
            return []  # most are over, and all are looked at
        changes = [change for change in self.changes if "status" in change.fields]
        moments = [self.began + change.after for change in changes]
        return [moment for moment in moments if moment > after]

    def at(self, now: float) -> Report:
        report = self.report
        for change in self.changes:
            moment = self.began + change.after
            if moment <= now:
                # The old status's name does not fit the new one.
                implied = {"last": int(moment)}
                renamed = {"status_name": None} if "status" in change.fields else {}
                report = replace(report, **{**implied, **renamed, **change.fields})
        if report.status_name is None:
            report = replace(report, status_name=STATUS_NAMES.get(report.status, "?"))
        return report


class World:
    """Everything the provider knows. `clock` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.on_add: Callable[[Report | None], None] = lambda _: None
        """Called when a life begins, with its report if it took the place of another status."""
        self._lives: dict[tuple[str, int], Life] = {}
        self._ids: set[int] = set()
        self._next_id = _FIRST_ID

    def next_id(self) -> int:
        """An id that no message has or had, for one that is sent without."""
        while self._next_id in self._ids:
            self._next_id += 1
        self._ids.add(self._next_id)
        return self._next_id

    def add(self, report: Report, changes: Sequence[Change] = ()) -> None:
        """Bring a message or lookup to life now, in place of an older one of the same pair."""
        report = replace(report, phone=one_spelling(report.phone))
        life = Life(report, self.clock(), tuple(sorted(changes, key=lambda change: change.after)))
        before = self._lives.pop((report.phone, report.id), None)
        if len(self._lives) >= MAX_MESSAGES:
            del self._lives[next(iter(self._lives))]
        self._lives[report.phone, report.id] = life
        self._ids.add(report.id)
        is_change = before is not None and before.at(life.began).status != report.status
        self.on_add(report if is_change else None)

    def look(self, phone: str, id: int) -> Report:
        """What the provider tells of a pair now; status -3 if it knows none."""
        phone = one_spelling(phone)
        life = self._lives.get((phone, id))
        return life.at(self.clock()) if life else not_found(id, phone)

    def delete(self, phone: str, id: int) -> bool:
        """Forget a pair; False if it was not known."""
        return self._lives.pop((one_spelling(phone), id), None) is not None

    def clear(self) -> None:
        self._lives.clear()
        self._ids.clear()
        self._next_id = _FIRST_ID

    def looked_back(self, phone: str, id: int, seconds: float) -> Report:
        """What it told of a pair so many seconds ago, or when the pair's life began."""
        life = self._lives.get((one_spelling(phone), id))
        if life is None:
            return not_found(id, one_spelling(phone))
        return life.at(max(life.began, self.clock() - seconds))

    def next_change(self, after: float) -> float | None:
        """When the next status changes after that moment."""
        return min(
            (moment for life in self._lives.values() for moment in life.moments(after)),
            default=None,
        )

    def changed(self, after: float, until: float) -> list[Report]:
        """The reports whose status changed in that time, in order, each as it was then."""
        moments = [
            (moment, life.at(moment))
            for life in self._lives.values()
            for moment in life.moments(after)
            if moment <= until
        ]
        return [report for _, report in sorted(moments, key=itemgetter(0))]

    def reports(self) -> list[Report]:
        now = self.clock()
        return [life.at(now) for life in self._lives.values()]


def one_spelling(phone: str) -> str:
    """The digits of a phone, as the recordings echo it; an e-mail address in lower case."""
    return phone.strip().casefold() if "@" in phone else phone.translate(_PUNCTUATION)


def is_phone(text: str) -> bool:
    """Whether this is one spelling of a phone or an e-mail address."""
    if "@" in text:
        name, _, domain = text.rpartition("@")
        return bool(name and domain)
    return text.isascii() and text.isdigit()
