"""A day of messages and lookups for `smsc-gateway demo`, the same each time but for its date.

What the provider would tell of each is made up, and read as an answer of the provider is: so it is
kept as a gateway would have kept it that was pushed to, and asked, for a day. What is still under
way lives on in the simulated provider. All numbers are fictional.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Final, NamedTuple, TypeVar

from gateway.archive.archive import open_database
from gateway.archive.database import Database
from gateway.archive.importing import Learned, bring_in, learned_at
from gateway.archive.names import Names
from gateway.archive.states import Source
from gateway.model.records import HlrLookup, Message, StatusKey
from gateway.simulator import Report, World, render
from gateway.simulator.model import HLR, STATUS_NAMES
from gateway.simulator.render import XML
from gateway.simulator.world import Change
from gateway.smsc import reply
from gateway.smsc.normalise import normalise
from gateway.smsc.row import Refusal

_SEED: Final = 20_261_128
_FIRST_ID: Final = 500_001
_HOUR: Final = 3600

_ALONE: Final = 850
"""Messages of their own: codes and notices."""
_MAILED: Final = (120, 90)
"""Messages of each of the day's mass mailings, all of which have one id."""
_MAILED_AT: Final = (5.2, 20.4)
"""Hours ago that each was sent."""
_LOOKUPS: Final = 70
_LATEST: Final = 48
"""Messages of the last two minutes that are still under way."""
_LATEST_TAKE: Final = 360
"""Seconds within which they arrive, one after the other, so that something happens."""

_BUSY: Final = (9, 9, 8, 8, 9, 7, 6, 5, 4, 2, 1, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 8, 8, 8)
"""How much was sent in each of the last 24 hours, the latest first: a night lies between."""


class _Operator(NamedTuple):
    """An operator, and how much it gets. A message takes `median` seconds there, at the median."""

    share: int
    country: str
    name: str
    mccmnc: str
    prefix: str
    regions: Sequence[str]
    cost: str
    median: float


_RU: Final = ("г. Москва", "г. Санкт-Петербург", "Свердловская обл.", "Новосибирская обл.")
_OPERATORS: Final = (
    _Operator(290, "Россия", "МТС", "25001", "7999000", _RU, "3.20", 5),
    _Operator(250, "Россия", "МегаФон", "25002", "7999000", _RU, "3.45", 6),
    _Operator(190, "Россия", "Билайн", "25099", "7999000", _RU, "3.30", 9),
    _Operator(170, "Россия", "Tele2", "25020", "7999000", _RU, "2.95", 7),
    _Operator(30, "Россия", "Yota", "25011", "7999000", _RU, "3.45", 6),
    _Operator(30, "Казахстан", "Kcell", "40102", "7700000", ("г. Алматы",), "9.80", 14),
    _Operator(20, "Казахстан", "Beeline KZ", "40101", "7700000", ("г. Астана",), "9.80", 16),
    _Operator(20, "Беларусь", "A1", "25701", "37529000", ("г. Минск",), "8.40", 20),
)


class _Sender(NamedTuple):
    """Who sends what, and how much."""

    share: int
    name: str
    type: int
    message: str


_SENDERS: Final = (
    _Sender(42, "MyBank", 0, "Код для входа: 0000. Никому его не сообщайте"),
    _Sender(22, "Dostavka", 0, "Заказ уже в пути, курьер будет через час"),
    _Sender(14, "Apteka24", 0, "Ваш заказ собран и ждёт вас"),
    _Sender(10, "Taxi-7", 0, "Машина подана"),
    _Sender(8, "MyBank", 10, "Списание 120.00, остаток 880.00"),
    _Sender(4, "Clinic", 0, "Напоминаем о приёме завтра"),
)
_MAILING: Final = _Sender(0, "ShopOnline", 0, "Скидка 20% до воскресенья: https://shop.example/s")
_VIBER: Final = 10


class _Ending(NamedTuple):
    """How so many of a thousand end: the status and its error, so many seconds after sending.

    `after` None: as the operator takes; else from the one to the other.
    """

    share: int
    status: int
    err: int = 0
    after: tuple[float, float] | None = None


_ENDINGS: Final = (
    _Ending(898, 1),
    _Ending(34, 1, after=(600, 5 * _HOUR)),  # the telephone was off for a while
    _Ending(18, 20, 6, (2 * _HOUR, 6 * _HOUR)),
    _Ending(14, 3, 6, (6 * _HOUR, 6 * _HOUR + 60)),
    _Ending(10, 20, 1, (2, 9)),
    _Ending(5, 20, 13, (3, 30)),
    _Ending(4, 20, 11, (3, 30)),
    _Ending(3, 20, 255, (3, 30)),
    _Ending(2, 20, 12, (3, 30)),
    _Ending(2, 20, 220, (60, 900)),
    _Ending(4, 22, 249, (0, 2)),
    _Ending(4, 23, 254, (0, 2)),
    _Ending(2, 25, 248, (0, 2)),
)
_REFUSED: Final = frozenset({22, 23, 25})
"""They never get to an operator."""

