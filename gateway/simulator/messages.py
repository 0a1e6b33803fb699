"""Parses and writes the messages of `POST /control/messages`, by the provider's field names."""

from dataclasses import asdict
from typing import Any

from gateway.simulator import defaults
from gateway.simulator.checks import MAX_MOMENT, MAX_SECONDS, bad, is_duration, is_text, is_whole
from gateway.simulator.model import MAX_ID, TYPES, Report
from gateway.simulator.world import Change, is_phone, one_spelling

_NEEDED = ("id", "phone")
_MOMENTS = frozenset({"last_timestamp", "send_timestamp"})
_INTEGERS = frozenset({"id", "status", "flag", "err", "type", "sms_cnt"}) | _MOMENTS
_TYPE_WORDS = ", ".join(f"{number} {name}" for number, name in TYPES.items())
FIELDS = {
    "id": f"number from 1 to {MAX_ID}; needed",
    "phone": "string: digits, or an e-mail address; needed",
    "status": "number; 1 (delivered) if not given",
    "last_timestamp": "number: the last change, in Unix seconds; now if not given",
    "send_timestamp": "number: when it was sent, in Unix seconds; now if not given",
    "flag": "number: the type, + 32 paid from the second balance, + 256 template; "
    "the type if not given",
    "err": "number; 0, or one that fits the status, if not given",
    "imsi": "string of digits; this and the next seven are of a lookup",
    "msc": "string of digits",
    "mcc": "string of digits",
    "mnc": "string of digits",
    "cn": "string: home country",
    "net": "string: home network",
    "rcn": "string: country of roaming; empty at home",
    "rnet": "string: network of roaming; empty at home",
    "cost": 'string such as "3.20"',
    "sender_id": "string; SMSC.RU, of a lookup HLR, if not given",
    "status_name": "string; the provider's own name of the status if not given",
    "message": "string: the text",
    "comment": "string; of a message",
    "mccmnc": "string of digits; of a message",
    "country": "string: of the number",
    "operator": "string: of the number",
    "operator_orig": "string: the operator before the number was ported; of a message",
    "region": "string: of the number",
    "type": f"number: {_TYPE_WORDS}; 0, or 8 for an e-mail address, if not given",
    "sms_cnt": "number: parts of a message, or seconds of a call",
    "timeline": 'list of later changes, such as {"after": 5, "status": 1}, in seconds from now',
}
"""What a message can be made of, by the names of the provider's page."""

_ATTRIBUTES = {"last_timestamp": "last", "send_timestamp": "sent", "sender_id": "sender"}
"""The provider's name → the report's, by which the control addresses knew it at first."""
_WIRE = {ours: name for name, ours in _ATTRIBUTES.items()}


def read_message(body: dict[str, Any], now: int) -> tuple[Report, list[Change]]:
    """A message and what will change of it; what is not said of it is as usual."""
    timeline = body.pop("timeline", [])
    given = _given(body)
    return defaults.whole(given, now), _timeline(timeline, given)


def told(report: Report) -> dict[str, Any]:
    """A message's fields, by the names of the provider's page."""
    return {_WIRE.get(name, name): value for name, value in asdict(report).items()}


def _given(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a message, by the report's names."""
    for name in _NEEDED:
        if body.get(name) is None:
            raise bad(f"{name} is needed")
    if body.get("status", 0) is None:
        raise bad("status must be an integer")
    given = _checked(body)
    if not 0 < given["id"] <= MAX_ID:
        raise bad(f"id must be from 1 to {MAX_ID}")
    if not is_phone(one_spelling(given["phone"])):
        raise bad("phone must be digits or an e-mail address")
    return given


def _timeline(timeline: object, given: dict[str, Any]) -> list[Change]:
    """The changes; what goes with a status comes with it, unless the message has its own."""
    if not isinstance(timeline, list):
        raise bad("timeline must be a list of changes")
    kind = defaults.type_of(given)
    changes = []
    for entry in timeline:
        if not isinstance(entry, dict) or not is_duration(entry.get("after")):
            raise bad(f"a change needs after, in seconds from 0 to {MAX_SECONDS:.0f}")
        changed = {name: value for name, value in entry.items() if name != "after"}
        if not changed.keys().isdisjoint({"id", "phone"}):
            raise bad("a message keeps its id and phone")
        if changed.get("status", 0) is None:
            raise bad("status must be an integer")
        changed = _checked(changed)
        implied = defaults.implied(kind, changed["status"]) if "status" in changed else {}
        own = {name: value for name, value in implied.items() if name not in given}
        changes.append(Change(float(entry["after"]), {**own, **changed}))
    return changes


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    """The fields by the report's names, if each may be what it is."""
    checked = {}
    for named, value in body.items():
        name = _WIRE.get(named, named)
        if name not in FIELDS:
            raise bad(f"{named!a} is no field of a message")
        checked[_ATTRIBUTES.get(name, name)] = value
        if value is None:
            continue
        if name in _MOMENTS and not is_whole(value, 0, MAX_MOMENT):
            raise bad(f"{named} must be Unix seconds")
        if name in _INTEGERS and not is_whole(value, -MAX_MOMENT, MAX_MOMENT):
            raise bad(f"{named} must be an integer")
        if name not in _INTEGERS and not is_text(value):
            raise bad(f"{named} must be a string")
    return checked
