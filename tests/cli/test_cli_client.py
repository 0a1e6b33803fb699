"""`smsc-gateway client add`: the key is told once, the file has its hash."""

import tomllib
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.callers.file import read
from gateway.callers.model import Allowance, Caller, Scope
from gateway.cli.main import main


def add(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["client", "add", *arguments])


def test_the_key_is_printed_once_with_its_entry() -> None:
    result = add(
        "billing",
        *("--scope", "status:read", "--scope", "content:read"),
        *("--expires", "2999-01-01", "--quota", "600", "--streams", "20"),
    )
    assert result.exit_code == 0
    key, _, entry = result.stdout.partition("\n")
    assert result.output.count(key) == 1
    assert tomllib.loads(entry)["client"][0].pop("key_sha256") == sha256(key.encode()).hexdigest()
    assert entry == (
        "[[client]]\n"
        'name = "billing"\n'
        f'key_sha256 = "{sha256(key.encode()).hexdigest()}"\n'
        'scopes = ["status:read", "content:read"]\n'
        "expires = 2999-01-01T00:00:00Z\n"
        "quota_per_minute = 600\n"
        "max_streams = 20\n"
    )
    assert result.stderr == (
        "The key of billing, which is told this once (Authorization: Bearer …):\n"
        "Its entry, to append to the clients file (--file does that):\n"
    )


def test_a_file_gets_the_entry_and_stdout_the_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    keys = [
        add("a", "--scope", "status:read", "--file", str(path)).stdout,
        add(
            "b",
            *("--scope", "provider:read", "--file", str(path)),
            *("--expires", "2999-01-01T03:00:00+03:00", "--quota", "1"),
        ).stdout,
    ]
    clients = read(path)
    assert [clients.keys[sha256(key.strip().encode()).digest()][1] for key in keys] == [
        Caller("a", frozenset({Scope.STATUS_READ})),
        Caller("b", frozenset({Scope.PROVIDER_READ}), 32_472_144_000, Allowance(1)),
    ]
    assert not any(key.strip() in path.read_text() for key in keys)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    add("a", "--scope", "status:read", "--file", str(path))
    before = path.read_text()
    result = add("a", "--scope", "status:read", "--file", str(path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: {path}: client 2 (a): another client has that name; change one.\n"
    )
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["a"], "Missing option '--scope'"),
        (["a", "--scope", "status:reed"], "'status:reed' is not one of 'status:read', "),
        (["a b", "--scope", "status:read"], "'NAME': must be 1 to 64 letters, digits and ._@- "),
        (["a", "--scope", "status:read", "--quota", "0"], "'--quota': 0 is not in the range"),
        (["a", "--scope", "status:read", "--streams", "-1"], "'--streams': -1 is not in the"),
        (["a", "--scope", "status:read", "--expires", "2020-01-01"], "must be in the future."),
        (["a", "--scope", "status:read", "--expires", "soon"], "write it as 2027-01-01, or "),
    ],
)
def test_what_is_wrong_is_told_and_no_key_made(arguments: list[str], word: str) -> None:
    result = add(*arguments)
    assert result.exit_code == 2
    assert word in result.stderr
    assert result.stdout == ""