_LOOKED_UP: Final = (
    (62, {"status": 1, "err": 0}),
    (7, {"status": 1, "err": 0, "rcn": "Турция", "rnet": "Turkcell"}),
    (20, {"status": 20, "err": 6}),
    (6, {"status": 20, "err": 1}),
    (3, {"status": 20, "err": 13}),
    (2, {"status": 3, "err": 0}),
)


T = TypeVar("T", _Operator, _Sender, _Ending)


@dataclass(frozen=True, slots=True)
class Lived:
    """A message or lookup: as it was sent, and what became and becomes of it, at which second."""

    report: Report
    changes: Sequence[tuple[int, Mapping[str, Any]]]

    def at(self, moment: float) -> Report:
        """What the provider tells of it at a moment."""
        report = self.report
        for at, fields in self.changes:
            if at <= moment:
                report = replace(report, last=at, **fields)
        return replace(report, status_name=STATUS_NAMES[report.status])


def sample_day(now: float) -> list[Lived]:
    """What was sent in the 24 hours before now."""
    rng = random.Random(_SEED)  # noqa: S311 - the same each time
    return list(_lives(rng, int(now)))


def add_to(world: World, lives: Sequence[Lived]) -> None:
    """Have the simulated provider know them; what is under way goes on there by itself."""
    now = world.clock()
    for life in lives:
        coming = [Change(at - now, fields) for at, fields in life.changes if at > now]
        world.add(life.at(now), coming)


async def keep(lives: Sequence[Lived], url: str, now: float, zone: tzinfo) -> None:
    """Have the archive hold what a gateway would have learned of them by now."""
    database = open_database(url)
    try:
        await database.migrate()
        await _bring_in(_learned(lives, now, zone), database)
    finally:
        await database.aclose()


async def _bring_in(told: Iterable[Learned], database: Database) -> None:
    by_key: dict[StatusKey, list[Learned]] = {}
    for learned in told:
        by_key.setdefault(learned.key, []).append(learned)
    # What was learned last is written last: it has the highest numbers.
    ordered = sorted(by_key.values(), key=lambda of_key: of_key[-1].at)
    names = Names()
    for first in range(0, len(ordered), _AT_ONCE):
        batch = (learned for of_key in ordered[first : first + _AT_ONCE] for learned in of_key)
        await bring_in(database, names, batch, content=False)


_AT_ONCE: Final = 200
"""Messages of one transaction."""


