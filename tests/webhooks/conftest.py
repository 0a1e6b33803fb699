"""Every test of webhooks runs on both engines, with a receiver on a real port."""

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.archive.archive import Archive, open_database
from tests.archive.conftest import _logs, server, url
from tests.support.clock import FakeClock
from tests.support.receiver import Receiver, receiving

__all__ = ["_logs", "server", "url"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def archive(url: str, clock: FakeClock) -> AsyncIterator[Archive]:
    """An archive that writes only when it is told to flush."""
    opened = Archive(open_database(url), clock, content=False, days=0)
    await opened.flush()
    yield opened
    await opened.aclose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started
