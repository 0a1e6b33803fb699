"""Recognises loopback names and addresses: `localhost`, `*.localhost`, 127.0.0.0/8, ::1."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Does this name or address always lead to the same machine (RFC 6761, section 6.3)?"""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
