"""Sample data: every status, every lookup result, and a message that changes over time.

All numbers are fictional.
"""

from collections.abc import Callable
from dataclasses import replace

from gateway.simulator.model import HLR, Report
from gateway.simulator.world import Change, World

_SENT, _LAST = 1_699_999_990, 1_700_000_000

MESSAGE = Report(
    id=1,
    phone="79990000001",
    status=1,
    last=_LAST,
    flag=0,
    err=0,
    sent=_SENT,
    cost="3.20",
    sender="SMSC.RU",
    message="Код 1234, никому",
    comment="заказ 7",
    mccmnc="25002",
    country="Россия",
    operator="МегаФон",
    operator_orig="МТС",
    region="г. Москва",
    type=0,
    sms_cnt=1,
)
"""A delivered short message to a ported number."""

LOOKUP = Report(
    id=2,
    phone="79990000001",
    status=1,
    last=_LAST,
    flag=HLR,
    err=0,
    imsi="250023012345678",
    msc="79232510066",
    mcc="250",
    mnc="02",
    cn="Россия",
    net="МегаФон",
    rcn="",
    rnet="",
    sent=_SENT,
    cost="0.30",
    sender="HLR",
    message="",
    country="Россия",
    operator="МегаФон",
    region="г. Москва",
    type=HLR,
)
"""An HLR lookup of a subscriber who is at home and reachable."""

_NOT_REACHED = {"imsi": "", "msc": ""}

NOWHERE: dict[str, object] = dict.fromkeys(
    ("mccmnc", "country", "operator", "operator_orig", "region", "sms_cnt")
)
"""An e-mail has none of these."""

_LOOKUPS: list[dict[str, object]] = [
    {"rcn": "Казахстан", "rnet": "Kcell"},
    {"status": 20, "err": 6, **_NOT_REACHED},
    {"status": 20, "err": 1, **_NOT_REACHED, "mcc": "", "mnc": "", "cn": "", "net": ""},
    {"status": 20, "err": 13, **_NOT_REACHED},
    {"status": 20, "err": 11, **_NOT_REACHED},
    {"status": 20, "err": 12, **_NOT_REACHED},
    {"status": -1, "err": 0, **_NOT_REACHED, "mcc": "", "mnc": "", "cn": "", "net": ""},
    {"status": 22, "err": 249, **_NOT_REACHED, "mcc": "", "mnc": "", "cn": "", "net": ""},
]
"""Ids from 10: roaming, absent, no such number, barred, no service, handset, pending, malformed."""

_MESSAGES: list[dict[str, object]] = [
    {"status": -2, "last": _SENT},
    {"status": -1, "last": _SENT},
    {"status": 0},
    {"status": 2},
    {"status": 3, "err": 6},
    {"status": 4},
    {"status": 22, "err": 249},
    {"status": 23, "err": 254},
    {"status": 24},
    {"status": 25, "err": 248},
    {"type": 1, "flag": 1},
    {"type": 7, "flag": 7, "sms_cnt": 34, "sender": "79990000000"},
    {"type": 10, "flag": 10, "status": 2},
    {"type": 8, "flag": 8, "status": 2, "phone": "someone@example.com", **NOWHERE},
    {"message": "Счёт = 120,50, оплатите до 5.12, comment = нет", "comment": "a, b", "sms_cnt": 2},
    {"flag": 32 + 256 + 1024, "message": "Код 5678"},
]
"""Ids from 20: paused, queued, sent, read, expired, clicked, the four refusals; then a flash SMS,
a call, Viber, an e-mail, a text full of commas, a one-time code paid from the second balance."""

LIVE_ID = 100
LIVE_PHONE = "79990000100"


def sample_world(clock: Callable[[], float]) -> World:
    """A fresh world; message 100 lives through its states from now on."""
    world = World(clock)
    fill(world)
    return world


def fill(world: World) -> None:
    """Put the samples into a world."""
    world.add(MESSAGE)
    world.add(LOOKUP)
    world.add(replace(MESSAGE, id=3, phone="79990000003", status=20, err=6))
    for index, changes in enumerate(_LOOKUPS):
        lookup = replace(LOOKUP, id=10 + index, phone=f"7999000001{index}")
        world.add(replace(lookup, **changes))  # type: ignore[arg-type] # a table of plain values
    for index, changes in enumerate(_MESSAGES):
        message = replace(MESSAGE, id=20 + index, phone=f"799900000{20 + index}")
        world.add(replace(message, **changes))  # type: ignore[arg-type] # as above
    begun = int(world.clock())
    live = replace(MESSAGE, id=LIVE_ID, phone=LIVE_PHONE, status=-1, last=begun, sent=begun)
    world.add(
        replace(live, message="Ваш заказ в пути", comment="живое сообщение"),
        [
            Change(10, {"status": 0}),
            Change(30, {"status": 1}),
            Change(60, {"status": 2}),
        ],
    )
