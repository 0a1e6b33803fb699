"""What is pinned: the same versions everywhere, by hashes, and from no place in particular."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUN, IMAGE, DEVELOP = "requirements.lock", "requirements-image.lock", "requirements-dev.lock"


def pinned(name: str) -> set[str]:
    """`package==version`, with its marker."""
    text = (ROOT / name).read_text()
    return {line.rstrip(" \\") for line in text.splitlines() if re.match(r"[a-z0-9]", line)}


def test_each_lock_has_all_of_the_one_before_it() -> None:
    assert pinned(RUN) < pinned(IMAGE)
    versions = {line.partition(" ")[0] for line in pinned(IMAGE)}
    assert versions < {line.partition(" ")[0] for line in pinned(DEVELOP)}


def test_the_image_can_do_all() -> None:
    packages = {line.partition("==")[0] for line in pinned(IMAGE)}
    extras = {"joserfc", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "redis"}
    assert extras <= packages
    assert f"-r {IMAGE}" in (ROOT / "Dockerfile").read_text()
    assert f"!{IMAGE}" in (ROOT / ".dockerignore").read_text()


@pytest.mark.parametrize("name", [RUN, IMAGE, DEVELOP])
def test_a_lock_names_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert text.count("==") == len(pinned(name)) + text.count(" == ") + text.count("_version ==")
