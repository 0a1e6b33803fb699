"""Fills in the fields that were not given for a simulated message or lookup.

Whoever adds a message to test something with names what the test is about; the rest is as the
provider would tell it of an ordinary message or lookup of that type and status.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from gateway.simulator.model import EMAIL, HLR, Report
from gateway.simulator.samples import LOOKUP, MESSAGE, NOWHERE

TEXT = "Тестовое сообщение"
DELIVERED = 1

PART_COST = 320
"""Kopecks for one part of a message."""
LOOKUP_COST = 30
"""Kopecks for a lookup, or a ping."""

_TYPE_BITS = 0b1111
"""Of `flag`."""
_PING = 5
_ERRORS = {3: 6, 20: 6, 22: 249, 23: 254, 25: 248}
"""Why a message was not delivered, where nobody says: absent, malformed, sender, no route."""
_REACHED = frozenset({1, 2, 4})
_NETWORK_KNOWN = frozenset({3, 20})
_NETWORK = ("imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet")


def whole(fields: Mapping[str, Any], now: int) -> Report:
    """The report with these fields; `id` and `phone` are needed, None leaves a field out."""
    kind = type_of(fields)
    base = LOOKUP if kind == HLR else MESSAGE
    status = fields.get("status", DELIVERED)
    text = "" if kind == HLR else fields.get("message") or TEXT
    usual: dict[str, Any] = {
        "status": status,
        "last": now,
        "sent": fields.get("last") or now,
        "flag": kind,
        "type": kind,
        "message": text,
        "cost": money(cost(kind, text)),
        **({} if kind == HLR else {"comment": "", "sms_cnt": parts(text)}),
        **(NOWHERE if kind == EMAIL else {}),
        **implied(kind, status),
    }
    return replace(base, **{**usual, **fields})


def type_of(fields: Mapping[str, Any]) -> int:
    """The type that is named, or shown by the flag or the address."""
    if fields.get("type") is not None:
        return int(fields["type"])
    if fields.get("flag") is not None:
        return int(fields["flag"]) & _TYPE_BITS
    return EMAIL if "@" in fields["phone"] else 0


def implied(kind: int, status: int) -> dict[str, Any]:
    """What else is told with a status: the error, and of a lookup what the network said."""
    told: dict[str, Any] = {"err": _ERRORS.get(status, 0)}
    if kind != HLR:
        return told
    if status in _REACHED:
        network = asdict(LOOKUP)
    elif status in _NETWORK_KNOWN:
        network = {**asdict(LOOKUP), "imsi": "", "msc": ""}
    else:
        network = dict.fromkeys(_NETWORK, "")
    return told | {name: network[name] for name in _NETWORK}


def parts(text: str) -> int:
    """How many short messages a text takes: 160 Latin letters or 70 others, less if it is cut."""
    alone, each = (160, 153) if text.isascii() else (70, 67)
    return 1 if len(text) <= alone else -(-len(text) // each)


def cost(kind: int, text: str) -> int:
    """The price in kopecks."""
    return LOOKUP_COST if kind in {HLR, _PING} else PART_COST * parts(text)


def money(kopecks: int) -> str:
    return f"{kopecks // 100}.{kopecks % 100:02}"
