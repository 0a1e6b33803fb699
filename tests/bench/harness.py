"""What servers cost: their CPU time a request, in turn, in one run. Linux alone has the figures.

Each server is one process on one core; this process, which is their load, has another. Servers take
turns in many short rounds, and of each the lower quartile counts: rates swing with whatever else
the machine does, and other work only ever adds to what a request costs.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import Load, Seen
from tests.support.process import PLAIN

ROUNDS = 20
SECONDS = 0.4
WARM_UP = 1.0
"""Seconds of load before the first round: memories fill, and compilers compile."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves."""

    pid: int
    address: str

    def cpu(self) -> float:
        """Seconds of CPU time that all its threads have had."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def resident(self) -> int:
        """Bytes of it that are in memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Work:
    """What a server is asked, again and again."""

    server: Server
    requests: Iterator[bytes]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """The lower quartile of CPU microseconds a request, and the middle of requests a second."""

    cost: float
    rate: float


class Bench:
    """Starts servers, and ends them with the block. `folder` is for what they are to read."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._core, self._load_core = cores()
        stack.enter_context(pinned(self._load_core))
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

    def start(self, *command: str, **environ: str) -> Server:
        """Run a command that tells its address first. `environ`: settings without prefix."""
        return self._start(command, self._core, environ)

    def python(self, *arguments: str, **environ: str) -> Server:
        """Run a module."""
        return self.start(sys.executable, "-m", *arguments, **environ)

    def beside(self, *arguments: str, **environ: str) -> Server:
        """Run a module that is not measured, where the load is."""
        return self._start([sys.executable, "-m", *arguments], self._load_core, environ)

    def _start(self, command: Sequence[str], core: int, environ: Mapping[str, str]) -> Server:
        given = {f"GATEWAY_{name}": value for name, value in environ.items()}
        return self._stack.enter_context(running(command, core, PLAIN | given))

    def bare(self, name: str, body: bytes) -> Server:
        """The limit: the server around an application that answers these bytes."""
        file = self.folder / name
        file.write_bytes(body)
        return self.python("tests.bench.peers", "bare", str(file))


def take_turns(
    works: Mapping[str, Work], rounds: int = ROUNDS, seconds: float = SECONDS
) -> dict[str, Figures]:
    """What each work costs its server. In every second round the order is the other way round."""
    costs: dict[str, list[float]] = {name: [] for name in works}
    rates: dict[str, list[float]] = {name: [] for name in works}
    with ExitStack() as stack:
        loads = {name: stack.enter_context(loading(work)) for name, work in works.items()}
        for load in loads.values():
            load.run(WARM_UP)
        for number in range(rounds):
            for name in list(works)[:: -1 if number % 2 else 1]:
                seen, spent = _measured(works[name].server, loads[name], seconds)
                costs[name].append(spent / seen.answered * 1e6)
                rates[name].append(seen.answered / seen.seconds)
    return {
        name: Figures(sorted(costs[name])[rounds // 4], sorted(rates[name])[rounds // 2])
        for name in works
    }


@contextmanager
def loading(work: Work) -> Iterator[Load]:
    """The load of a work."""
    load = Load(work.server.address, work.requests, work.status)
    try:
        yield load
    finally:
        load.close()


def _measured(server: Server, load: Load, seconds: float) -> tuple[Seen, float]:
    before = server.cpu()
    seen = load.run(seconds)
    return seen, server.cpu() - before


def cores() -> tuple[int, int]:
    """One for the server, one for the load; the same where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """This thread, and what it starts meanwhile, stays on this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(command: Sequence[str], core: int, environ: Mapping[str, str]) -> Iterator[Server]:
    """A command that runs and tells its address first; ended with the block."""
    with pinned(core):
        process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    with process:
        assert process.stdout is not None
        try:
            printed = b""
            while not (found := re.search(rb"http://127[0-9.]+:[0-9]+", printed)):
                line = process.stdout.readline()
                assert line, f"{' '.join(command)}: {printed.decode()}"
                printed += line
            # What it prints later, the log, is read, or it would stop when the pipe is full.
            reader = threading.Thread(target=_drain, args=[process.stdout.fileno()], daemon=True)
            reader.start()
            yield Server(process.pid, found[0].decode())
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
        reader.join()


def _drain(fd: int) -> None:
    while os.read(fd, 1 << 16):
        pass


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what was measured, beside what, and what it is to be."""

    work: str
    limit: str
    peers: str
    cost: str
    ratio: str
    goal: str


HEAD = Row("work", "limit", "peers", "us", "ratio", "goal")


def print_table(rows: Sequence[Row], head: Row = HEAD) -> None:
    lines = [
        (row.work, row.limit, row.peers, row.cost, row.ratio, row.goal) for row in (head, *rows)
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    for line in lines:
        cells = [
            cell.rjust(width) if column == 3 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
