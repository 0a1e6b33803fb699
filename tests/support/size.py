"""The two sizes of what is statistical: small in `make test`, whole in `make soak`.

A test of this kind is marked `soak`. `make soak` runs just those, with `SOAK` set: then each has
more parts, so that the terminal shows how far it is.
"""

import os

import pytest

PATIENCE = 120.0
"""Seconds to wait for what comes at once, however busy the machine is; then it counts as failed."""

SOAK = bool(os.environ.get("SOAK"))

soak = pytest.mark.soak


def size(small: int, whole: int) -> int:
    """How many cases, or parts, there are in this run."""
    return whole if SOAK else small


only_in_soak = pytest.mark.skipif(not SOAK, reason="long: make soak")
"""For a test that has no small size."""
