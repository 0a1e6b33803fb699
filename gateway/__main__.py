"""`python -m gateway` is `smsc-gateway`."""

from gateway.cli.main import main

main()
