"""Fixtures for all tests."""

import logging
import os
from collections.abc import Iterator

import hypothesis
import pytest

# A build must not depend on luck, nor on how busy the machine is. To look for what nobody thought
# of: HYPOTHESIS_PROFILE=explore make test
hypothesis.settings.register_profile("build", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "build"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """A command that is tried here sets logging up: what comes after finds it as it was."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
