"""Fault injection: the kinds of faults that the simulator's answers can have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.simulator.checks import bad, is_duration, is_whole
from gateway.simulator.form import CHARSETS

STATUS, SEND, BALANCE = "status.php", "send.php", "balance.php"
CALLS = (STATUS, SEND, BALANCE)
"""What the provider has and the simulator has too."""

_MAX_TIMES = 1_000_000


@dataclass(slots=True)
class Fault:
    """Something that goes wrong `times` more times, -1: until it is cleared, with one `call`."""

    kind: str
    times: int
    value: Any
    call: str


def _is_status(value: object) -> bool:
    return is_whole(value, 200, 599) and value not in {204, 205, 304}


def _is_charset(value: object) -> bool:
    return value in CHARSETS


_CHARSETS = f"one of {', '.join(CHARSETS)}"
_VALUES: dict[str, tuple[object, Callable[[Any], bool], str]] = {
    "hang": (3600.0, is_duration, "seconds"),
    "status": (503, _is_status, "an HTTP status that has a body"),
    "format": (0, lambda value: is_whole(value, 0, 3), "a format from 0 to 3"),
    "charset": (CHARSETS[0], _is_charset, _CHARSETS),
    "header": (CHARSETS[0], _is_charset, _CHARSETS),
    "error": (9, lambda value: is_whole(value, 1, 999), "an error number of the provider"),
}
"""The value of a fault when none is given, what it may be, and that in words."""

FAULTS = {
    "html": "a page of nginx instead of an answer",
    "empty": "no bytes at all",
    "comma": "a comma, as the provider's libraries make of no answer",
    "cut": "half of the answer",
    "hang": "the answer comes after so many seconds (3600)",
    "status": "this HTTP status (503), with a page of nginx",
    "format": "the answer is in this format (0), whichever was asked for",
    "charset": "the answer is in this charset (windows-1251), whichever was asked for",
    "header": "Content-Type names this charset (windows-1251), whichever was used: seen in 2016",
    "error": "this error of the provider's (9); nothing is done",
}
"""The kinds of faults in words, with the value that each has if none is given."""


def read_fault(body: dict[str, Any]) -> Fault:
    kind, times, value = body.get("kind"), body.get("times", 1), body.get("value")
    call = body.get("call", STATUS)
    if not isinstance(kind, str) or kind not in FAULTS:
        raise bad(f"kind must be one of {', '.join(FAULTS)}")
    if times != -1 and not is_whole(times, 1, _MAX_TIMES):
        raise bad("times must be a number from 1, or -1: until cleared")
    if call not in CALLS:
        raise bad(f"call must be one of {', '.join(CALLS)}")
    if kind in _VALUES:
        default, is_fit, words = _VALUES[kind]
        value = default if value is None else value
        if not is_fit(value):
            raise bad(f"the value of {kind} must be {words}")
    return Fault(kind, times, value, call)
