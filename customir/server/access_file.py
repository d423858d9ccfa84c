"""The access file: users, the hashes of their tokens, and what each may read.

docs/how-to/access.md describes it. It is read again whenever it has changed.
"""

import hashlib
import ipaddress
import logging
import os
import stat
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from customir.errors import UserError
from customir.runtime.rights import Grant, Rights

HASH_NAME = "sha256:"
FORWARDED_BY_UNIX_SOCKET = "unix"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Stamp = tuple[int, int, int, int]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class User:
    """Somebody who asks.

    Attributes:
        name: As the audit log calls them.
        rights: What they may read; None: everything.
        metrics: Whether they may read /metrics.
    """

    name: str
    rights: Rights | None
    metrics: bool


@dataclass(frozen=True)
class Users:
    """Who may ask, and by what he is recognised.

    Attributes:
        by_token: By the hash of a token.
        by_name: By the name that a trusted proxy sends.
        proxies: Addresses of trusted proxies.
        unix_proxy: Whether whoever opens the Unix socket is a trusted proxy.
        anybody: Who asks without a token; None: such requests are refused.
    """

    by_token: Mapping[str, User]
    by_name: Mapping[str, User] = field(default_factory=dict)
    proxies: tuple[Network, ...] = ()
    unix_proxy: bool = False
    anybody: User | None = None

    def trusts(self, address: str | None) -> bool:
        """Whether a proxy at this address may say who asks; None: at the Unix socket."""
        if address is None:
            return self.unix_proxy
        found = ipaddress.ip_address(address)
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self.proxies)


def hash_token(token: str) -> str:
    """A token as the access file holds it.

    SHA-256 without salt and repetition is enough for what `new_token` makes: nobody can try 256
    random bits.
    """
    return HASH_NAME + hashlib.sha256(token.encode()).hexdigest()


class AccessFile:
    """The users in an access file, as it is now.

    Raises:
        UserError: as `read_users`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._users: Users | None = None
        self._error = ""
        self.users()

    def users(self) -> Users:
        """The users; read again if the file has changed, which costs one `stat` to know.

        While the file is wrong, nobody is let in: a token that was taken out of it must not live on
        because of a mistake elsewhere in it.

        Raises:
            UserError: as `read_users`.
        """
        with self._lock:
            stamp = _stamp(self._path)
            if stamp is None or stamp != self._stamp:
                self._users, self._stamp = None, stamp
                try:
                    self._users = read_users(self._path)
                except UserError as error:
                    if str(error) != self._error:
                        log.error("%s", error)
                    self._error = str(error)
                else:
                    self._error = ""
            if self._users is None:
                raise UserError(self._error)
            return self._users


def read_users(path: Path) -> Users:
    """The users in an access file.

    Raises:
        UserError: others may read or write the file, or its content is wrong.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise UserError(f"{path}: others can read it. Run: chmod 600 {path}")
            if status.st_uid not in (0, os.geteuid()):
                raise UserError(
                    f"{path}: it belongs to another user, who could change it. Make it your own."
                )
            content = _Content.model_validate(tomllib.load(file))
        return _users(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a TOML file ({error}).") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
        raise UserError(f"{path}: {place}: {first['msg']}.") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


Names = Annotated[tuple[str, ...], Field(min_length=1)]
Hash = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Allowed(_Table):
    sources: Names = ()
    senders: Names = ()
    recipients: Names = ()
    participants: Names = ()
    since: str | None = None
    until: str | None = None


class _User(_Table):
    name: Annotated[str, Field(min_length=1)]
    tokens: tuple[Hash, ...] = ()
    allow: tuple[_Allowed, ...] = ()
    everything: bool = False
    metrics: bool = False


class _Proxy(_Table):
    trusted: Names


class _Content(_Table):
    user: Annotated[tuple[_User, ...], Field(min_length=1)]
    proxy: _Proxy | None = None


def _users(content: _Content) -> Users:
    by_token: dict[str, User] = {}
    by_name: dict[str, User] = {}
    for given in content.user:
        if given.name in by_name:
            raise ValueError(f"user {given.name}: the name occurs twice. Make it one user.")
        if given.everything and given.allow:
            raise ValueError(f"user {given.name}: everything and allow exclude each other.")
        try:
            rights = tuple(Grant(**allowed.model_dump()) for allowed in given.allow)
        except UserError as error:
            raise ValueError(f"user {given.name}: {error}") from error
        user = User(given.name, None if given.everything else rights, given.metrics)
        by_name[given.name] = user
        for token in given.tokens:
            if token in by_token:
                raise ValueError(f"user {given.name}: another user has the same token.")
            by_token[token] = user
    trusted = content.proxy.trusted if content.proxy else ()
    networks = [_network(one) for one in trusted if one != FORWARDED_BY_UNIX_SOCKET]
    return Users(by_token, by_name, tuple(networks), FORWARDED_BY_UNIX_SOCKET in trusted)


def _network(address: str) -> Network:
    try:
        network = ipaddress.ip_network(address)
    except ValueError as error:
        raise ValueError(
            f'proxy.trusted: {address} is neither "unix" nor an address or a network.'
        ) from error
    if any(network.version == own.version and network.overlaps(own) for own in LOOPBACK):  # type: ignore[arg-type]
        raise ValueError(
            f"proxy.trusted: {address} is an address of this machine, from which each of its users "
            'could name himself. Let the proxy use a Unix socket, and write "unix".'
        )
    return network


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
