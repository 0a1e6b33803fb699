"""Scripts for Node, with the packages pinned in `tests/node`: the clients that others use.

The packages are installed once and again when the lock has changed, without their install scripts.
Without Node a test is skipped; a machine that builds (`CI` is set) must have it, and fails.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support.size import PATIENCE

FOLDER = Path(__file__).parent.parent / "node"
OLDEST = 20
"""Node's major version that the packages ask for."""
INSTALL_TIMEOUT = 500.0
"""Seconds; within the time-out of a test."""

QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
"""No tool calls home."""


class Unavailable(Exception):
    """Why scripts can't run here."""


@cache
def packages() -> Path:
    """The folder whose packages are installed. Raises `Unavailable`."""
    _check_version()
    lock = FOLDER / "package-lock.json"
    stamp = FOLDER / "node_modules" / ".installed"
    with lock.open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)  # other workers of the tests wait here
        state = hashlib.sha256(locked.read()).hexdigest()
        if not stamp.exists() or stamp.read_text() != state:
            _install()
            stamp.write_text(state)
    return FOLDER


def run(script: str, *arguments: str, timeout: float = PATIENCE) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Run a script of `tests/node` and give what it prints, read as JSON."""
    done = tool("node", script, *arguments, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def tool(
    name: str, *arguments: str, timeout: float = PATIENCE, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run `node` or a command of one of the packages, in `tests/node`, to its end."""
    folder = _packages_or_skip()
    return subprocess.run(
        [_command(folder, name), *arguments],
        cwd=folder,
        env={**os.environ, **QUIET, **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Running:
    """A script that tells what happens in lines of JSON."""

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self.process = process
        self._output = output

    def next(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        """What it tells next; waits for it."""
        line = self._output.readline()
        assert line, f"the script ended with {self.process.wait()}"
        return json.loads(line)

    def rest(self) -> list[Any]:
        """What it tells up to its end."""
        return [json.loads(line) for line in self._output]


@contextmanager
def running(script: str, *arguments: str) -> Iterator[Running]:
    """A script while it runs; it is ended with the block. A time-out is the test's own."""
    folder = _packages_or_skip()
    with subprocess.Popen(
        [_command(folder, "node"), script, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield Running(process, process.stdout)
        finally:
            process.kill()


def executable() -> str:
    """Node itself, for a script that needs no package."""
    return _command(_packages_or_skip(), "node")


def _command(folder: Path, name: str) -> str:
    found = shutil.which("node") if name == "node" else str(folder / "node_modules" / ".bin" / name)
    assert found
    return found


def _packages_or_skip() -> Path:
    try:
        return packages()
    except Unavailable as reason:
        if os.environ.get("CI"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))


def _check_version() -> None:
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            raise Unavailable(f"There is no {name} here: install Node.js {OLDEST} or newer.")
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S607 - whichever the user has
    if int(told.lstrip("v").split(".")[0]) < OLDEST:
        raise Unavailable(f"Node.js here is {told.strip()}: {OLDEST} or newer is needed.")


def _install() -> None:
    try:
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],  # noqa: S607 - as above
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm ci took more than {INSTALL_TIMEOUT:.0f} s.") from None
    if done.returncode:
        raise Unavailable(f"npm ci failed: {done.stderr.strip()[-500:]}")
