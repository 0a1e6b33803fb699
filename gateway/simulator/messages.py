"""A message as `POST /control/messages` takes and gives it: named as on the provider's page."""

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
    "id": f"needed; from 1 to {MAX_ID}",
    "phone": "needed; digits, or an e-mail address",
    "status": "1 if not given: delivered",
    "last_timestamp": "of the last change, in Unix seconds; now",
    "send_timestamp": "when it was sent, in Unix seconds; as last_timestamp",
    "flag": "its last four bits are the type; 32 second balance, 256 template",
    "err": "0, or one that fits the status",
    "imsi": "this and the next seven: of a lookup",
    "msc": "digits in a string",
    "mcc": "as msc",
    "mnc": "as msc",
    "cn": "home country",
    "net": "home network",
    "rcn": "country of roaming",
    "rnet": "network of roaming",
    "cost": 'a string such as "3.20"',
    "sender_id": "SMSC.RU; of a lookup HLR",
    "status_name": "the name of the status, in Russian",
    "message": "the text",
    "comment": "of a message only",
    "mccmnc": "of a message only; digits in a string",
    "country": "of the number",
    "operator": "of the number",
    "operator_orig": "of the number, before it was ported; of a message only",
    "region": "of the number",
    "type": f"of the message: {_TYPE_WORDS}",
    "sms_cnt": "parts of a message, or seconds of a call",
    "timeline": 'what changes later: [{"after": 5, "status": 1}, …], in seconds from now',
}
"""What a message can be made of, by the names of the provider's page, and what is so by default."""

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
