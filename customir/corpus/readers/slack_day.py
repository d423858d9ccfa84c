"""A single day of a Slack channel, from an export without the lists of people and channels."""

import re
from collections.abc import Iterator

from customir.corpus.document import RawDocument, Unreadable
from customir.corpus.readers.chat import Channel
from customir.corpus.readers.files import ReadError, SourceFile
from customir.corpus.readers.json_chat import FAULTS, load_export
from customir.corpus.readers.slack import messages_of

# A list of messages with Slack's time format.
START = re.compile(rb"\A\s*\[\s*\{")
KIND = re.compile(rb'"type"\s*:\s*"message"')
TIME = re.compile(rb'"ts"\s*:\s*"\d{10}\.\d{6}"')


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a day of a channel."""
    return all(sign.search(head) is not None for sign in (START, KIND, TIME))


def read(file: SourceFile) -> Iterator[RawDocument | Unreadable]:
    """The conversations of the day. Names come from the profiles in the messages.

    Raises:
        ReadError: it is not a list of messages.
    """
    channel = Channel()
    try:
        for message in messages_of(load_export(file), {}):
            channel.add(message)
    except FAULTS as error:
        raise ReadError(f"not a day of messages: {error}") from error
    yield from channel.documents(file.name)
