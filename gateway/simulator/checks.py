"""Validators for values sent to the control API."""

from starlette.exceptions import HTTPException

MAX_MOMENT = 2**32
"""Unix seconds."""

MAX_SECONDS = 86_400.0
"""The longest time to wait."""


def is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_duration(value: object) -> bool:
    return is_number(value, 0, MAX_SECONDS)


def is_number(value: object, low: float, high: float) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return low <= value <= high  # false for NaN, which Python reads in JSON


def is_text(value: object) -> bool:
    """Lone surrogates are JSON, but have no bytes in any charset."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def bad(detail: str) -> HTTPException:
    return HTTPException(400, detail)
