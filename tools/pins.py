"""Reads the locks: which version of what, by which hashes."""

import json
from dataclasses import dataclass
from typing import Final

from packaging.requirements import Requirement

from tools import ROOT

RUN: Final = "requirements.lock"
IMAGE: Final = "requirements-image.lock"
DEVELOP: Final = "requirements-dev.lock"
PAGES: Final = "gateway/web/ui/package-lock.json"
NODE_TESTS: Final = "tests/node/package-lock.json"


@dataclass(frozen=True, slots=True)
class PythonPin:
    """One requirement of a lock."""

    requirement: Requirement
    hashes: tuple[str, ...]
    """As `sha256:…`, one for each file of the release."""

    @property
    def name(self) -> str:
        return self.requirement.name

    @property
    def version(self) -> str | None:
        """None: it is not pinned to one version."""
        specifiers = list(self.requirement.specifier)
        is_one = len(specifiers) == 1 and specifiers[0].operator == "=="
        return specifiers[0].version if is_one and "*" not in specifiers[0].version else None


@dataclass(frozen=True, slots=True)
class NpmPin:
    """One package of a lock of npm."""

    place: str
    """Its folder, from that of the lock: there may be two versions of a package."""
    version: str
    licence: str | None
    integrity: str | None
    resolved: str | None
    needs: tuple[str, ...]
    """The names of packages it may import."""

    @property
    def name(self) -> str:
        return self.place.rpartition("node_modules/")[2]


def python_pins(text: str) -> list[PythonPin]:
    """What a lock of pip's form pins."""
    lines = text.replace("\\\n", " ").splitlines()
    parts = [line.split("--hash=") for line in lines if line and not line.startswith("#")]
    return [
        PythonPin(Requirement(first.strip()), tuple(map(str.strip, hashes)))
        for first, *hashes in parts
    ]


def npm_pins(text: str) -> list[NpmPin]:
    """What a lock of npm pins; its first entry, the project itself, is left out."""
    return [
        NpmPin(
            place=place,
            version=entry.get("version", ""),
            licence=entry.get("license"),
            integrity=entry.get("integrity"),
            resolved=entry.get("resolved"),
            needs=(*entry.get("dependencies", ()), *entry.get("peerDependencies", ())),
        )
        for place, entry in json.loads(text)["packages"].items()
        if place
    ]


def read(name: str) -> str:
    """A file of the project."""
    return (ROOT / name).read_text("utf-8")
