"""Programs that no Python package brings.

Tests that lack one are skipped; not so where CI is set, which must not pass by luck.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def found(program: str, *, package: str) -> str:
    """Where a program is; `package`: Debian's, that has it."""
    path = shutil.which(program)
    return path or missing(f"no {program} here (Debian: apt install {package})")


def run(program: str, *arguments: str | Path, package: str, given: str = "") -> str:
    """What a program prints; it must have no complaint."""
    done = subprocess.run(
        [found(program, package=package), *arguments],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def promtool(*arguments: str | Path, given: str = "") -> str:
    return run("promtool", *arguments, package="prometheus", given=given)
