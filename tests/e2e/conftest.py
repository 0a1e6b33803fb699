"""A gateway in a process of its own, for all tests of a worker that do not stop it."""

from collections.abc import Iterator

import pytest

from tests.support.process import Served, served


@pytest.fixture(scope="session", name="served")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("state")) as running:
        yield running
