"""Logs as one JSON object per line, without queries and results."""

import logging
import sys
from datetime import UTC, datetime
from types import TracebackType

import orjson

FIELDS = "fields"  # of a log record: further members of its object


class JsonLines(logging.Formatter):
    """A record as a JSON object: time, level, message, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        content = {
            "time": moment,
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        return orjson.dumps(content | getattr(record, FIELDS, {})).decode()


def log_as_json() -> None:
    """Make CustomIR's loggers write JSON lines to stderr, and uvicorn's nothing.

    uvicorn logs tracebacks, whose messages may quote mail.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("customir")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)


def place_of(trace: TracebackType | None) -> str:
    """Where an exception was raised, as file:line, innermost last; without its message."""
    places: list[str] = []
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join(places[-5:])
