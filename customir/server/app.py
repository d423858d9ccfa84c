"""The routes of the server."""

import asyncio
from http import HTTPStatus
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from customir.errors import UserError
from customir.runtime.filters import Filter
from customir.runtime.query import parse
from customir.runtime.search import UnknownPassageError
from customir.server import embeddings, page
from customir.server.audit import RETURNED, Audited, AuditLog
from customir.server.auth import Access
from customir.server.backend import Backend, Content
from customir.server.errors import Refused, bad
from customir.server.limits import MOST_FILTER_CHARACTERS, Limits
from customir.server.messages import (
    EmbeddingsRequest,
    SearchRequest,
    SimilarRequest,
    from_json,
    from_query,
)
from customir.server.metrics import CONTENT_TYPE, Metrics
from customir.server.middleware import Gate, Observed
from customir.server.openapi import description


def create_app(
    backend: Backend,
    access: Access,
    limits: Limits,
    metrics: Metrics,
    audit: AuditLog | None,
    *,
    logged: bool,
) -> ASGIApp:
    """The server as an ASGI application.

    Args:
        audit: Where it is recorded who asked and what was returned; None: nowhere.
        logged: Write a line for each request (customir/server/logs.py).
    """
    routes = _Routes(backend, limits, metrics).routes()
    handlers: dict[Any, Any] = {
        Refused: _refused,
        HTTPException: _http_exception,
        UnknownPassageError: _not_found,
        UserError: _user_error,
        TimeoutError: _timed_out,
        Exception: _fault,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    paths = frozenset(route.path for route in routes)
    audited = Audited(app, audit, paths) if audit else app
    return Observed(Gate(audited, access), paths, metrics, logged)


class _Routes:
    def __init__(self, backend: Backend, limits: Limits, metrics: Metrics) -> None:
        self._backend, self._limits, self._metrics = backend, limits, metrics

    def routes(self) -> list[Route]:
        return [
            *page.routes(),
            Route("/search", self.search, methods=["GET", "POST"]),
            Route("/similar", self.similar),
            Route("/thread", self.thread),
            Route("/about", self.about),
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/health", self.ready),
            Route("/health/ready", self.ready),
            Route("/health/live", self.live),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
        ]

    async def search(self, request: Request) -> Response:
        if request.method == "POST":
            asked = from_json(SearchRequest, await self._body(request))
        else:
            fields = dict(request.query_params)
            fields["query"] = fields.pop("q", "")
            asked = from_query(SearchRequest, fields)
        try:
            query = parse(asked.query)
            only = Filter(asked.since, asked.until, asked.sender, asked.source, query.conditions)
        except UserError as error:
            raise bad(str(error)) from error
        found = await self._backend.search(asked, query, only, request.user.rights)
        return _answer(request, found)

    async def similar(self, request: Request) -> Response:
        asked = from_query(SimilarRequest, dict(request.query_params))
        return _answer(request, await self._backend.similar(asked, request.user.rights))

    async def about(self, request: Request) -> Response:
        return _answer(request, await self._backend.about(request.user.rights))

    async def thread(self, request: Request) -> Response:
        name = request.query_params.get("name", "")
        if len(name) > MOST_FILTER_CHARACTERS:
            raise bad(f"name: at most {MOST_FILTER_CHARACTERS} characters.")
        return _answer(request, await self._backend.thread(name, request.user.rights))

    async def embeddings(self, request: Request) -> Response:
        asked = from_json(EmbeddingsRequest, await self._body(request))
        embeddings.check_dimensions(asked, self._backend.batcher.dimensions)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        vectors = await self._backend.embed(texts, asked.kind)
        return _json(await asyncio.to_thread(embeddings.as_openai, vectors, asked))

    async def live(self, request: Request) -> Response:
        return _json(b'{"status":"ok"}')

    async def ready(self, request: Request) -> Response:
        await self._backend.check()
        return await self.live(request)

    async def metrics(self, request: Request) -> Response:
        if not request.user.metrics:
            raise Refused(HTTPStatus.FORBIDDEN, "This user may not read the metrics.")
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        return _json(orjson.dumps(description(request.scope["root_path"])))

    async def _body(self, request: Request) -> bytes:
        """The body of the request.

        Raises:
            Refused: 413 if it is too large, 408 if it does not arrive in time.
        """
        too_large = Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {self._limits.body} bytes."
        )
        if int(request.headers.get("content-length", 0)) > self._limits.body:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.transfer):
                async for part in request.stream():
                    body += part
                    if len(body) > self._limits.body:
                        raise too_large
        except TimeoutError as error:
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT,
                f"The request did not arrive in whole within {self._limits.transfer:g} seconds.",
                close=True,
            ) from error
        return bytes(body)


def _answer(request: Request, content: Content) -> Response:
    request.scope[RETURNED] = content.returned
    return _json(content.json)


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


async def _refused(request: Request, error: Refused) -> Response:
    return error.response()


async def _http_exception(request: Request, error: HTTPException) -> Response:
    """Starlette's own errors: unknown path, wrong method."""
    response = Refused(HTTPStatus(error.status_code), error.detail).response()
    response.headers.update(error.headers or {})
    return response


async def _not_found(request: Request, error: UnknownPassageError) -> Response:
    return Refused(HTTPStatus.NOT_FOUND, str(error)).response()


async def _user_error(request: Request, error: UserError) -> Response:
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error)).response()


async def _timed_out(request: Request, error: TimeoutError) -> Response:
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "No answer in time.").response()


async def _fault(request: Request, error: Exception) -> Response:
    """A bug of ours, logged where it is raised again. Its message may quote mail, so it is not shown."""
    message = f"A fault of the server: {type(error).__name__}."
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, message, close=True).response()
