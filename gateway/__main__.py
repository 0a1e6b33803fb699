"""Runs the command `smsc-gateway` for `python -m gateway`."""

from gateway.cli.main import main

main()
