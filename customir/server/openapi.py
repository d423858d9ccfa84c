"""The server's description in OpenAPI's form, for /openapi.json."""

from typing import Any

from pydantic import BaseModel, Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from customir import __version__
from customir.runtime.about import About
from customir.runtime.facets import Facets
from customir.runtime.filters import Condition
from customir.runtime.hits import Hit
from customir.runtime.index import IndexedPassage
from customir.runtime.threads import ThreadDocument
from customir.server.messages import EmbeddingsRequest, SearchRequest, SimilarRequest

COMPONENTS = "#/components/schemas/{model}"


class Understood(BaseModel):
    """How a query was understood: the text to rank by, and the conditions that every hit fulfils."""

    text: str
    filters: list[Condition]


class Hits(BaseModel):
    """The hits of a search, best first. `facets` count the `considered` documents: those that were ranked,
    or, for a query with conditions only, all that fulfil them."""

    hits: list[Hit]
    query: Understood
    considered: int = Field(0, description="Only with facets.")
    facets: Facets | None = Field(None, description="Only if requested.")


class Thread(BaseModel):
    """The documents of a thread, by date, and their passages in the same order."""

    documents: list[ThreadDocument]
    passages: list[IndexedPassage]


class Embedding(BaseModel):
    """A vector: numbers, or base64 of little-endian float32."""

    object: str
    index: int
    embedding: list[float] | str


class Embeddings(BaseModel):
    """Vectors, in the order of the texts."""

    object: str
    data: list[Embedding]
    model: str
    usage: dict[str, int]


class Problem(BaseModel):
    """What is wrong."""

    message: str


class Error(BaseModel):
    """An error in OpenAI's form."""

    error: Problem


ANSWERS: tuple[type, ...] = (Hits, Thread, About, Embeddings, Error)
REQUESTS: tuple[type, ...] = (SearchRequest, SimilarRequest, EmbeddingsRequest)
REASONS = {
    "400": "The request has to be changed; the message says how.",
    "401": "The token is missing or wrong.",
    "403": "The name in Host, or the user that the proxy names, is not admitted.",
    "404": "There is no such path, passage or document, or it may not be read.",
    "408": "The request did not arrive in time.",
    "413": "The request is too large.",
    "429": "Too many requests at a time. Retry-After says when to ask again.",
    "503": "No answer in time, or the index cannot be searched. Retry-After as with 429.",
}


def description(root: str) -> dict[str, Any]:
    """The description of a server below the path `root`."""
    adapters: list[TypeAdapter[Any]] = [TypeAdapter(kind) for kind in (*REQUESTS, *ANSWERS)]
    inputs = [
        (number, "validation" if number < len(REQUESTS) else "serialization", adapter)
        for number, adapter in enumerate(adapters)
    ]
    _, definitions = TypeAdapter.json_schemas(
        inputs,  # type: ignore[arg-type]
        ref_template=COMPONENTS,
        schema_generator=GenerateJsonSchema,
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "CustomIR", "version": __version__},
        "servers": [{"url": root or "/"}],
        "security": [{"token": []}],
        "paths": _paths(),
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> dict[str, Any]:
    return {
        "/search": {
            "get": _operation("Search", Hits, parameters=_parameters(SearchRequest)),
            "post": _operation("Search", Hits, asked=SearchRequest),
        },
        "/similar": {
            "get": _operation(
                "Passages like one of the index, without its near-duplicates and its thread", Hits,
                parameters=_parameters(SimilarRequest),
            )
        },
        "/about": {"get": _operation("What the index holds", About)},
        "/thread": {
            "get": _operation(
                "The documents of a thread", Thread,
                parameters=[
                    _parameter("name", {"type": "string", "description": "The thread of a hit."})
                ],
            )
        },
        "/v1/embeddings": {
            "post": _operation("Embed texts", Embeddings, asked=EmbeddingsRequest)
        },
        "/health/live": {"get": _plain("Whether the process answers", "application/json")},
        "/health/ready": {"get": _plain("Whether the index can be searched", "application/json")},
        "/health": {"get": _plain("The same as /health/ready", "application/json")},
        "/metrics": {"get": _plain("Figures for Prometheus", "text/plain", needs_token=True)},
    }  # fmt: skip


def _operation(
    summary: str,
    answer: type,
    *,
    parameters: list[dict[str, Any]] | None = None,
    asked: type[BaseModel] | None = None,
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "The answer", "content": _content(answer)},
            **{
                status: {"description": reason, "content": _content(Error)}
                for status, reason in REASONS.items()
            },
        },
    }
    if parameters is not None:
        made["parameters"] = parameters
    if asked is not None:
        made["requestBody"] = {"required": True, "content": _content(asked)}
    return made


def _plain(summary: str, kind: str, *, needs_token: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {kind: {}}}},
    }
    return made if needs_token else made | {"security": []}


def _parameters(kind: type[BaseModel]) -> list[dict[str, Any]]:
    fields = kind.model_json_schema()["properties"]
    return [_parameter("q" if name == "query" else name, schema) for name, schema in fields.items()]


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _content(kind: type) -> dict[str, Any]:
    schema = {"$ref": COMPONENTS.format(model=kind.__name__)}
    return {"application/json": {"schema": schema}}
