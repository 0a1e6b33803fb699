"""The commands of `smsc-gateway`."""
