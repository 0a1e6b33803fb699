"""Checks what the gateway depends on: `python -m tools.dependencies`, part of `make check`.

Everything is pinned to one version by hashes, the locks fit pyproject.toml, no lock names an
address, the image's bases are pinned by digest, and every package that comes with the gateway has a
licence of `tools.licences`. Each problem is one sentence.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.licences import is_allowed, licence_of
from tools.pins import (
    DEVELOP,
    IMAGE,
    NODE_TESTS,
    PAGES,
    RUN,
    NpmPin,
    PythonPin,
    npm_pins,
    python_pins,
    read,
)


def loose_python(lock: str, pins: Sequence[PythonPin]) -> Iterator[str]:
    """Requirements that more than one file could be taken for."""
    for pin in pins:
        if pin.version is None:
            yield f"{lock}: {pin.requirement} is not pinned by ==: run make lock."
        elif not pin.hashes:
            yield f"{lock}: {pin.name} has no --hash: run make lock."


def loose_npm(lock: str, pins: Sequence[NpmPin]) -> Iterator[str]:
    """Packages without a hash, or with an address."""
    for pin in pins:
        if pin.integrity is None:
            yield f"{lock}: {pin.place} has no integrity: run npm install there."
        if pin.resolved is not None:
            yield (
                f"{lock}: {pin.place} is resolved to an address: take that out, as an .npmrc with "
                "omit-lockfile-registry-resolved does."
            )


def out_of_range(lock: str, wanted: Sequence[str], pins: Sequence[PythonPin]) -> Iterator[str]:
    """Requirements of pyproject.toml that the lock does not fulfil."""
    versions = {canonicalize_name(pin.name): pin.version for pin in pins}
    for requirement in map(Requirement, wanted):
        version = versions.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            has = f"has {version}" if version else "has none"
            yield f"{lock}: pyproject.toml wants {requirement}, and this {has}: run make lock."


def unpinned_bases(dockerfile: str) -> Iterator[str]:
    """Images that a build begins with, and that are not named by their digest."""
    given = dict(re.findall(r"^ARG (\w+)=(\S+)", dockerfile, re.MULTILINE))
    known = {"scratch"}
    for base, stage in re.findall(r"^FROM (\S+)(?: AS (\S+))?", dockerfile, re.MULTILINE):
        named = re.sub(r"\$\{(\w+)\}", lambda found: given.get(found[1], ""), base)
        if named not in known and not re.search(r"@sha256:[0-9a-f]{64}$", named):
            yield f"Dockerfile: FROM {base} is not pinned by @sha256:…: add its digest."
        if stage:
            known.add(stage)


def unfit_licences(found: Sequence[tuple[str, str | None]]) -> Iterator[str]:
    """Packages, with their licences, that may not come with the gateway as far as is known."""
    for package, licence in found:
        if not is_allowed(package, licence):
            has = f"has the licence {licence}, which is not allowed" if licence else "names none"
            yield (
                f"licences: {package} {has}: read its licence, then list it in tools/licences.py, "
                "or do without the package."
            )


def problems() -> Iterator[str]:
    """All that is wrong, one sentence each."""
    project = tomllib.loads(read("pyproject.toml"))
    extras = project["project"]["optional-dependencies"].values()
    wanted = {
        RUN: project["project"]["dependencies"],
        IMAGE: [one for extra in extras for one in extra],
        DEVELOP: project["dependency-groups"]["dev"],
    }
    locks = {lock: python_pins(read(lock)) for lock in wanted}
    for lock, pins in locks.items():
        yield from loose_python(lock, pins)
        yield from out_of_range(lock, wanted[lock], pins)
    for lock in (PAGES, NODE_TESTS):
        yield from loose_npm(lock, npm_pins(read(lock)))
    yield from unpinned_bases(read("Dockerfile"))
    yield from unfit_licences([(pin.name, licence_of(pin.name)) for pin in locks[IMAGE]])
    yield from unfit_licences([(pin.name, pin.licence) for pin in npm_pins(read(PAGES))])


def main() -> None:
    found = list(problems())
    sys.exit("\n".join(found) or None)


if __name__ == "__main__":
    main()
