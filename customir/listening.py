"""The socket that a server listens on, made before the network is blocked."""

import ipaddress
import socket

from customir.errors import UserError


def bound_socket(host: str, port: int) -> socket.socket:
    """A TCP socket bound to an address of this machine; nobody can connect before `listen`.

    Args:
        host: An IP address or "localhost".
        port: 0: any that is free.

    Raises:
        UserError: it is no such host, or the address is taken or not of this machine.
    """
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError as error:
            raise UserError(f"{host}: give an IP address of this machine, or localhost.") from error
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise UserError(f"{host}:{port}: cannot be served ({error}).") from error
    return bound
