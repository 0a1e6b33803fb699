"""`python -m gateway` is `smsc-gateway`."""

from gateway.cli import main

main()
