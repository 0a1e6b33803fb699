"""`--env-file`: settings from a file, wrong ones told with their line."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import main
from tests.support.process import PLAIN, running
from tests.support.size import PATIENCE

LOGIN = "GATEWAY_SMSC_LOGIN=demo\nGATEWAY_SMSC_PASSWORD=demo\n"


@pytest.fixture(name="path")
def _path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "environ", dict(PLAIN))  # what the file says is gone with the test
    path = tmp_path / "gateway.env"
    path.touch(0o600)
    return path


def stats(path: Path, text: str, **environ: str) -> Result:
    """`archive stats` tells the archive of its settings."""
    path.write_text(text)
    os.environ.update(environ)
    arguments = ["archive", "stats", "--env-file", str(path)]
    return CliRunner().invoke(main, arguments)


def test_settings_come_from_the_file(path: Path) -> None:
    result = stats(
        path,
        "# the account\n"
        "export GATEWAY_SMSC_LOGIN=demo\n\n"
        "GATEWAY_SMSC_PASSWORD='a ${HOME} # $1'  # of the demo\n"
        f"GATEWAY_ARCHIVE_URL=sqlite:///{path.parent}/of-the-file.db\n"
        "OTHER_PROGRAM=1\n",
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"sqlite:///{path.parent}/of-the-file.db" in result.stdout
    assert os.environ["GATEWAY_SMSC_PASSWORD"] == "a ${HOME} # $1"
    assert os.environ["OTHER_PROGRAM"] == "1"


def test_the_environment_wins_unless_it_is_empty(path: Path) -> None:
    text = f"{LOGIN}GATEWAY_ARCHIVE_URL=sqlite:///{path.parent}/of-the-file.db\n"
    named = f"sqlite:///{path.parent}/named.db"
    assert named in stats(path, text, GATEWAY_ARCHIVE_URL=named).stdout
    assert "of-the-file" in stats(path, text, GATEWAY_ARCHIVE_URL="").stdout
    stats(path, text + "GATEWAY_ANONYMOUS_SCOPES=status:read\n", GATEWAY_ANONYMOUS_SCOPES="")
    assert os.environ["GATEWAY_ANONYMOUS_SCOPES"] == ""  # means: no scope


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n\nGATEWAY_PORTT=1\n", "line 3: GATEWAY_PORTT is not a setting; did you mean GATEWAY_P"),
        (f"{LOGIN}\nGATEWAY_XYZZY=\n", "line 4: GATEWAY_XYZZY is not a setting."),
        ("A=1\nGATEWAY_PORT\n", "line 2: this is not NAME=value."),
        ("A='1\nGATEWAY_PORT=1\n", "line 1: this is not NAME=value."),
        ("A=1\n'B=C'=2\n", "line 2: this is not NAME=value."),
        ("A=\0\n", "line 1: this is not NAME=value."),
    ],
)
def test_a_line_that_is_wrong_is_one_sentence(path: Path, text: str, told: str) -> None:
    result = stats(path, text)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {path}, {told}")
    assert result.stderr.count("\n") == 1


def test_a_file_that_cannot_be_read_is_one_sentence(path: Path) -> None:
    result = stats(path, "", GATEWAY_SMSC_LOGIN="demo")
    path.write_bytes(b"A=\xff")
    assert main_stderr(path) == f"Error: {path} is not UTF-8 text.\n"
    assert main_stderr(path / "x") == f"Error: {path}/x can't be read: Not a directory.\n"
    assert main_stderr(path.parent) == f"Error: {path.parent} can't be read: Is a directory.\n"
    assert "must be set" in result.stderr  # an empty file is one


def main_stderr(path: Path) -> str:
    result = CliRunner().invoke(main, ["check", "--env-file", str(path)])
    assert result.exit_code == 1
    return result.stderr


@pytest.mark.parametrize(
    ("mode", "line", "is_warned"),
    [
        (0o644, "GATEWAY_SMSC_PASSWORD=secret", True),
        (0o604, "GATEWAY_REDIS_URL=redis://:secret@127.0.0.1", True),
        (0o644, "GATEWAY_REDIS_URL=redis://127.0.0.1?password=secret", True),
        (0o644, "GATEWAY_REDIS_URL=redis://[", False),
        (0o640, "GATEWAY_SMSC_PASSWORD=secret", False),  # a group may be there for it
        (0o644, "GATEWAY_REDIS_URL=redis://127.0.0.1", False),
        (0o644, "GATEWAY_SMSC_PASSWORD=", False),
        (0o644, "GATEWAY_PORT=1", False),
    ],
)
def test_a_password_that_all_can_read_is_warned_of(
    path: Path, mode: int, line: str, is_warned: bool
) -> None:
    path.chmod(mode)
    result = stats(path, f"GATEWAY_SMSC_LOGIN=demo\nGATEWAY_ARCHIVE_URL=none\n{line}\n")
    name = line.partition("=")[0]
    warning = f"Warning: {path} holds {name}, and all users of this machine can read it: chmod o-r"
    assert result.stderr.startswith(warning) == is_warned
    assert "secret" not in result.stderr


def test_a_gateway_and_its_reloaded_one_have_the_settings(path: Path) -> None:
    path.write_text(f"{LOGIN}GATEWAY_PORT=0\nGATEWAY_STATE_DIR={path.parent}\n")
    for more in ([], ["--reload"]):
        with running(
            *("serve", "--env-file", str(path), *more),
            told=r"listens on (http://\S+)",
            environ=PLAIN | {"GATEWAY_LOG_LEVEL": "error"},
        ) as (_, found):
            assert httpx.get(f"{found[1]}/v1/provider").status_code == 200


def test_a_shell_that_completes_reads_no_file(path: Path) -> None:
    script = "from gateway.cli.main import main; main(prog_name='smsc-gateway')"
    told = subprocess.run(
        [sys.executable, "-c", script],
        env=PLAIN
        | {
            "_SMSC_GATEWAY_COMPLETE": "bash_complete",
            "COMP_WORDS": f"smsc-gateway serve --env-file {path}-that-is-none --re",
            "COMP_CWORD": "4",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert (told.stdout, told.stderr) == ("plain,--reload\n", "")
