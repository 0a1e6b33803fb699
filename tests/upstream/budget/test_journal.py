"""What was spent outlives the process, however it ends."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from gateway.errors import Limit
from gateway.model.records import StatusKey
from gateway.upstream.budget.journal import FORGET_EVERY, FileJournal
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Full, Lease, Limits
from tests.support.clock import FakeClock

KEYS = [StatusKey(f"7999000000{n}", n + 1) for n in range(6)]
LINGER = 10.0


class Machine:
    """Processes that follow each other: each has its own monotonic clock and budget."""

    journals: ClassVar[list[FileJournal]] = []

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.journal: FileJournal | None = None

    def start(self, account: str = "demo", **limits: int) -> MemoryBudget:
        """A new process; the one before is gone without a word."""
        if self.journal is not None:
            self.journal.close()
        self.journal = FileJournal(
            self.folder, self.clock, account=account, secret="s", linger=LINGER
        )
        self.journals.append(self.journal)
        return MemoryBudget(Limits(**limits), self.clock.monotonic, self.journal)


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    for journal in Machine.journals:
        journal.close()
    Machine.journals.clear()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "state")


def take(room: MemoryBudget, *keys: StatusKey) -> Lease:
    lease = room.take(keys, mass=len(keys) > 1)
    assert isinstance(lease, Lease)
    return lease


def test_a_first_start_waits_for_nothing(machine: Machine) -> None:
    room = machine.start()
    assert (room.places(), room.mass_left(), room.message_left(KEYS[0])) == (4, 1, 5)


def test_what_was_spent_is_known_after_a_restart(machine: Machine) -> None:
    room = machine.start()
    for _ in range(4):
        take(room, KEYS[0]).end()
    take(room, *KEYS[:3]).end()
    machine.clock.now += 20
    room = machine.start()
    until = machine.clock.now + 40
    assert room.message_full(KEYS[0]) == Full(Limit.PER_MESSAGE, until)
    assert room.mass_full() == Full(Limit.MASS, until)
    assert (room.message_left(KEYS[1]), room.message_left(KEYS[5]), room.places()) == (4, 5, 4)
    machine.clock.now = until
    assert (room.message_left(KEYS[0]), room.mass_left()) == (5, 1)
    machine.clock.now += 20
    take(room, KEYS[5]).end()
    assert room._restored == {}  # noqa: SLF001 - memory shows nowhere else


def test_what_was_under_way_counts_until_the_restart_and_holds_its_place(machine: Machine) -> None:
    room = machine.start(per_message=1)
    take(room, KEYS[0])
    machine.clock.now += 4
    room = machine.start(per_message=1)
    assert (room.places(), room.place_free_at()) == (3, machine.clock.now + 6)
    assert room.message_full(KEYS[0]) == Full(Limit.PER_MESSAGE, machine.clock.now + 60)
    machine.clock.now += 6
    assert room.places() == 4


def test_what_never_arrived_is_not_counted(machine: Machine) -> None:
    take(machine.start(per_message=1), *KEYS[:2]).refund()
    room = machine.start(per_message=1)
    assert (room.mass_left(), room.message_left(KEYS[0]), room.places()) == (1, 1, 4)


def test_what_the_provider_said_is_full_stays_so(machine: Machine) -> None:
    room = machine.start()
    room.refused(KEYS[:1], mass=False)
    room.refused(KEYS[:2], mass=True)
    room = machine.start()
    assert (room.message_left(KEYS[0]), room.mass_left(), room.message_left(KEYS[1])) == (0, 0, 5)


def test_another_login_has_its_own(machine: Machine) -> None:
    take(machine.start(), *KEYS[:2]).end()
    assert machine.start(account="other").mass_left() == 1
    assert machine.start().mass_left() == 0


def test_a_clock_that_was_set_back_makes_no_window_longer_than_it_is(machine: Machine) -> None:
    take(machine.start(), *KEYS[:2]).end()
    machine.clock.now -= 3600
    full = machine.start().mass_full()
    assert full is not None
    assert full.until is not None
    assert full.until <= machine.clock.now + 60 + LINGER


def test_the_file_names_nobody(machine: Machine) -> None:
    take(machine.start(account="very-secret-login"), *KEYS).end()
    files = list(machine.folder.iterdir())
    assert files
    for path in files:
        assert b"7999" not in path.read_bytes()
        assert "secret" not in path.name
        assert b"secret" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


def test_the_file_does_not_grow_for_ever(machine: Machine) -> None:
    room = machine.start()
    for number in range(3 * FORGET_EVERY):
        take(room, StatusKey("70001", number + 1)).end()
        machine.clock.now += 1
    assert machine.journal is not None
    assert machine.journal._file is not None  # noqa: SLF001 - size shows nowhere else
    (rows,) = machine.journal._file.execute("SELECT count(*) FROM request").fetchone()  # noqa: SLF001
    assert rows <= FORGET_EVERY


def careful(machine: Machine, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Starts where nothing can be known: mass waits a minute, singles don't; what is logged."""
    with caplog.at_level(logging.WARNING):
        room = machine.start()
    assert room.mass_full() == Full(Limit.MASS, machine.clock.now + 60)
    assert room.message_left(KEYS[0]) == 5
    take(room, KEYS[0]).end()
    machine.clock.now += 60
    take(room, *KEYS).end()
    return [record.getMessage() for record in caplog.records]


