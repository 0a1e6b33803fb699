"""The command `smsc-gateway`: what there is, and its help.

What a command needs is imported when that command runs: help, version and completion take no time.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Final

import click
from click.shell_completion import get_completion_class

from gateway import __version__
from gateway.cli.help import example


@dataclass(frozen=True, slots=True)
class _Told:
    """What the help of `smsc-gateway` tells of a command, and where it is."""

    line: str
    example: str
    place: str


_SECTIONS: Final = {
    "Run it": {
        "demo": _Told(
            "Run the gateway with a simulated provider; it needs no account.",
            "smsc-gateway demo",
            "gateway.cli.demo:demo",
        ),
        "check": _Told(
            "Tell whether the gateway would work with its settings.",
            "smsc-gateway check --env-file gateway.env",
            "gateway.cli.check:command",
        ),
        "serve": _Told(
            "Run the gateway.",
            "smsc-gateway serve --env-file gateway.env",
            "gateway.cli.serve:serve",
        ),
    },
    "Callers, and what is kept": {
        "client": _Told(
            "Make keys for callers.",
            "smsc-gateway client add billing --scope status:read",
            "gateway.cli.client:client",
        ),
        "archive": _Told(
            "Count, erase and import what the gateway keeps.",
            "smsc-gateway archive stats",
            "gateway.cli.archive:archive",
        ),
        "webhook": _Told(
            "Test the addresses that are told of changes; send again.",
            "smsc-gateway webhook test orders",
            "gateway.cli.webhook:webhook",
        ),
    },
    "Tools": {
        "simulator": _Told(
            "Run the simulated provider alone.",
            "smsc-gateway simulator --port 8081",
            "gateway.cli.simulator:simulator",
        ),
        "decode": _Told(
            "Normalise a raw answer of the provider: stdin to JSON lines.",
            "smsc-gateway decode < answer.json",
            "gateway.cli.decode:decode",
        ),
        "schema": _Told(
            "Print the GraphQL schema.",
            "smsc-gateway schema > schema.graphql",
            "gateway.cli.contracts:schema",
        ),
        "openapi": _Told(
            "Print the OpenAPI document.",
            "smsc-gateway openapi > openapi.yaml",
            "gateway.cli.contracts:openapi",
        ),
        "metrics": _Told(
            "Print a table of all metrics.",
            "smsc-gateway metrics > metrics.md",
            "gateway.cli.contracts:metrics",
        ),
        "completion": _Told(
            "Print what completes commands and options in a shell.",
            "smsc-gateway completion bash",
            "gateway.cli.main:completion",
        ),
    },
}


class _Commands(click.Group):
    """The commands, in sections; each is imported when it is run, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                for name, told in commands.items():
                    formatter.write(f"  {name:<12}{told.line}\n{'':<14}$ {told.example}\n")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _load(name or ""), rest


def _load(name: str) -> click.Command:
    (place,) = (told[name].place for told in _SECTIONS.values() if name in told)
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


_TWO_WAYS: Final = """\
\b
A first answer, without an account; ask in another terminal:
  smsc-gateway demo
  curl 'http://127.0.0.1:8080/v1/messages/1?phone=79990000001'

\b
With the account at the provider:
  export GATEWAY_SMSC_LOGIN=… GATEWAY_SMSC_PASSWORD=…
  smsc-gateway check
  smsc-gateway serve

What a command prints is in its own help: smsc-gateway COMMAND --help.
"""


@click.group(
    cls=_Commands,
    commands={
        name: click.Command(name, short_help=told.line)
        for commands in _SECTIONS.values()
        for name, told in commands.items()
    },
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_TWO_WAYS,
)
@click.version_option(__version__, package_name="smsc-gateway")
def main() -> None:
    """One clean REST and GraphQL schema for the statuses of SMSC."""


@click.command(
    epilog=example(
        "# at the end of ~/.bashrc",
        'eval "$(smsc-gateway completion bash)"',
        "# in ~/.zshrc, after compinit",
        'eval "$(smsc-gateway completion zsh)"',
        "# in ~/.config/fish/config.fish",
        "smsc-gateway completion fish | source",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what completes commands and options in a shell.

    It is a script, for the shell's own start file.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has these three
    click.echo(kind(main, {}, "smsc-gateway", "_SMSC_GATEWAY_COMPLETE").source())
