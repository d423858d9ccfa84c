"""Errors as answers."""

from http import HTTPStatus

import orjson
from starlette.responses import Response

RETRY_SECONDS = 1


class Refused(Exception):  # noqa: N818
    """A request that is answered with an error.

    Attributes:
        status: The answer's status.
        close: Whether the connection is closed afterwards.
    """

    def __init__(self, status: HTTPStatus, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.status, self.close = status, close

    def response(self) -> Response:
        """The answer, in the form of OpenAI's errors."""
        headers = {"connection": "close"} if self.close else {}
        if self.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            headers["retry-after"] = str(RETRY_SECONDS)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        content = orjson.dumps({"error": {"message": str(self)}})
        return Response(content, self.status, headers, "application/json")


def bad(message: str) -> Refused:
    """An error that the client has to correct (400)."""
    return Refused(HTTPStatus.BAD_REQUEST, message)


def malformed(message: str) -> Refused:
    """A request that another server might end at another byte; the connection is closed after it."""
    return Refused(HTTPStatus.BAD_REQUEST, message, close=True)
