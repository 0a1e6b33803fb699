"""Every test of the archive runs on both engines: a file, and a real PostgreSQL server."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.archive.archive import Archive, open_database
from gateway.archive.database import Database
from tests.support.clock import FakeClock
from tests.support.postgres import Postgres, postgres


@pytest.fixture(autouse=True)
def _logs(caplog: pytest.LogCaptureFixture) -> None:
    """Commands that were tested before, in this process, may have left a higher level."""
    caplog.set_level(logging.INFO)


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/archive.db"
        return
    server: Postgres = request.getfixturevalue("server")
    with server.database() as address:
        yield address


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """A database whose schema is up to date."""
    opened = open_database(url)
    await opened.migrate()
    yield opened
    await opened.aclose()


@pytest.fixture
async def archive(url: str) -> AsyncIterator[Archive]:
    """An archive that writes only when it is told to flush."""
    opened = Archive(open_database(url), FakeClock(), content=False, days=0)
    await opened.flush()
    yield opened
    await opened.aclose()
