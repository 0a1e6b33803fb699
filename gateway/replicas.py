"""The Redis or Valkey connection that replicas share: queued scripts and reads, and pub/sub.

All commands go through one queue over one connection, as many at a time as there are: so they stay
in order, and who hears that a request has ended has heard before what it brought. Without the
server nothing is asked of the provider, for nobody could tell what the others spend of its limits;
what is known goes on being served.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from redis.asyncio.client import PubSub
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from gateway.errors import Overloaded
from gateway.model.records import StatusKey
from gateway.redis_server import TIMEOUT, Line, RedisServer

log = logging.getLogger(__name__)

Value = str | bytes | int | float

AGAIN: Final = 0.5
"""Seconds until a lost server is tried again."""

LOOK: Final = 1.0
"""Seconds until it is asked anew where the server is, if that may change: one that others have
replaced may not know it, and go on confirming what they confirm, too."""

LAST: Final = 0.05
"""Seconds to wait for news that came before the connection was lost: nobody tells them again."""

SILENCE: Final = 3
"""Seconds without a word, though asked for one, after which the connection counts as lost."""

MAX_QUEUED: Final = 20_000
"""Commands kept for a server that is lost; the oldest go first."""

AT_ONCE: Final = 500
"""Commands sent together; the server answers nobody else meanwhile."""

NAME_SIZE: Final = 16
"""Characters of a replica's name."""


@dataclass(frozen=True, slots=True)
class _Command:
    """What to tell the server, as it is at the moment of telling; and who waits for the answer."""

    words: Callable[[], Sequence[Value]]
    answer: asyncio.Future[Any] | None = None


