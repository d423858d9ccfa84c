"""Vectors in the form of OpenAI's API."""

import base64

import numpy as np
import numpy.typing as npt
import orjson

from customir.runtime.generations import MODEL_NAME
from customir.server.errors import bad
from customir.server.messages import EmbeddingsRequest

Vectors = npt.NDArray[np.float32]
# Nothing is paid for here; clients want the field.
NO_USAGE = {"prompt_tokens": 0, "total_tokens": 0}


def check_dimensions(asked: EmbeddingsRequest, width: int) -> None:
    """Check that the model has as many dimensions as are requested.

    Raises:
        Refused: 400 for more dimensions than the model has.
    """
    if asked.dimensions is not None and asked.dimensions > width:
        raise bad(f"dimensions: this model has {width}.")


def as_openai(vectors: Vectors, asked: EmbeddingsRequest) -> bytes:
    """The answer's JSON; base64 is of little-endian float32."""
    if asked.dimensions is not None and asked.dimensions < vectors.shape[1]:
        vectors = vectors[:, : asked.dimensions]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    plain = asked.encoding_format == "float"
    data = [
        {
            "object": "embedding",
            "index": number,
            "embedding": np.ascontiguousarray(vector)
            if plain
            else base64.b64encode(vector.astype("<f4").tobytes()).decode(),
        }
        for number, vector in enumerate(vectors)
    ]
    answer = {"object": "list", "data": data, "model": MODEL_NAME, "usage": NO_USAGE}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
