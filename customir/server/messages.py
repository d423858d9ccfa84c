"""The fields of requests, checked by pydantic, which also describes them in /openapi.json."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from customir.encoder.folder import Kind
from customir.runtime.ranking import Mode
from customir.server.errors import Refused, bad
from customir.server.limits import (
    MOST_FILTER_CHARACTERS,
    MOST_HITS,
    MOST_QUERY_CHARACTERS,
    MOST_TEXTS,
)

Condition = Annotated[str, Field(max_length=MOST_FILTER_CHARACTERS)]


class SearchRequest(BaseModel):
    """A search. Dates are ISO 8601, without a time zone UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str = Field("", max_length=MOST_QUERY_CHARACTERS, description="What to look for.")
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    mode: Mode = Field("hybrid", description="By meaning, by words, or by both.")
    since: Condition | None = Field(None, description="Not before this date or time.")
    until: Condition | None = Field(None, description="Not after this date or time.")
    sender: Condition | None = Field(None, description="A part of the sender's name or address.")
    source: Condition | None = Field(None, description="A source, or a folder or file in one.")
    by_thread: bool = Field(False, description="Only the best hit of each thread.")
    facets: bool = Field(
        False, description="Count senders, months, sources and languages of what was ranked."
    )


class SimilarRequest(BaseModel):
    """A search for passages like one of the index."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(
        min_length=1,
        max_length=MOST_FILTER_CHARACTERS,
        description="Key of a passage, or key or identifier of a document.",
    )
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    by_thread: bool = Field(False, description="Only the best hit of each thread.")


class EmbeddingsRequest(BaseModel):
    """https://platform.openai.com/docs/api-reference/embeddings, and `kind`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    input: str | Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS)] = Field(
        description="The text or texts to embed."
    )
    model: str | None = Field(None, description="Ignored: there is one model.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or base64 of little-endian float32."
    )
    dimensions: int | None = Field(
        None, ge=1, description="Keep this many of the first numbers, scaled to length 1 again."
    )
    kind: Kind = Field("passage", description="Which prompt is used, if the model has prompts.")


Request = TypeVar("Request", SearchRequest, SimilarRequest, EmbeddingsRequest)


def from_json(kind: type[Request], body: bytes) -> Request:
    """A request from a JSON body.

    Raises:
        Refused: 400, with the first field that is wrong.
    """
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _wrong(error) from error


def from_query(kind: type[Request], values: dict[str, str]) -> Request:
    """A request from the query string; blank fields count as absent.

    Raises:
        Refused: 400, with the first field that is wrong.
    """
    try:
        return kind.model_validate({name: value for name, value in values.items() if value})
    except ValidationError as error:
        raise _wrong(error) from error


def _wrong(error: ValidationError) -> Refused:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return bad(f"{place}: {first['msg']}" if place else first["msg"])