class Replicas:
    """The Redis connection of one of the replicas that share a provider account.

    Whoever shares something `listen`s to the news of its kind, and gives a `join` that is called
    whenever news may have been missed: at first, and after the connection was lost.
    """

    def __init__(self, url: str, account: str, ca: Path | None = None) -> None:
        self.name = secrets.token_hex(NAME_SIZE // 2)
        self.prefix = _prefix(account)
        self.channel = f"{self.prefix}news"
        self.is_there = False
        """Can it be reached, and is all that it tells known?"""
        self._server = RedisServer(url, self.prefix, ca)
        self._line: Line
        self._listeners: dict[bytes, Callable[[bytes, bytes], None]] = {}
        self._joins: list[Callable[[], Awaitable[None]]] = []
        self._queue: dict[Hashable, _Command] = {}
        self._work = asyncio.Event()
        self._tried = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._warned = False

    async def __aenter__(self) -> Self:
        """Try to join; a server that can't be reached now is joined later."""
        works = [self._stay_joined(), self._write()]
        if self._server.moves:
            works.append(self._look_for_another())
        self._tasks = [asyncio.create_task(work) for work in works]
        await self._tried.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave, once what is queued has been written."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self.run("return ''", [], [])
        except (TimeoutError, Overloaded):
            if self._queue:
                log.warning("Redis was not told all before the end: %d commands", len(self._queue))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.aclose()

    def listen(
        self,
        kind: bytes,
        heard: Callable[[bytes, bytes], None],
        join: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Register `heard(sender, body)` for messages of a kind (one byte), and `join`, if any.

        It raises `ValueError` for what can't be read.
        """
        self._listeners[kind] = heard
        if join is not None:
            self._joins.append(join)

    def key(self, room: str, key: StatusKey) -> str:
        """The Redis key of `room` and a message; phone and id are hashed, as names are shown."""
        return f"{self.prefix}{room}:{_hash(f'{key.phone}:{key.id}')}"

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Value]) -> bytes:
        """Run a script behind all that is queued; raises `Overloaded` if that fails."""
        return _as_bytes(await self._ask(_evaluation(script, keys, arguments)))

    def run_later(
        self,
        name: Hashable,
        script: str,
        keys: Sequence[str],
        arguments: Callable[[], Sequence[Value]],
    ) -> None:
        """Queue a script without waiting; it replaces a queued one of the same `name`."""
        self._queue.pop(name, None)
        self._enqueue(name, _Command(lambda: _evaluation(script, keys, arguments())))

    async def read(self, keys: Sequence[str]) -> list[bytes]:
        """The values of keys, empty where there is none; raises `Overloaded` if that fails."""
        return [_as_bytes(value) for value in await self._ask(["MGET", *keys])]

    async def _ask(self, words: Sequence[Value]) -> Any:  # noqa: ANN401 - what the server says
        if not self.is_there:
            raise unreachable()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._enqueue(answer, _Command(lambda: words, answer))
        return await answer

    def _enqueue(self, name: Hashable, command: _Command) -> None:
        self._queue[name] = command
        if len(self._queue) > MAX_QUEUED:
            _give_up(self._queue.pop(next(iter(self._queue))))
        self._work.set()

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._queue and self.is_there:
                line, commands = self._line, dict(islice(self._queue.items(), AT_ONCE))
                for name in commands:
                    del self._queue[name]
                try:
                    answers = await self._tell_all(list(commands.values()))
                except (RedisError, OSError) as error:
                    self._keep(commands)
                    if line is self._line:  # else another one is joined already
                        self._lost(error)
                except Exception as error:
                    log.exception("commands to Redis could not be sent")
                    for command in commands.values():
                        _give_up(command)
                    self._lost(error)
                else:
                    for command, answer in zip(commands.values(), answers, strict=True):
                        self._answered(command, answer)

    async def _tell_all(self, commands: Sequence[_Command]) -> list[Any]:
        async with self._line.client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command.words())
            return await pipe.execute(raise_on_error=False)

    def _answered(self, command: _Command, answer: object) -> None:
        if isinstance(answer, Exception):
            self._lost(answer)
            _give_up(command)
        elif command.answer is not None and not command.answer.done():
            command.answer.set_result(answer)

    def _keep(self, commands: dict[Hashable, _Command]) -> None:
        """What nobody waits for is told later; it is older than what has come meanwhile."""
        for command in commands.values():
            _give_up(command)
        kept = {name: command for name, command in commands.items() if command.answer is None}
        self._queue = kept | self._queue

    def _lost(self, why: object) -> None:
        self.is_there = False
        self._tried.set()
        for name, command in list(self._queue.items()):
            if command.answer is not None:
                del self._queue[name]
                _give_up(command)
        if not self._warned:
            self._warned = True
            log.warning("Redis is lost, so the provider is not asked: %s", _sentence(why))

    async def _stay_joined(self) -> None:
        while True:
            try:
                place = await self._server.find()
                async with self._server.connect(place) as client, client.pubsub() as news:
                    self._line = Line(place, client)
                    await news.subscribe(self.channel)
                    await self._hear(news)
            except (RedisError, OSError) as error:
                self._lost(error)
            except Overloaded:
                pass  # it was said
            except Exception as error:
                log.exception("news from Redis could not be used")
                self._lost(error)
            await asyncio.sleep(AGAIN)

    async def _hear(self, news: PubSub) -> None:
        """Hand on news until the connection is lost, or another one was."""
        silent, joined = 0, False
        while True:
            message = await news.get_message(timeout=LAST if joined and not self.is_there else 1.0)
            if message is None and not self.is_there:
                return
            if message is None:
                silent += 1
                if silent > SILENCE:
                    raise TimeoutError("it is silent")
                await news.ping()
            elif message["type"] == "subscribe":  # also after a connection that broke unseen
                await self._join()
                joined = True
            elif message["type"] == "message":
                self.deliver(message["data"])
                await asyncio.sleep(0)  # a hundred may have come together
            if message is not None:
                silent = 0

    async def _look_for_another(self) -> None:
        """Leave a server that is not the one any more; while nobody can tell, it is."""
        while True:
            await asyncio.sleep(LOOK)
            if not self.is_there:
                continue
            line = self._line
            try:
                place = await self._server.find(line)
            except (RedisError, OSError):
                continue
            if place != line.place and line is self._line:
                self._lost("another server has taken over")

    async def _join(self) -> None:
        self.is_there = True
        for join in self._joins:
            await join()
        self._tried.set()
        if self._warned:
            self._warned = False
            log.warning("Redis is there again")

    def deliver(self, data: bytes) -> None:
        """Hand on news to whom they concern; what can't be read is passed over."""
        kind, sender, body = data[:1], data[1 : 1 + NAME_SIZE], data[1 + NAME_SIZE :]
        try:
            self._listeners[kind](sender, body)
        except (KeyError, ValueError):
            # Of another version, or not of a gateway.
            log.debug("news of %d bytes could not be read", len(data))


async def look(url: str, account: str, ca: Path | None = None) -> tuple[bool, str]:
    """For `check`: whether a Redis server is usable, and its version or what is wrong."""
    prefix = _prefix(account)
    server = RedisServer(url, prefix, ca)
    try:
        place = await server.find()
        async with server.connect(place) as redis:
            await redis.eval("return redis.call('TIME')", 1, f"{prefix}epoch")
            info = await redis.info()
    except (RedisError, OSError) as error:
        is_member = isinstance(error, MovedError) and not server.moves
        hint = "; write its address as redis+cluster://…" if is_member else ""
        return False, f"{_sentence(error).rstrip('.')}{hint}."
    finally:
        await server.aclose()
    name = info.get("server_name", "redis")
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy != "noeviction":
        return False, (
            f"with maxmemory-policy {policy} it may drop what was spent of the provider's limits; "
            "set noeviction."
        )
    where = "" if place is None else f" at {place[0]}:{place[1]}"
    return True, f"{name} {info.get(f'{name}_version', '')}".rstrip() + where


_MOVED: Final = {
    (MovedError, AskError, TryAgainError): "the cluster has our keys, or some, at another node",
    (ClusterDownError,): "the cluster is down",
    (ReadOnlyError,): "it is a replica, which can't be written to",
}

_FORBIDDEN = re.compile(r"run the '([a-z|]{1,30})' command")


def unreachable() -> Overloaded:
    return Overloaded(
        "The gateway can't reach its Redis, without which the provider's limits can't be kept.",
        retry_after=1,
    )


def _as_bytes(value: object) -> bytes:
    """Of a script or key of ours; that of another program is not for us to read."""
    return value if isinstance(value, bytes) else b""


def _evaluation(script: str, keys: Sequence[str], arguments: Sequence[Value]) -> list[Value]:
    # The source each time: its hash would save a kilobyte, and need care for a server that has
    # forgotten it.
    return ["EVAL", script, len(keys), *keys, *arguments]


def _give_up(command: _Command) -> None:
    if command.answer is not None and not command.answer.done():
        command.answer.set_exception(unreachable())


def _prefix(account: str) -> str:
    """What all keys of an account begin with; the braces keep them together in a cluster."""
    return f"smsc-gateway:{{{_hash(account)}}}:"


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=NAME_SIZE).hexdigest()


def _sentence(why: object) -> str:
    """What a server answers may repeat what it was told; what the library says does not."""
    if isinstance(why, NoPermissionError):
        lacks = _FORBIDDEN.search(str(why))
        what = f"command {lacks[1].upper()}" if lacks else "one of our keys or channels"
        return f"its user lacks the permission for the {what} (docs/operating.md, Replicas)"
    for kinds, sentence in _MOVED.items():
        if isinstance(why, kinds):
            return sentence
    is_known = isinstance(why, str | RedisError | OSError) and not isinstance(why, ResponseError)
    return str(why) if is_known else type(why).__name__
