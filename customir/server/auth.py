"""Access control: who asks, and the host name in the request."""

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from customir.errors import UserError
from customir.server.access_file import User, Users, hash_token
from customir.server.errors import Refused, malformed

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
TOKEN_BYTES = 32
# https://www.rfc-editor.org/rfc/rfc9110#section-7.2: a name or an address, and perhaps a port.
HOST = re.compile(rb"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(:[0-9]{0,5})?", re.ASCII)
VISIBLE = re.compile(r"[!-~]+", re.ASCII)
FORWARDED_USER = b"x-forwarded-user"
# Who has the one token of a server without an access file, or its Unix socket.
OWNER = User("owner", rights=None, metrics=True)

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Access:
    """Who may use the server. Attributes:
    users: Returns who may ask at the moment.
    loopback: Whether the server listens on a loopback address. If so, requests without a
        token are answered only under a loopback name, because another site can point its own
        name to this machine and make the browser send requests here (DNS rebinding).
    """

    users: Callable[[], Users]
    loopback: bool

    def admit(self, headers: Headers, address: str | None, *, needs_user: bool) -> User | None:
        """Who asks; None if nobody has to be known, and nobody is.

        A token decides. Only without one is the name in X-Forwarded-User looked at, and only if a
        trusted proxy sent it.

        Args:
            headers: Names in lower case, and values.
            address: Of the other end of the connection; None: it is a Unix socket.

        Raises:
            Refused: 400 for a malformed Host or X-Forwarded-User, 401 without a user, 403 for a
                foreign name or a user without rights.
            UserError: the access file is wrong.
        """
        name = _host(headers)
        user = self._by_token(headers)
        if user is not None:
            return user
        if self.loopback and name is not None and name not in LOOPBACK_NAMES:
            raise Refused(
                HTTPStatus.FORBIDDEN, "Use a loopback name for this server, or send the token."
            )
        if not needs_user:
            return None
        users = self.users()
        user = _forwarded(headers, users) if users.trusts(address) else None
        if user is None:
            user = users.anybody
        if user is None:
            raise Refused(
                HTTPStatus.UNAUTHORIZED, "This request needs a token: Authorization: Bearer TOKEN."
            )
        return user

    def _by_token(self, headers: Headers) -> User | None:
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1:
            return None
        scheme, _, token = given[0].partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        # Hashes are looked up, so the time tells nothing about a token.
        return self.users().by_token.get(hash_token(token.strip().decode("latin-1")))


def owned(token: str | None, *, loopback: bool) -> Access:
    """Access to everything by one token; None: without a token.

    Raises:
        UserError: the token can't be sent in a header.
    """
    if token is not None and not VISIBLE.fullmatch(token):
        raise UserError(
            "The token is empty or has characters other than visible ASCII, which an HTTP header "
            "cannot carry. Choose another one."
        )
    users = Users({}, anybody=OWNER) if token is None else Users({hash_token(token): OWNER})
    return Access(lambda: users, loopback)


def new_token() -> str:
    """A random token of 43 characters."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def read_token(file: Path) -> str:
    """The token in a file, without the white space around it.

    Raises:
        UserError: the file can't be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error}).") from error


def _forwarded(headers: Headers, users: Users) -> User | None:
    """The user that a trusted proxy names; None if it names nobody."""
    given = [value for name, value in headers if name == FORWARDED_USER]
    if len(given) > 1:
        raise malformed("X-Forwarded-User: give one name.")
    if not given:
        return None
    user = users.by_name.get(given[0].strip().decode("utf-8", "replace"))
    if user is None:
        raise Refused(HTTPStatus.FORBIDDEN, "This user has no rights here.")
    return user


def _host(headers: Headers) -> str | None:
    """The name in the Host header, in lower case; None without a Host header."""
    values = [value for name, value in headers if name == b"host"]
    if not values:
        return None
    found = HOST.fullmatch(values[0])
    if len(values) > 1 or found is None:
        raise malformed("Host: give one name or address, with or without a port.")
    return found["name"].decode().lower()
