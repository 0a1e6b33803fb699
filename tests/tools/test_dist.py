"""A release: whole, nothing strange in it, the same bytes each time."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from gateway import __version__
from tests.support.process import PLAIN, running
from tests.support.size import only_in_soak, soak
from tools import ROOT, Refused
from tools.dist import PAGES, check_sdist

LEFT_OUT = [".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "node_modules", "dist"]

UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
"""The environment of what runs in a copy, whose files are no part of the coverage."""


def copied(folder: Path, *left_out: str) -> Path:
    """The project in another place, under git, without what is made from it."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT, *left_out))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    return folder


def git(folder: Path, *arguments: str) -> str:
    executable = shutil.which("git")
    assert executable is not None
    return subprocess.run(
        [executable, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def dist(folder: Path, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    """`make dist` there, once all is installed."""
    return subprocess.run(
        [sys.executable, "-m", "tools.dist"],
        cwd=folder,
        env=UNMEASURED | {"SOURCE_DATE_EPOCH": "1700000000"},
        capture_output=True,
        text=True,
        umask=umask,
        check=False,
    )


def test_without_pages_there_is_no_release_but_a_wheel(tmp_path: Path) -> None:
    folder = copied(tmp_path / "copy", "static")
    refused = dist(folder)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "The pages for browsers are not built: run make ui, then make dist.\n"
    assert not (folder / "dist").exists()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "gateway/cli/main.py" in names
    assert [name for name in names if name.startswith((PAGES, "gateway/web/ui"))] == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="nobody knows what is tracked")
def test_what_is_not_tracked_is_in_no_release(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("PKG-INFO", "README.md", f"{PAGES}/manifest.json", "notes/to-self.txt"):
            archive.addfile(tarfile.TarInfo(f"smsc_gateway-1/{name}"), io.BytesIO())
    pages = frozenset({f"{PAGES}/manifest.json"})
    with pytest.raises(Refused, match=r"x\.tar\.gz holds notes/to-self\.txt, which is not tracked"):
        check_sdist(path, pages)
    with pytest.raises(Refused, match=rf"x\.tar\.gz lacks {PAGES}/page\.js: run make ui"):
        check_sdist(path, pages | {f"{PAGES}/page.js"})


@soak
@only_in_soak
def test_a_release_is_the_same_each_time_and_serves_its_pages(tmp_path: Path) -> None:
    if not (ROOT / PAGES / "manifest.json").exists():
        assert not os.environ.get("CI"), "make ui was not run"
        pytest.skip("the pages were not built: make ui")
    made = []
    for name, umask in (("one", 0o022), ("two", 0o077)):
        folder = copied(tmp_path / name)
        done = dist(folder, umask)
        assert (done.returncode, done.stderr) == (0, "")
        made.append({path.name: path.read_bytes() for path in (folder / "dist").iterdir()})
    assert made[0] == made[1]
    one, stem = tmp_path / "one", f"smsc_gateway-{__version__}"
    sdist, wheel, bill = f"{stem}.tar.gz", f"{stem}-py3-none-any.whl", f"{stem}.cdx.json"
    assert made[0]["SHA256SUMS"].decode() == "".join(
        f"{sha256(made[0][name]).hexdigest()}  {name}\n" for name in sorted([bill, sdist, wheel])
    )
    tracked = {name for name in git(one, "ls-files").splitlines() if not name.startswith(".ci/")}
    with tarfile.open(one / "dist" / sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        assert {member.mode for member in archive} == {0o644}
    assert {name for name in inside if not name.startswith(PAGES)} == tracked | {"PKG-INFO"}
    assert not [name for name in inside if name.endswith(".map")]
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    shutil.unpack_archive(one / "dist" / wheel, installed, "zip")
    environ = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "GATEWAY_PORT": "0"}
    with running(
        *("demo", "--simulator-port", "0"),
        told=r"http://[^/\s]+",
        environ=PLAIN | environ,
        cwd=empty,
    ) as (_, found):
        page = httpx.get(f"{found[0]}/console", headers={"accept": "text/html"}).text
        script = page.partition('src="')[2].partition('"')[0]
        assert f"{PAGES}/{script.removeprefix('assets/')}" in inside
        assert httpx.get(f"{found[0]}/{script}").status_code == 200
    assert list(empty.iterdir()) == []
