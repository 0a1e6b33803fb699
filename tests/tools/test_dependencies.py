"""What `make check` says of pins and licences: nothing of ours, one sentence of what is wrong."""

import json

import pytest

from tools.dependencies import (
    loose_npm,
    loose_python,
    out_of_range,
    problems,
    unfit_licences,
    unpinned_bases,
)
from tools.licences import is_allowed
from tools.pins import npm_pins, python_pins

HASH = "--hash=sha256:" + "0" * 64


def test_ours_are_in_order() -> None:
    assert list(problems()) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"click>=8 \\\n    {HASH}\n", ["x.lock: click>=8 is not pinned by ==: run make lock."]),
        (
            f"click==8.* \\\n    {HASH}\n",
            ["x.lock: click==8.* is not pinned by ==: run make lock."],
        ),
        (f"click {HASH}\n", ["x.lock: click is not pinned by ==: run make lock."]),
        ("click==8.5.1\n", ["x.lock: click has no --hash: run make lock."]),
        (f"click==8.5.1 ; sys_platform != 'win32' \\\n    {HASH} \\\n    {HASH}\n", []),
    ],
)
def test_a_requirement_is_one_version_with_its_hashes(line: str, told: list[str]) -> None:
    assert list(loose_python("x.lock", python_pins(line))) == told


def test_an_npm_package_has_a_hash_and_no_address() -> None:
    entry = {"version": "1.0.0", "integrity": "sha512-AA==", "license": "MIT"}
    good = {"": {"name": "us"}, "node_modules/a": entry}
    bad = {
        "node_modules/b": entry | {"resolved": "somewhere"},
        "node_modules/@c/d": {"version": "1.0.0"},
    }
    assert list(loose_npm("x.json", npm_pins(json.dumps({"packages": good})))) == []
    resolved, unhashed = loose_npm("x.json", npm_pins(json.dumps({"packages": good | bad})))
    assert resolved.startswith("x.json: node_modules/b is resolved to an address: take that out")
    assert unhashed == "x.json: node_modules/@c/d has no integrity: run npm install there."


def test_a_lock_fulfils_what_the_project_wants() -> None:
    pins = python_pins(f"click==8.5.1 {HASH}\nruamel-yaml==1.0rc1 {HASH}\n")
    wanted = ["click[x]>=8.3", "Ruamel.YAML>=1.0b1; sys_platform == 'linux'"]
    assert list(out_of_range("x.lock", wanted, pins)) == []
    assert list(out_of_range("x.lock", ["click>=9", "orjson"], pins)) == [
        "x.lock: pyproject.toml wants click>=9, and this has 8.5.1: run make lock.",
        "x.lock: pyproject.toml wants orjson, and this has none: run make lock.",
    ]


def test_a_base_has_its_digest() -> None:
    digest = "@sha256:" + "a" * 64
    text = (
        f"ARG PYTHON=python:3.13{digest}\nARG NODE=node:22\n"
        "FROM ${PYTHON} AS build\nFROM ${NODE} AS ui\nFROM build\n"
        f"FROM debian{digest}\nFROM ${{NONE}}\nFROM scratch\n"
    )
    assert list(unpinned_bases(text)) == [
        "Dockerfile: FROM ${NODE} is not pinned by @sha256:…: add its digest.",
        "Dockerfile: FROM ${NONE} is not pinned by @sha256:…: add its digest.",
    ]


@pytest.mark.parametrize(
    ("package", "licence", "expected"),
    [
        ("a", "MIT", True),
        ("a", "(MIT OR GPL-3.0-only)", True),
        ("a", "MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("a", "MIT AND GPL-3.0-only", False),
        ("a", "GPL-3.0-only", False),
        ("a", "LGPL-3.0-only", False),
        ("psycopg", "LGPL-3.0-only", True),
        ("psycopg", "GPL-3.0-only", False),
        ("a", "Apache-2.0 WITH LLVM-exception", False),
        ("a", "MIT License", False),
        ("a", "SEE LICENSE IN LICENSE.md", False),
        ("a", "UNLICENSED", False),
        ("a", "MIT AND", False),
        ("a", "", False),
        ("a", None, False),
    ],
)
def test_a_licence_is_allowed_by_name(package: str, licence: str | None, *, expected: bool) -> None:
    assert is_allowed(package, licence) == expected


def test_a_licence_that_is_not_known_is_one_sentence() -> None:
    what_to_do = "read its licence, then list it in tools/licences.py, or do without the package."
    assert list(unfit_licences([("a", "MIT"), ("b", "GPL-3.0-only"), ("c", None)])) == [
        f"licences: b has the licence GPL-3.0-only, which is not allowed: {what_to_do}",
        f"licences: c names none: {what_to_do}",
    ]
