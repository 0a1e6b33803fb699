"""Guessing keys at a real server costs the gateway little, and other callers nothing."""

import http.client
import os
import re
import sys
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.callers import client
from tests.support.process import PLAIN, command
from tests.support.size import PATIENCE, size, soak

GUESSES = size(small=2_000, whole=20_000)
THREADS = 4

MAX_GROWTH = 16 * 1024 * 1024
"""Bytes. What one guess may leave behind is at most a line in the log."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def memory(pid: int) -> int:
    """Resident bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def cpu_seconds(pid: int) -> float:
    """Time of the processor that a process used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Asker(threading.Thread):
    """Asks over one connection with each of these keys; `then` is set when it is done."""

    def __init__(self, address: str, keys: list[str]) -> None:
        super().__init__()
        self.statuses: Counter[int] = Counter()
        self._netloc = urlsplit(address).netloc
        self._keys = keys

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._netloc, timeout=PATIENCE)
        for key in self._keys:
            headers = {"authorization": f"Bearer {key}"}
            connection.request("GET", "/v1/provider", headers=headers)
            answer = connection.getresponse()
            answer.read()
            self.statuses[answer.status] += 1
        connection.close()


def ask(address: str, *keys: list[str]) -> list[Counter[int]]:
    """The statuses that each of these lists got, all asked side by side."""
    askers = [Asker(address, one) for one in keys]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    return [asker.statuses for asker in askers]


def guesses(first: int, count: int) -> list[str]:
    return [f"guess-{first + n}" for n in range(count)]


@soak
def test_thousands_of_wrong_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLAIN, "XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "clients.toml").write_text(client("good"))
    settings = {
        "SMSC_LOGIN": "demo",
        "SMSC_PASSWORD": "demo",
        "PORT": "0",
        "LOG_LEVEL": "warning",
        "CLIENTS_FILE": str(tmp_path / "clients.toml"),
    }
    good = ["key of good"]
    with command("serve", **settings) as (process, address):
        ask(address, guesses(0, 500), good * 500)  # all that is loaded once
        memory_before, cpu_before = memory(process.pid), cpu_seconds(process.pid)
        each = GUESSES // THREADS
        *wrong, right = ask(
            address, *(guesses(1000 + n * each, each) for n in range(THREADS)), good * 500
        )
        growth = memory(process.pid) - memory_before
        cpu = cpu_seconds(process.pid) - cpu_before
        assert right == {200: 500}
        statuses = sum(wrong, Counter())
        assert set(statuses) <= {401, 429}
        assert statuses.total() == GUESSES
        assert growth < MAX_GROWTH
        print(f"{growth / 2**20:.1f} MiB, {cpu / (GUESSES + 500) * 1e6:.0f} µs of CPU a request")
