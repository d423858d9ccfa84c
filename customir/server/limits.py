"""Limits to the requests of clients."""

from dataclasses import dataclass

MOST_HITS = 1000
MOST_QUERY_CHARACTERS = 4000  # embedders read some 256 tokens of them
MOST_TEXTS = 256  # of one request for embeddings
MOST_FILTER_CHARACTERS = 1000
MOST_HEADER_BYTES = 64 << 10


@dataclass(frozen=True)
class Limits:
    """Limits of one process of the server.

    Attributes:
        body: Bytes of a request's body; more is refused with 413.
        working: Searches at a time, each in a thread with its own connection to the index.
        waiting: Requests that are being answered at a time; another one is refused with 429.
        connections: Open connections at a time. For another one, the connection that has been idle longest is
            closed; if none is idle, the new one is refused with 503.
        seconds: Seconds to answer a request after it has been read.
        transfer: Seconds for a request's head to arrive, for its body, and for the client to take
            the answer, however steadily it drips.
        idle: Seconds that a connection may stay open without a request.
    """

    body: int = 1 << 20
    working: int = 4
    waiting: int = 64
    connections: int = 256
    seconds: float = 30.0
    transfer: float = 30.0
    idle: float = 30.0
