"""The software bill of materials of a release, as CycloneDX.

It lists what is in the image, or beside an installation: the Python packages of
`requirements-image.lock`, and the npm packages that are built into the pages, each with its licence
and with what it needs in turn. Optional is what an extra of ours brings.

A bill is the same wherever it is made: it holds no random number, and no time but the release's. A
Python package has one file for each kind of machine; their hashes are in the lock alone.
"""

import base64
import json
import re
import tomllib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import requires
from itertools import chain
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import Refused
from tools.licences import licence_of
from tools.pins import IMAGE, PAGES, RUN, NpmPin, npm_pins, python_pins, read

_IMAGE: Final = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
"""What a requirement may depend on, in the image; this machine may be another."""

_BUNDLED: Final = re.compile(r"^={80}\n(\S+) (\S+) \(", re.MULTILINE)
"""A package in the file of licences that comes with the pages."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one ecosystem brings: components, what each needs, and what we need, by their keys."""

    components: Mapping[str, Component]
    needs: Mapping[str, Iterable[str]]
    direct: Iterable[str]


def bill_of_materials(version: str, pages: Path, epoch: int) -> str:
    """The document: of this version, with the built pages in this folder, of this time in seconds.

    Raises `Refused`.
    """
    project = tomllib.loads(read("pyproject.toml"))["project"]
    root = _component(
        PackageURL("pypi", None, project["name"], version),
        project["license"],
        type=ComponentType.APPLICATION,
    )
    bom = Bom(metadata=BomMetaData(component=root, timestamp=datetime.fromtimestamp(epoch, UTC)))
    for part in (_python(project), _npm(pages)):
        bom.components.update(part.components.values())
        bom.register_dependency(root, [part.components[key] for key in part.direct])
        for key, component in part.components.items():
            bom.register_dependency(component, [part.components[need] for need in part.needs[key]])
    contents = "\n".join(sorted(str(component.purl) for component in bom.components))
    bom.serial_number = uuid5(NAMESPACE_URL, f"{root.purl} {epoch}\n{contents}")
    text: str = JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise Refused(f"The bill of materials is not CycloneDX: {error}.")
    return text


def _component(
    purl: PackageURL,
    licence: str | None,
    *,
    type: ComponentType = ComponentType.LIBRARY,
    scope: ComponentScope | None = None,
    hashes: Iterable[HashType] = (),
) -> Component:
    return Component(
        name=purl.name,
        group=purl.namespace,
        version=purl.version,
        type=type,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseFactory().make_from_string(licence)] if licence else (),
        scope=scope,
        hashes=hashes,
    )


def _python(project: Mapping[str, Any]) -> _Part:
    image = _IMAGE | _python_of_the_image()
    required = {pin.name for pin in python_pins(read(RUN))}
    components = {
        pin.name: _component(
            PackageURL("pypi", None, pin.name, pin.version),
            licence_of(pin.name),
            scope=ComponentScope.REQUIRED if pin.name in required else ComponentScope.OPTIONAL,
        )
        for pin in python_pins(read(IMAGE))
        if pin.requirement.marker is None or pin.requirement.marker.evaluate(image)
    }
    extras = project["optional-dependencies"].values()
    wanted = list(map(Requirement, chain(project["dependencies"], *extras)))
    needs: dict[str, set[str]] = {name: set() for name in components}
    direct = {canonicalize_name(one.name) for one in wanted}
    seen = set()
    while wanted:
        one = wanted.pop()
        name = canonicalize_name(one.name)
        if name in components and (name, *sorted(one.extras)) not in seen:
            seen.add((name, *sorted(one.extras)))
            found = _needs(one, image)
            needs[name] |= {canonicalize_name(need.name) for need in found} & components.keys()
            wanted += found
    return _Part(components, needs, direct & components.keys())


def _needs(requirement: Requirement, environment: dict[str, str]) -> list[Requirement]:
    """What a package needs there, with the extras that are asked for."""
    found = map(Requirement, requires(requirement.name) or ())
    cases = [environment | {"extra": extra} for extra in ("", *requirement.extras)]
    return [one for one in found if one.marker is None or any(map(one.marker.evaluate, cases))]


def _python_of_the_image() -> dict[str, str]:
    found = re.search(r"^ARG PYTHON=python:(\d+\.\d+)", read("Dockerfile"), re.MULTILINE)
    assert found is not None  # noqa: S101 - the file is ours
    return {"python_version": found[1], "python_full_version": f"{found[1]}.0"}


def _npm(pages: Path) -> _Part:
    (licences,) = pages.glob("licences-*.txt")
    inside = {
        f"{name}@{version}" for name, version in _BUNDLED.findall(licences.read_text("utf-8"))
    }
    pins = {pin.place: pin for pin in npm_pins(read(PAGES))}
    keys = {place: f"{pin.name}@{pin.version}" for place, pin in pins.items()}
    if strange := sorted(inside - set(keys.values())):
        raise Refused(f"The pages hold {strange[0]}, which {PAGES} has not: run make ui.")
    bundled = [pin for place, pin in pins.items() if keys[place] in inside]
    needs: dict[str, set[str]] = {key: set() for key in inside}
    for pin in bundled:
        places = (_place(pin.place, need, pins) for need in pin.needs)
        needs[keys[pin.place]] |= {keys[place] for place in places if place} & inside
    wanted = json.loads(read("gateway/web/ui/package.json"))["dependencies"]
    return _Part(
        {keys[pin.place]: _npm_component(pin) for pin in bundled},
        needs,
        {keys[f"node_modules/{name}"] for name in wanted} & inside,
    )


def _npm_component(pin: NpmPin) -> Component:
    scope, _, name = pin.name.rpartition("/")
    algorithm, _, digest = (pin.integrity or "").partition("-")
    assert algorithm == "sha512"  # noqa: S101 - `tools.dependencies` looks
    return _component(
        PackageURL("npm", scope or None, name, pin.version),
        pin.licence,
        scope=ComponentScope.REQUIRED,
        hashes=[HashType(alg=HashAlgorithm.SHA_512, content=base64.b64decode(digest).hex())],
    )


def _place(importer: str, name: str, places: Container[str]) -> str | None:
    """Where a package finds another one: beside itself, or in a folder further up."""
    while True:
        place = f"{importer}/node_modules/{name}".lstrip("/")
        if place in places or not importer:
            return place if place in places else None
        importer = importer.rpartition("node_modules/")[0].rstrip("/")
