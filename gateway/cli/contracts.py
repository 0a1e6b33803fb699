"""The commands `smsc-gateway schema`, `openapi` and `metrics`: what others build on."""

import click

from gateway.cli.help import example
from gateway.web.graphql.schema import sdl
from gateway.web.ops.families import page
from gateway.web.rest.document import openapi_yaml


@click.command(epilog=example("smsc-gateway schema > schema.graphql"))
def schema() -> None:
    """Print the GraphQL schema."""
    click.echo(sdl(), nl=False)


@click.command(epilog=example("smsc-gateway openapi > openapi.yaml"))
def openapi() -> None:
    """Print the OpenAPI document."""
    click.echo(openapi_yaml(), nl=False)


@click.command(epilog=example("smsc-gateway metrics > metrics.md"))
def metrics() -> None:
    """Print a table of all metrics."""
    click.echo(page(), nl=False)
