"""`send.php`: checks, charges and stores a message; its phone number chooses the outcome.

Nothing is sent. What becomes of a message is told by the end of its phone number, so that a test
can have each outcome without a word to the simulator; `OUTCOMES` and `REFUSALS` are the whole list.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.simulator import defaults
from gateway.simulator.limits import Limits
from gateway.simulator.model import EMAIL, HLR, MAX_ID
from gateway.simulator.world import Change, World, is_phone, one_spelling

BALANCE = 100_000_00
"""Kopecks that the account begins with."""

HANDED_OVER, SETTLED, OPENED = 1, 4, 8
"""Seconds after sending: given to the operator; delivered, or not; read, if it will be."""

QUEUED, SENT, DELIVERED = -1, 0, 1

OUTCOMES: dict[str, tuple[tuple[tuple[int, int], ...], str]] = {
    "000010": (((HANDED_OVER, SENT),), "stays with the operator"),
    "000002": (((HANDED_OVER, SENT), (SETTLED, DELIVERED), (OPENED, 2)), "delivered, then read"),
    "000003": (((HANDED_OVER, SENT), (SETTLED, 3)), "expires, err 6"),
    "000004": (
        ((HANDED_OVER, SENT), (SETTLED, DELIVERED), (OPENED, 4)),
        "delivered, then its link is clicked",
    ),
    "000020": (
        ((HANDED_OVER, SENT), (SETTLED, 20)),
        "can't be delivered, err 6: subscriber absent",
    ),
    "000022": (((HANDED_OVER, 22),), "invalid number, err 249"),
    "000023": (((HANDED_OVER, 23),), "prohibited, err 254"),
    "000024": (((HANDED_OVER, 24),), "insufficient funds"),
    "000025": (((HANDED_OVER, 25),), "unavailable number, err 248"),
}
"""End of the phone → when it gets which status, and that in words."""

DELIVERY = ((HANDED_OVER, SENT), (SETTLED, DELIVERED))
"""What becomes of all others."""

REFUSALS = {"000093": 3, "000096": 6, "000097": 7, "000098": 8}
"""End of the phone → the error that `send.php` answers with."""

_ENDING = 6
_SHORTEST_PHONE, _LONGEST_PHONE = 7, 15
_PARAMETERS = 1
_NO_MONEY = 3
_INVALID_NUMBER = 7
_IDENTICAL = 9
_PRICE_ONLY, _WITH_COST, _WITH_BALANCE = "1", "2", "3"

_FLAGS = (
    ("flash", 1),
    ("bin", 2),
    ("push", 3),
    ("hlr", HLR),
    ("ping", 5),
    ("mms", 6),
    ("call", 7),
    ("mail", EMAIL),
    ("viber", 10),
    ("soc", 12),
)
"""The parameters that make something else than an SMS of it, and what."""

_NEEDS_NO_TEXT = frozenset({HLR, 5, 6})


class Sent(NamedTuple):
    """What was sent, or only priced: then there is no id."""

    id: int | None
    cnt: int
    cost: str | None
    balance: str | None
    type: int
    phones: int


class Refused(NamedTuple):
    """An error number; from 3 to 8 the message has got its id already."""

    number: int
    id: int | None = None
    limit: str | None = None


class _Order(NamedTuple):
    """A request, read: each phone with its text."""

    texts: tuple[tuple[str, str], ...]
    type: int
    sender: str | None
    id: int | None
    cost: str


class Desk:
    """Takes in what is to be sent, and keeps the account's balance."""

    def __init__(self, world: World, limits: Limits) -> None:
        self._world = world
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        self.balance = BALANCE

    def take(self, login: str, fields: Mapping[str, str]) -> Sent | Refused:
        """Send or price a message."""
        order = _read(fields)
        if order is None:
            return Refused(_PARAMETERS)
        priced = order.cost == _PRICE_ONLY
        content = hash(order._replace(cost=""))  # the texts themselves may be long
        limit = self._limits.admit_sending(login, content, priced=priced)
        if limit:
            return Refused(_IDENTICAL, limit=limit)
        id_ = None if priced else order.id or self._world.next_id()
        texts = [(phone, text) for phone, text in order.texts if _can_be_sent_to(phone, order.type)]
        if not texts:
            return Refused(_INVALID_NUMBER, id_)
        for phone, _ in texts:
            if refusal := REFUSALS.get(phone[-_ENDING:]):
                return Refused(refusal, id_)
        price = sum(defaults.cost(order.type, text) for _, text in texts)
        if id_ is not None:
            if price > self.balance:
                return Refused(_NO_MONEY, id_)
            self.balance -= price
            for phone, text in texts:
                self._add(id_, phone, text, order)
        return Sent(
            id=id_,
            cnt=sum(defaults.parts(text) for _, text in texts),
            cost=defaults.money(price) if order.cost else None,
            balance=defaults.money(self.balance) if order.cost == _WITH_BALANCE else None,
            type=order.type,
            phones=len(texts),
        )

    def _add(self, id_: int, phone: str, text: str, order: _Order) -> None:
        fields = {"id": id_, "phone": phone, "status": QUEUED, "type": order.type, "message": text}
        if order.sender and order.type != HLR:
            fields["sender"] = order.sender
        changes, _ = OUTCOMES.get(phone[-_ENDING:], (DELIVERY, ""))
        self._world.add(
            defaults.whole(fields, int(self._world.clock())),
            [
                Change(after, {"status": status, **defaults.implied(order.type, status)})
                for after, status in changes
            ],
        )


def _read(fields: Mapping[str, str]) -> _Order | None:
    """The parameters; None: error 1. Those that change nothing here are not looked at."""
    kind = next((kind for name, kind in _FLAGS if fields.get(name, "0") not in {"", "0"}), 0)
    given = fields.get("id", "").strip()
    if given and not (given.isascii() and given.isdigit() and len(given) <= len(str(MAX_ID))):
        return None
    id_ = int(given or 0)
    if id_ > MAX_ID:
        return None
    if "list" in fields:
        texts = _listed(fields["list"])
    else:
        texts = _addressed(fields.get("phones", ""), fields.get("mes", ""))
    if not texts or not (kind in _NEEDS_NO_TEXT or all(texts.values())):
        return None
    cost = fields.get("cost", "")
    return _Order(
        texts=tuple(texts.items()),
        type=kind,
        sender=fields.get("sender"),
        id=id_ or None,
        cost=cost if cost in {_PRICE_ONLY, _WITH_COST, _WITH_BALANCE} else "",
    )


def _addressed(phones: str, text: str) -> dict[str, str]:
    """One text for phones between commas or semicolons."""
    parts = phones.replace(";", ",").replace("\n", ",").split(",")
    return {one_spelling(phone): text for phone in parts if phone.strip()}


def _listed(lines: str) -> dict[str, str]:
    """A text for each: lines of `phones:text`."""
    texts: dict[str, str] = {}
    for line in lines.splitlines():
        phones, _, text = line.partition(":")
        texts |= _addressed(phones, text)
    return texts


def _can_be_sent_to(phone: str, kind: int) -> bool:
    if (kind == EMAIL) != ("@" in phone):
        return False
    return is_phone(phone) and ("@" in phone or _SHORTEST_PHONE <= len(phone) <= _LONGEST_PHONE)
