"""The air gap: once closed, this process makes no outgoing network connection.

A Python audit hook (PEP 578) sees every connection and every look-up of a host name that goes
through Python, in any thread and any library, and can't be taken out again. It does not see native
code that opens sockets by itself (a C extension, `ctypes`), nor other programs that this process
starts. Where the kernel is to vouch for it, run the command without a network:
`unshare --map-root-user --net customir ...` on Linux.
"""

import functools
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Collection
from typing import Any

from customir.errors import UserError

# Libraries that look for newer files unless told not to.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
}

CONNECTING = ("socket.connect", "socket.sendto", "socket.sendmsg")
RESOLVING = ("socket.getaddrinfo", "socket.gethostbyname")
REVERSING = ("socket.gethostbyaddr", "socket.getnameinfo")
# Where each method of a socket takes the address of the other side.
ADDRESS_ARGUMENT = {"connect": 0, "connect_ex": 0, "sendto": -1, "sendmsg": 3}


class AirGapError(UserError):
    """A connection or look-up that was refused.

    It is no OSError, so that no library takes it for a fault of the network and tries again or
    goes on without a word.
    """


def close(allowed: Collection[tuple[str, int]] = frozenset()) -> None:
    """Refuse, from now to the end of this process, every connection to another socket.

    Local (AF_UNIX) sockets stay free, and so does serving: bind, listen and accept. Call it before
    the first import of a library of the model hub, which reads its settings when imported. Called
    twice, both calls hold.

    Args:
        allowed: Host (a name or an address) and port of servers that may be connected to, by TCP
            or UDP. A name is looked up once, now.

    Raises:
        UserError: an allowed host has no address.
    """
    os.environ.update(OFFLINE)
    names = {host for host, _ in allowed}
    peers = {peer for host, port in allowed for peer in _addresses(host, port)}

    def refuse_connection(connection: socket.socket, address: Any) -> None:
        if connection.family == socket.AF_UNIX or address is None:
            return
        if not isinstance(address, tuple) or len(address) < 2:
            raise _refusal("connect to", repr(address))
        host, port = _text(address[0]), address[1]
        if (host, port) not in peers and (host, port) not in allowed:
            raise _refusal("connect to", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CONNECTING:
            refuse_connection(arguments[0], arguments[1])
        elif event in RESOLVING:
            host = _text(arguments[0])
            # An address needs no look-up. Neither does localhost, which servers bind to.
            if host not in names and host not in ("", "localhost") and _address(host) is None:
                raise _refusal("look up", host)
        elif event in REVERSING:
            host = _text(arguments[0][0] if isinstance(arguments[0], tuple) else arguments[0])
            address = _address(host)
            if host not in names and not (address and address.is_loopback):
                raise _refusal("look up", host)
        elif event == "socket.__new__" and arguments[1] not in (
            -1,  # of a descriptor that exists
            socket.AF_UNIX,
            socket.AF_INET,
            socket.AF_INET6,
        ):
            raise _refusal("open a socket of family", str(arguments[1]))

    # CPython looks a host name up before it raises the audit event of these methods, and that
    # look-up alone would tell the name to a server.
    for name, position in ADDRESS_ARGUMENT.items():
        method = getattr(socket.socket, name)
        setattr(socket.socket, name, _checked(method, position, refuse_connection))
    sys.addaudithook(hook)


def _checked(
    method: Callable[..., Any], position: int, check: Callable[[socket.socket, Any], None]
) -> Callable[..., Any]:
    @functools.wraps(method)
    def checked(connection: socket.socket, *arguments: Any) -> Any:
        if -len(arguments) <= position < len(arguments):
            check(connection, arguments[position])
        return method(connection, *arguments)

    return checked


def _addresses(host: str, port: int) -> list[tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port)
    except OSError as error:
        raise UserError(f"{host}:{port}: this server has no address ({error})") from error
    return [(str(address[0]), port) for *_, address in found]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _text(host: Any) -> str:
    if host is None:
        return ""
    return host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)


def _refusal(what: str, whom: str) -> AirGapError:
    return AirGapError(
        f"CustomIR makes no network connections: refused to {what} {whom}. "
        f"Only `customir models fetch` uses the network."
    )