def _lives(rng: random.Random, now: int) -> Iterator[Lived]:
    number = _FIRST_ID
    for _ in range(_ALONE):
        (hour,) = rng.choices(range(24), _BUSY)
        sender = _choose(rng, _SENDERS)
        yield _message(rng, number, now - int((hour + rng.random()) * _HOUR), sender)
        number += 1
    for count, hours in zip(_MAILED, _MAILED_AT, strict=True):
        sent = now - int(hours * _HOUR)
        for place in rng.sample(range(1000), count):
            yield _message(rng, number, sent + place // 10, _MAILING, place=place)
        number += 1
    for _ in range(_LOOKUPS):
        (hour,) = rng.choices(range(24), _BUSY)
        yield _lookup(rng, number, now - int((hour + rng.random()) * _HOUR))
        number += 1
    for _ in range(_LATEST):
        sent, arrives = now - rng.randrange(120), now + rng.uniform(0, _LATEST_TAKE)
        ending = _Ending(1, 1, after=(arrives - sent, arrives - sent))
        yield _message(rng, number, sent, _choose(rng, _SENDERS), ending=ending)
        number += 1


def _message(
    rng: random.Random,
    id: int,
    sent: int,
    sender: _Sender,
    *,
    place: int | None = None,
    ending: _Ending | None = None,
) -> Lived:
    operator, issuer = _operators(rng)
    ending = ending or _choose(rng, _ENDINGS)
    report = Report(
        id=id,
        phone=_phone(rng, operator, place),
        status=-1,
        last=sent,
        flag=sender.type,
        err=0,
        sent=sent,
        cost=operator.cost,
        sender=sender.name,
        message=sender.message,
        comment="",
        mccmnc=operator.mccmnc,
        country=operator.country,
        operator=operator.name,
        operator_orig=issuer,
        region=rng.choice(operator.regions),
        type=sender.type,
        sms_cnt=1,
    )
    changes: list[tuple[int, Mapping[str, Any]]] = []
    at = float(sent)
    if ending.status not in _REFUSED:
        at += rng.choice((0, 1, 1, 2))
        changes.append((int(at), {"status": 0}))
    if ending.after is None:
        at += rng.lognormvariate(0, 0.9) * operator.median
    else:
        at += rng.uniform(*ending.after)
    changes.append((int(at), {"status": ending.status, "err": ending.err}))
    if ending.status == 1:
        if sender.type == _VIBER and rng.random() < 0.7:  # noqa: PLR2004 - of ten
            changes.append((int(at + rng.lognormvariate(5, 1.5)), {"status": 2}))
        elif sender is _MAILING and rng.random() < 0.12:  # noqa: PLR2004 - of a hundred
            changes.append((int(at + rng.lognormvariate(6.5, 1.2)), {"status": 4}))
    return Lived(report, changes)


def _lookup(rng: random.Random, id: int, sent: int) -> Lived:
    operator, _ = _operators(rng)
    found: dict[str, Any] = rng.choices(
        [fields for _, fields in _LOOKED_UP], [share for share, _ in _LOOKED_UP]
    )[0]
    report = Report(
        id=id,
        phone=_phone(rng, operator, None),
        status=-1,
        last=sent,
        flag=HLR,
        err=0,
        imsi="",
        msc="",
        mcc="",
        mnc="",
        cn="",
        net="",
        rcn="",
        rnet="",
        sent=sent,
        cost="0.30",
        sender="HLR",
        message="",
        country=operator.country,
        operator=operator.name,
        region=rng.choice(operator.regions),
        type=HLR,
    )
    home = {"mcc": operator.mccmnc[:3], "mnc": operator.mccmnc[3:]}
    home |= {"cn": operator.country, "net": operator.name}
    is_reached = found["err"] == 0 and found["status"] == 1
    place = {"imsi": f"{operator.mccmnc}0000000001", "msc": f"{operator.prefix}0001"}
    told = found | (home if found["err"] != 1 else {}) | (place if is_reached else {})
    return Lived(report, [(sent + rng.randrange(1, 12), told)])


def _operators(rng: random.Random) -> tuple[_Operator, str]:
    """Who serves a number, and who issued it: one in fourteen was moved."""
    operator = _choose(rng, _OPERATORS)
    at_home = [one.name for one in _OPERATORS if one.country == operator.country]
    is_moved = rng.random() < 1 / 14
    return operator, rng.choice(at_home) if is_moved else operator.name


def _phone(rng: random.Random, operator: _Operator, place: int | None) -> str:
    """A fictional number; the same ones come again, but not within one mailing (`place`)."""
    end = 1000 + rng.randrange(600) if place is None else 2000 + place
    return f"{operator.prefix}{end}"


def _choose(rng: random.Random, those: Sequence[T]) -> T:
    return rng.choices(those, [one.share for one in those])[0]


def _learned(lives: Sequence[Lived], now: float, zone: tzinfo) -> Iterator[Learned]:
    """What a gateway learned: most of it was pushed, the rest asked for a little later."""
    rng = random.Random(_SEED)  # noqa: S311 - as above
    seen: list[tuple[float, bool]] = []
    reports: list[Report] = []
    for life in lives:
        moments = [at for at, _ in life.changes]
        begun = life.report.last or 0
        if moments[0] > begun:  # it could be seen waiting
            moments.insert(0, begun)
        for moment, following in zip(moments, [*moments[1:], None], strict=True):
            is_pushed = moment > begun and rng.random() < 0.85  # noqa: PLR2004 - of a hundred
            at = float(moment + (1 if is_pushed else rng.randrange(2, 40)))
            at = at if following is None else min(at, max(moment, following - 1))
            if at <= now:
                seen.append((at, is_pushed))
                reports.append(life.at(moment))
    answer = render(reports, fmt=XML, all=2, many=True, charset="utf-8")
    rows = reply.decode(answer, charset="utf-8")
    assert not isinstance(rows, Refusal)  # noqa: S101 - it was rendered as records
    for report, row, (at, is_pushed) in zip(reports, rows, seen, strict=True):
        key = StatusKey(report.phone, report.id)
        kind = HlrLookup if report.is_lookup else Message
        found = normalise(row, key, asked=kind, zone=zone, currency="RUB")
        assert found is not None  # noqa: S101 - as above
        source = Source.PUSHED if is_pushed else Source.ASKED
        yield Learned(key, learned_at(at, found.record, is_pushed=is_pushed), source)
