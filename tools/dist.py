"""Makes what a release consists of, and checks it: `python -m tools.dist`, as `make dist`.

`dist/` has the sdist, the wheel that is built from it, the bill of materials, and `SHA256SUMS` of
these. Made again, they have the same bytes: their time is that of the last commit, or
`SOURCE_DATE_EPOCH`.
"""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path, PurePosixPath
from shutil import rmtree
from typing import Final

import click

from gateway import __version__
from tools import ROOT, Refused
from tools.sbom import bill_of_materials

PAGES: Final = "gateway/web/static"
BIN: Final = Path(sys.executable).parent
_SUFFIXES: Final = {"br": ".br", "gzip": ".gz"}


def make() -> list[Path]:
    """The files of the release. Raises `Refused`."""
    pages = built_pages()
    folder = ROOT / "dist"
    rmtree(folder, ignore_errors=True)
    epoch = _epoch()
    _run("uv", *_UV, str(BIN / "python"), "--out-dir", str(folder), SOURCE_DATE_EPOCH=str(epoch))
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    check_sdist(sdist, pages)
    check_wheel(wheel, pages)
    _run("check-wheel-contents", str(wheel))
    _run("twine", "--no-color", "check", "--strict", str(sdist), str(wheel))
    bill = folder / f"smsc_gateway-{__version__}.cdx.json"
    bill.write_text(bill_of_materials(__version__, ROOT / PAGES, epoch), "utf-8")
    made = [bill, sdist, wheel]
    sums = [f"{sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in sorted(made)]
    (folder / "SHA256SUMS").write_text("".join(sums), "ascii")
    return [*made, folder / "SHA256SUMS"]


def built_pages() -> frozenset[str]:
    """The files of the pages, from the root of the project. Raises `Refused` where they lack."""
    try:
        files = json.loads((ROOT / PAGES / "manifest.json").read_text())["files"]
    except OSError:
        raise Refused(
            "The pages for browsers are not built: run make ui, then make dist."
        ) from None
    names = {
        name + suffix
        for name, codings in files.items()
        for suffix in ("", *(_SUFFIXES[coding] for coding in codings))
    }
    return frozenset(f"{PAGES}/{name}" for name in {"manifest.json", *names})


def check_sdist(sdist: Path, pages: frozenset[str]) -> None:
    """Is there what is tracked, the pages, and nothing else?"""
    with tarfile.open(sdist) as archive:
        inside = {str(PurePosixPath(*Path(one.name).parts[1:])) for one in archive if one.isfile()}
    _refuse_lacks(sdist, pages - inside)
    tracked = _tracked()
    if tracked and (strange := sorted(inside - tracked - pages - {"PKG-INFO"})):
        raise Refused(f"{sdist.name} holds {strange[0]}, which is not tracked: move it elsewhere.")


def check_wheel(wheel: Path, pages: frozenset[str]) -> None:
    """Has it the pages?"""
    with zipfile.ZipFile(wheel) as archive:
        _refuse_lacks(wheel, pages - set(archive.namelist()))


def _refuse_lacks(made: Path, lacking: frozenset[str]) -> None:
    if lacking:
        raise Refused(f"{made.name} lacks {min(lacking)}: run make ui, then make dist.")


_UV: Final = (
    *("build", "--quiet", "--no-config", "--offline"),
    *("--no-create-gitignore", "--no-build-isolation", "--python"),
)
"""What builds is installed and pinned already."""


def _run(command: str, *arguments: str, **environ: str) -> None:
    """Run a tool; what it says is told only where it fails."""
    done = subprocess.run(  # noqa: S603 - ours, from the lock
        [BIN / command, *arguments],
        cwd=ROOT,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused(f"{done.stdout.rstrip()}\n{command} failed, see above.")


def _git(*arguments: str) -> str:
    """What git says; nothing where this is no checkout."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout if (ROOT / ".git").exists() else ""


def _tracked() -> frozenset[str]:
    return frozenset(filter(None, _git("ls-files", "-z").split("\0")))


def _epoch() -> int:
    told = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    if not told.strip():
        raise Refused("There is no commit to take the time from: set SOURCE_DATE_EPOCH.")
    return int(told)


def main() -> None:
    try:
        for path in make():
            click.echo(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes")
    except Refused as why:
        sys.exit(str(why))


if __name__ == "__main__":
    main()
