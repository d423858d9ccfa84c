"""The socket of the server, which is created before the network is blocked."""

import grp
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from customir.errors import UserError


def bound_socket(host: str, port: int) -> socket.socket:
    """A TCP socket bound to an address of this machine; nobody can connect before `listen`.

    Args:
        host: An IP address or "localhost".
        port: The port; 0: any free one.

    Raises:
        UserError: the host is unknown, or the address is taken or does not belong to this machine.
    """
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError as error:
            raise UserError(f"{host}: give an IP address of this machine, or localhost.") from error
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small packets without delay (TCP_NODELAY) only if the protocol is named.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise UserError(
            f"{host}:{port}: cannot be served ({error}). Choose another --host or --port."
        ) from error
    return bound


@contextmanager
def bound_unix_socket(path: Path, group: str | None = None) -> Iterator[socket.socket]:
    """A Unix socket with mode 0600; its file is deleted at the end.

    Args:
        group: Which users may open it, too (mode 0660); None: no others.

    Raises:
        UserError: another server listens there, another kind of file exists, the path is too
            long for a socket, or this user is not in the group.
    """
    _remove_abandoned(path)
    bound = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
    except OSError as error:
        bound.close()
        raise UserError(f"{path}: cannot be listened on ({error}). Choose another path.") from error
    finally:
        os.umask(before)
    try:
        if group is not None:
            _share(path, group)
        yield bound
    finally:
        bound.close()
        path.unlink(missing_ok=True)


def _share(path: Path, group: str) -> None:
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(0o660)
    except (KeyError, OSError) as error:
        raise UserError(
            f"--unix-socket-group: {path} cannot be given to the group {group} ({error}). Is there "
            "such a group, and are you in it?"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _remove_abandoned(path: Path) -> None:
    """Delete the socket of a server that was killed."""
    try:
        mode = path.lstat().st_mode
    except OSError:  # binding says what is wrong
        return
    if not stat.S_ISSOCK(mode):
        raise UserError(
            f"{path}: a file of this name exists. Choose another path, or move the file away."
        )
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            return
    raise UserError(
        f"{path}: another server is listening on it. Choose another path, or stop that server."
    )
