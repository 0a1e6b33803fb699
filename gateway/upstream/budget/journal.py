"""Writes the spent budget to disk, so that a restart does not spend it again.

A request is written down before it is sent: whenever the process dies, what it sent is known. It
is not forced onto the disk, for the limits of a minute need to outlive the process (`kill -9`), not
the machine. Messages are named by a keyed hash: the file holds no phone number.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from gateway.clock import Clock
from gateway.model.records import StatusKey

log = logging.getLogger(__name__)

NAME_SIZE = 8
"""Bytes of a message's name."""

FORGET_EVERY = 1000
"""Requests after which those that no longer count are deleted."""

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS request (
        row INTEGER PRIMARY KEY,
        sent_at REAL NOT NULL,   -- seconds since 1970
        ended_at REAL,           -- null: under way
        mass INTEGER NOT NULL,
        names BLOB NOT NULL      -- of its messages, NAME_SIZE bytes each
    )
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """A request of an earlier process; times are monotonic seconds of this one.

    `ended_at` None: it was under way when that process died, and may be so until `lingers_until`.
    """

    ended_at: float | None
    lingers_until: float
    mass: bool
    names: tuple[bytes, ...]


class Journal:
    """Keeps nothing: what a budget without a memory beyond its process writes into."""

    def name(self, key: StatusKey) -> bytes:
        """The name of a message in the journal."""
        return repr(key).encode()

    def open(self, now: float, window: float) -> list[Spent] | None:  # noqa: ARG002 - the port
        """What was spent within the window; None: nobody knows."""
        return []

    def sent(self, now: float, keys: Iterable[StatusKey], *, mass: bool) -> int:  # noqa: ARG002
        """Write down that a request is about to be sent; a row to end it by."""
        return 0

    def ended(self, row: int, at: float | None) -> None:
        """Write down when a request ended; None: it never reached the provider."""

    def close(self) -> None:
        """Let go of the file."""


class FileJournal(Journal):
    """Keeps what was spent in an SQLite file of its own.

    `account` tells logins at providers apart, `secret` hides the messages' names; `linger` is how
    long, in seconds, a request can last. What the disk refuses costs one warning, never a request.
    """

    def __init__(
        self, folder: Path, clock: Clock, *, account: str, secret: str, linger: float
    ) -> None:
        self.path = folder / f"spent-{_hash(account.encode(), b'', 8).hex()}.sqlite"
        self._clock = clock
        self._key = _hash(secret.encode(), b"", 32)
        self._linger = linger
        self._window = 0.0
        self._written = 0
        self._file: sqlite3.Connection | None = None

    def name(self, key: StatusKey) -> bytes:
        return _hash(f"{key.phone}:{key.id}".encode(), self._key, NAME_SIZE)

    def open(self, now: float, window: float) -> list[Spent] | None:
        """As `Journal.open`; also None if the file is in use elsewhere or can't be written.

        A file that is there but broken is set aside under another name, and a new one begun.
        """
        self._window = window
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._file = _connect(self.path)
                self._forget()
                rows = self._file.execute("SELECT sent_at, ended_at, mass, names FROM request")
                return [self._spent(now, *row) for row in rows]
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self.close()
                self.path.replace(self.path.with_suffix(".broken"))
                log.warning("%s was broken (%s) and is set aside", self.path, error)
                self._file = _connect(self.path)
                return None
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
            return None

    def sent(self, now: float, keys: Iterable[StatusKey], *, mass: bool) -> int:
        row: int | None = None
        names = b"".join(map(self.name, keys))
        with self._writing() as file:
            if file is not None:
                insert = "INSERT INTO request (sent_at, mass, names) VALUES (?, ?, ?)"
                row = file.execute(insert, (self._wall(now), mass, names)).lastrowid
                self._written += 1
                if self._written % FORGET_EVERY == 0:
                    self._forget()
        return row or 0

    def ended(self, row: int, at: float | None) -> None:
        with self._writing() as file:
            if file is not None and at is None:
                file.execute("DELETE FROM request WHERE row = ?", (row,))
            elif file is not None and at is not None:
                update = "UPDATE request SET ended_at = ? WHERE row = ?"
                file.execute(update, (self._wall(at), row))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _forget(self) -> None:
        """Delete what no longer counts."""
        assert self._file is not None  # noqa: S101 - both callers have it
        old = self._clock.time() - self._window - self._linger
        self._file.execute("DELETE FROM request WHERE ifnull(ended_at, sent_at) < ?", (old,))

    def _spent(
        self, now: float, sent_at: float, ended_at: float | None, mass: int, names: bytes
    ) -> Spent:
        """A wall clock that was set back must not make a window longer than it is."""
        ahead = now - self._clock.time()
        cuts = range(0, len(names), NAME_SIZE)
        return Spent(
            None if ended_at is None else min(ended_at + ahead, now + self._linger),
            min(sent_at + ahead, now) + self._linger,
            bool(mass),
            tuple(names[cut : cut + NAME_SIZE] for cut in cuts),
        )

    def _wall(self, moment: float) -> float:
        return self._clock.time() + moment - self._clock.monotonic()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection | None]:
        try:
            yield self._file
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.close()
        reason = "another process uses it" if "locked" in str(error) else error
        log.warning(
            "GATEWAY_STATE_DIR: what is spent of the provider's limits can't be kept in %s (%s): "
            "a start waits a minute with its first mass request",
            self.path.parent,
            reason,
        )


def _connect(path: Path) -> sqlite3.Connection:
    """A file for one process alone: for a second one the login's limits would be unshared."""
    file = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        path.chmod(0o600)
        file.execute("PRAGMA locking_mode = EXCLUSIVE")
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = OFF")
        file.execute(_SCHEMA)
        file.execute("DELETE FROM request WHERE row < 0")  # takes the lock now, not at first use
    except BaseException:
        file.close()
        raise
    return file


def _hash(text: bytes, key: bytes, size: int) -> bytes:
    return blake2b(text, key=key, digest_size=size).digest()
