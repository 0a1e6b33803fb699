"""A start does not wait for a database that is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway import app
from gateway.archive import archive as archives
from gateway.archive.archive import Archive, open_database
from gateway.archive.report import ArchiveState
from tests.support.clock import FakeClock
from tests.support.gateway import settings

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """The address of a server that takes connections and says nothing."""
    ended = asyncio.Event()

    async def wait(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://127.0.0.1:{port}/archive"
        ended.set()


async def test_a_server_that_says_nothing_does_not_keep_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "START", 0.01)
    monkeypatch.setattr(archives, "LAST_CHANCE", 0.01)
    monkeypatch.setattr(app, "START", 0.01)
    async with silent_server() as url:
        told = await app.prepare_archive(settings(ARCHIVE_URL=url))
        assert told == f"The archive is {url}."
        archive = Archive(open_database(url), FakeClock(), content=False, days=0)
        await archive.open()
        assert archive.state is ArchiveState.LOST
        await archive.aclose()
