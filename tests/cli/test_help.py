"""What the command tells of itself: help, version, completion; and that it does so at once."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gateway import __version__
from gateway.cli.main import main
from tests.support.process import PLAIN
from tests.support.size import PATIENCE


def commands() -> Iterator[tuple[str, click.Command]]:
    """All commands, by their words: `archive stats`."""
    context = click.Context(main, info_name="smsc-gateway")
    for name in main.list_commands(context):
        _, command, _ = main.resolve_command(context, [name])
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", one) for sub, one in command.commands.items())


def help_of(words: str) -> str:
    result = CliRunner().invoke(main, [*words.split(), "--help"], prog_name="smsc-gateway")
    assert result.exit_code == 0
    return result.stdout


def test_every_command_is_listed_with_its_own_first_line() -> None:
    told = help_of("")
    for words, command in commands():
        if " " not in words:
            assert re.search(
                rf"^  {words} +{re.escape(command.get_short_help_str(100))}$", told, re.MULTILINE
            )


def test_lines_fit_a_terminal() -> None:
    for words in ["", *(words for words, _ in commands())]:
        _usage, *lines = help_of(words).splitlines()
        assert [line for line in lines if len(line) > 80 or line.endswith("...")] == []


def test_every_example_names_what_there_is() -> None:
    for words in ["", *(words for words, _ in commands())]:
        _usage, _, text = help_of(words).partition("\n")
        examples = re.findall(r"smsc-gateway ((?!COMMAND)[^|<>\n)]*)", text)
        assert examples
        for example in examples:
            arguments = shlex.split(example)
            command: click.Command = main
            while isinstance(command, click.Group):
                _, found, arguments = command.resolve_command(click.Context(command), arguments)
                assert found is not None
                command = found
            known = {option for one in command.params for option in one.opts}
            assert {word for word in arguments if word.startswith("--")} <= known


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (["--version"], {}),
        (["--help"], {}),
        (["completion", "fish"], {}),
        ([], {"_SMSC_GATEWAY_COMPLETE": "fish_complete", "COMP_WORDS": "smsc-gateway "}),
    ],
)
def test_what_is_asked_first_imports_no_server(
    arguments: list[str], environ: dict[str, str]
) -> None:
    script = (
        "import atexit, sys; from gateway.cli.main import main;"
        "heavy = {'starlette', 'strawberry', 'pydantic', 'sqlalchemy', 'uvicorn', 'httpx'};"
        "atexit.register(lambda: print('imported:', *sorted(heavy & set(sys.modules))));"
        "main(prog_name='smsc-gateway')"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=PLAIN | environ | {"COMP_CWORD": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert told.stderr == ""
    assert told.stdout.splitlines()[-1] == "imported:"
    assert len(told.stdout.splitlines()) > 1


def test_the_version_is_told() -> None:
    told = CliRunner().invoke(main, ["--version"], prog_name="smsc-gateway").stdout
    assert told == f"smsc-gateway, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_is_what_click_has(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell]).stdout
    assert f"_SMSC_GATEWAY_COMPLETE={shell}_complete" in script
    executable = shutil.which(shell)
    if executable is not None:
        subprocess.run([executable, "-n"], input=script, text=True, check=True, timeout=PATIENCE)


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    shim = tmp_path / "smsc-gateway"
    code = "from gateway.cli.main import main; main(prog_name='smsc-gateway')"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    shim.chmod(0o755)
    told = subprocess.run(
        [bash, "--norc", "-s"],
        input=(
            'eval "$(smsc-gateway completion bash)"\n'
            'words() { COMP_WORDS=(smsc-gateway "$@"); COMP_CWORD=$#; COMPREPLY=();'
            ' _smsc_gateway_completion smsc-gateway; echo "${COMPREPLY[@]}"; }\n'
            "words c; words archive e; words demo --sim; words completion z\n"
        ),
        env=PLAIN | {"PATH": f"{tmp_path}:{PLAIN['PATH']}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    words = ["check client completion", "erase", "--simulator-port", "zsh"]
    assert told.stdout.splitlines() == words
