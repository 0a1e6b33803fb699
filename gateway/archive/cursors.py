"""Cursors: opaque for callers, they hold the account and a place in a list or in the feed."""

import base64
import binascii

from gateway.archive.rows import ACCOUNT


def encoded(*parts: object) -> str:
    """A cursor with these parts."""
    text = "|".join(map(str, (ACCOUNT, *parts)))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decoded(cursor: str) -> list[str]:
    """Its parts; `ValueError` for what is none, or of another account."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        account, *parts = base64.b64decode(padded, b"-_", validate=True).decode("ascii").split("|")
    except binascii.Error:
        raise ValueError from None
    if account != ACCOUNT:
        raise ValueError
    return parts