def test_a_folder_that_cannot_be_written_costs_one_warning_and_a_careful_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("not a folder")
    (warning,) = careful(Machine(tmp_path / "state"), caplog)
    assert "GATEWAY_STATE_DIR" in warning
    assert str(tmp_path / "state") in warning


def test_a_second_process_is_told_of_the_first(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine.start()
    (warning,) = careful(Machine(tmp_path / "state"), caplog)
    assert "another process uses it" in warning


def test_a_broken_file_is_set_aside_and_a_new_one_begun(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    take(machine.start(), *KEYS[:2]).end()
    assert machine.journal is not None
    machine.journal.close()
    machine.journal.path.write_bytes(b"no database" * 1000)
    (warning,) = careful(machine, caplog)
    assert "set aside" in warning
    assert (
        machine.start().mass_left() == 0
    )  # the new file knows the request after the careful start


def test_a_disk_that_fails_later_costs_one_warning(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    room = machine.start()
    assert machine.journal is not None
    assert machine.journal._file is not None  # noqa: SLF001 - a failing disk can't be had
    machine.journal._file.execute("DROP TABLE request")  # noqa: SLF001 - as above
    with caplog.at_level(logging.WARNING):
        for key in KEYS:
            take(room, key).end()
    assert len(caplog.records) == 1


KILLED = """
import sys, time
from pathlib import Path
from gateway.upstream.budget.journal import FileJournal
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Limits
from gateway.clock import Clock
from gateway.model.records import StatusKey
clock = Clock()
journal = FileJournal(Path(sys.argv[1]), clock, account="demo", secret="s", linger=10)
room = MemoryBudget(Limits(), clock.monotonic, journal)
room.take([StatusKey("70001", 1), StatusKey("70002", 2)], mass=True).end()
for _ in range(3):
    room.take([StatusKey("70001", 1)], mass=False).end()
room.take([StatusKey("70001", 1)], mass=False)
print("under way", flush=True)
time.sleep(60)
"""


def test_a_process_that_is_killed_leaves_all_it_spent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        os.kill(process.pid, signal.SIGKILL)
    machine = Machine(tmp_path)
    machine.clock.now = time.time()
    room = machine.start()
    assert (room.mass_left(), room.message_left(StatusKey("70001", 1))) == (0, 0)
    assert room.message_left(StatusKey("70002", 2)) == 4
