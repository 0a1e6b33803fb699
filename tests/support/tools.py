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


def run(program: str, *arguments: str | Path, package: str, given: str = "") -> str:
    """What a program prints; it must have no complaint. `package`: Debian's, that has it."""
    if shutil.which(program) is None:
        missing(f"no {program} here (Debian: apt install {package})")
    done = subprocess.run(
        [program, *arguments],
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
