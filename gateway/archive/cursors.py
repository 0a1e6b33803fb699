"""Cursors: opaque for callers, they hold the account and a place in a list or in the feed."""

import base64
import binascii


def encoded(account: str, *parts: object) -> str:
    """A cursor with these parts."""
    text = "|".join(map(str, (account, *parts)))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decoded(cursor: str) -> list[str]:
    """The account and the other parts; `ValueError` for what is none."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, b"-_", validate=True).decode("ascii").split("|")
    except binascii.Error:
        raise ValueError from None
