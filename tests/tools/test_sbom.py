"""The bill of materials: complete, connected, and the same wherever it is made."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tools import Refused
from tools.pins import IMAGE, PAGES, npm_pins, python_pins, read
from tools.sbom import bill_of_materials

EPOCH = 1_700_000_000


def pages(folder: Path, *packages: str) -> Path:
    """A folder as `make ui` leaves it, with these packages of npm in it."""
    folder.mkdir()
    texts = [f"{'=' * 80}\n{package} (MIT)\n\nMIT License\n" for package in packages]
    (folder / "licences-ABCD0123.txt").write_text("\n".join(texts))
    return folder


@pytest.fixture(name="text")
def _text(tmp_path: Path) -> str:
    pins = {pin.place: pin for pin in npm_pins(read(PAGES))}
    names = ("@graphiql/react", "graphiql", "react", "react-dom", "scheduler")
    named = [f"{name} {pins[f'node_modules/{name}'].version}" for name in names]
    return bill_of_materials("1.2.3", pages(tmp_path / "static", *named), EPOCH)


@pytest.fixture(name="bill")
def _bill(text: str) -> dict[str, Any]:
    bill: dict[str, Any] = json.loads(text)
    return bill


def test_it_lists_what_is_in_the_image_and_in_the_pages(bill: dict[str, Any]) -> None:
    found = {one["purl"]: one for one in bill["components"]}
    python = {f"pkg:pypi/{pin.name}@{pin.version}" for pin in python_pins(read(IMAGE))}
    (absent,) = python - set(found)
    assert "async-timeout" in absent  # its marker: only Python before 3.11.3
    scopes = {
        one["name"]: one["scope"] for one in found.values() if one["purl"].startswith("pkg:pypi/")
    }
    assert (scopes["click"], scopes["redis"], scopes["hiredis"]) == ("required", *["optional"] * 2)
    assert [purl for purl, one in found.items() if not one["licenses"]] == []
    npm = sorted(purl.rpartition("@")[0] for purl in found if purl.startswith("pkg:npm/"))
    names = ["%40graphiql/react", "graphiql", "react", "react-dom", "scheduler"]
    assert npm == [f"pkg:npm/{name}" for name in names]


def test_a_package_of_npm_has_the_hash_of_the_lock(bill: dict[str, Any]) -> None:
    (pin,) = (pin for pin in npm_pins(read(PAGES)) if pin.place == "node_modules/react")
    (hashes,) = (
        one["hashes"] for one in bill["components"] if one["purl"].startswith("pkg:npm/react@")
    )
    digest = base64.b64decode((pin.integrity or "").removeprefix("sha512-")).hex()
    assert hashes == [{"alg": "SHA-512", "content": digest}]


def test_everything_is_needed_by_something(bill: dict[str, Any]) -> None:
    needs = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    root = bill["metadata"]["component"]["bom-ref"]
    assert root == "pkg:pypi/smsc-gateway@1.2.3"
    reached, waiting = set(), [root]
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached.add(one)
            waiting += needs[one]
    assert reached == set(needs) == {root, *(one["bom-ref"] for one in bill["components"])}
    (redis,) = (names for ref, names in needs.items() if ref.startswith("pkg:pypi/redis@"))
    assert [name.partition("@")[0] for name in redis] == ["pkg:pypi/hiredis"]  # of redis[hiredis]


def test_it_tells_nothing_of_where_and_when_it_was_made(text: str, tmp_path: Path) -> None:
    assert text.count("://") == 1  # the schema
    assert str(tmp_path) not in text
    assert '"timestamp": "2023-11-14T22:13:20+00:00"' in text
    packages = ["react 19.3.1"]
    one, two = (bill_of_materials("1", pages(tmp_path / n, *packages), EPOCH) for n in "ab")
    assert one == two
    later = bill_of_materials("1", tmp_path / "a", EPOCH + 1)
    assert json.loads(one)["serialNumber"] != json.loads(later)["serialNumber"]


def test_pages_of_another_lock_are_refused(tmp_path: Path) -> None:
    folder = pages(tmp_path / "static", "react 1.0.0")
    with pytest.raises(Refused, match=r"The pages hold react@1\.0\.0, which .* run make ui\."):
        bill_of_materials("1", folder, EPOCH)
