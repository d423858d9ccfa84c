"""Access control: the token, and the host name in the request."""

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from customir.errors import UserError
from customir.server.errors import Refused, malformed

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
TOKEN_BYTES = 32
# https://www.rfc-editor.org/rfc/rfc9110#section-7.2: a name or an address, and perhaps a port.
HOST = re.compile(rb"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(:[0-9]{0,5})?", re.ASCII)
VISIBLE = re.compile(r"[!-~]+", re.ASCII)

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Access:
    """Who may use the server. Attributes:
        token: The token that requests need as `Authorization: Bearer TOKEN`; None: no token,
            because only the owner can open the socket.
        loopback: Whether the server listens on a loopback address. If so, requests without the
            token are answered only under a loopback name, because another site can point its own
            name to this machine and make the browser send requests here (DNS rebinding).

    Raises:
        UserError: the token can't be sent in a header.
    """

    token: str | None
    loopback: bool

    def __post_init__(self) -> None:
        if self.token is not None and not VISIBLE.fullmatch(self.token):
            raise UserError(
                "The token is empty or has characters other than visible ASCII, which an HTTP header "
                "cannot carry. Choose another one."
            )

    def admit(self, headers: Headers, *, needs_token: bool) -> None:
        """Check whether a request may be answered.

        Args:
            headers: Names in lower case, and values.

        Raises:
            Refused: 400 for a malformed Host, 401 without the token, 403 for a foreign name.
        """
        name = _host(headers)
        if self.token is not None and self._has_token(headers):
            return
        if self.loopback and name is not None and name not in LOOPBACK_NAMES:
            raise Refused(
                HTTPStatus.FORBIDDEN, "Use a loopback name for this server, or send the token."
            )
        if needs_token and self.token is not None:
            raise Refused(
                HTTPStatus.UNAUTHORIZED, "This request needs a token: Authorization: Bearer TOKEN."
            )

    def _has_token(self, headers: Headers) -> bool:
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        wanted = (self.token or "").encode()
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), wanted)


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


def _host(headers: Headers) -> str | None:
    """The name in the Host header, in lower case; None without a Host header."""
    values = [value for name, value in headers if name == b"host"]
    if not values:
        return None
    found = HOST.fullmatch(values[0])
    if len(values) > 1 or found is None:
        raise malformed("Host: give one name or address, with or without a port.")
    return found["name"].decode().lower()
