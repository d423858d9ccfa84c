"""A Python audit hook (PEP 578) that refuses network access and names who asked for it.

It sees what goes through Python, in any thread and any library, and cannot be removed again. It does
not see native code, and it does not reach other processes.
"""

import ipaddress
import socket
import sys
from functools import cache
from types import FrameType
from typing import Any

from customir.errors import UserError

SENDING = ("socket.sendto", "socket.sendmsg")
LOOKING_UP = ("socket.getaddrinfo", "socket.gethostbyname")
LOOKING_UP_ADDRESSES = ("socket.gethostbyaddr", "socket.getnameinfo")


class AirGapError(UserError):
    """A connection or look-up that was refused.

    It is not an OSError, so that no library treats it as a network failure and retries or silently
    continues.
    """


@cache
def install() -> None:
    """Add the hook, once in a process."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.__new__":
        family = arguments[1]
        if family != socket.AF_UNIX and not _has_descriptor(sys._getframe(1)):
            raise _refusal(f"open a socket of family {_family_name(family)}")
    elif event == "socket.connect":
        raise _refusal(f"connect to {_address_text(arguments[1])}")
    elif event in SENDING:
        if arguments[0].family != socket.AF_UNIX and arguments[1] is not None:
            raise _refusal(f"send to {_address_text(arguments[1])}")
    elif event in LOOKING_UP:
        host = _text(arguments[0])
        if not _is_numeric(host):
            raise _refusal(f"look up {host}")
    elif event in LOOKING_UP_ADDRESSES:
        address = arguments[0][0] if isinstance(arguments[0], tuple) else arguments[0]
        raise _refusal(f"look up {_text(address)}")


def _has_descriptor(maker: FrameType) -> bool:
    """Whether the Python object is made for a socket that exists, as `accept` does.

    The audit event does not tell this, so look at the call of `socket.socket.__init__` itself.
    """
    return maker.f_code is socket.socket.__init__.__code__ and maker.f_locals["fileno"] is not None


def _is_numeric(host: str) -> bool:
    """Whether it takes no look-up; the empty string stands for this machine."""
    try:
        return not host or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _family_name(family: int) -> str:
    if family == -1:  # the default of the class below socket.socket
        family = socket.AF_INET
    try:
        return socket.AddressFamily(family).name
    except ValueError:
        return str(family)


def _address_text(address: Any) -> str:
    if not isinstance(address, tuple) or len(address) < 2:
        return _text(address)
    host, port = _text(address[0]), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _refusal(what: str) -> AirGapError:
    packages = _calling_packages(sys._getframe(1))
    asked = f" (asked for by {', called by '.join(packages)})" if packages else ""
    return AirGapError(
        f"CustomIR makes no network connections: refused to {what}{asked}. "
        "Only `customir models fetch` uses the network."
    )


def _calling_packages(frame: FrameType | None) -> list[str]:
    """Packages on the stack from the innermost, without the standard library and our own."""
    packages: dict[str, None] = {}
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in sys.stdlib_module_names and package not in ("", "customir", "__main__"):
            packages[package] = None
        frame = frame.f_back
    return list(packages)
