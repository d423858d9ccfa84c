"""mbox files of every dialect: each message is one message, whatever separates it from the next."""

import gzip
import io
import re
import time

import pytest

from customir.corpus.document import RawMail, Unreadable
from customir.corpus.readers import mbox
from customir.corpus.readers.files import SourceFile

SEPARATOR = b"From ada@example.org Thu Aug 22 12:36:23 2002\n"


def message(number: int, body: bytes = b"The mill is ready.\n", extra: bytes = b"") -> bytes:
    """A message with a header as programs write it."""
    return (
        b"From: Ada Lovelace <ada@example.org>\nTo: charles@example.org\nSubject: Engine %d\n"
        b"Date: Thu, 22 Aug 2002 18:26:25 +0700\nMessage-ID: <%d@example.org>\n%s\n%s\n"
        % (number, number, extra, body)
    )


def split(content: bytes, name: str = "a.mbox") -> list[RawMail | Unreadable]:
    assert mbox.matches(content[: 1 << 16], name)
    return list(mbox.read(SourceFile(name, io.BytesIO(content))))


def numbers(content: bytes) -> list[int]:
    """The numbers of the messages that are told apart."""
    found = []
    for item in split(content):
        assert isinstance(item, RawMail), item
        (number,) = re.findall(rb"\AFrom: Ada[^\0]*?Message-ID: <(\d+)@", item.content)
        found.append(int(number))
    return found


@pytest.mark.parametrize(
    "separator",
    [
        b"From \n", b"From\n", b"From - \n", b"From -\n", b"From ada@example.org\n", b"From ada\n",
        b"From - Tue May 04 15:59:28 2021\n", b"From ada Tue, 4 May 2021 15:59:28 +0200\n",
        b"From ada 2021-05-04T15:59:28Z\n", b"From - mar. mai 04 15:59:28 2021\n",
        b"From ada@example.org 04/05/2021 15:59\n",
        b"From 1545668983435175431@xxx Fri Sep 16 22:26:51 +0000 2016\n",
        b'From "ada lovelace" Thu Aug 22 12:36:23 2002\n', b"From \r\n",
    ],
)  # fmt: skip
def test_separators_of_every_kind_also_mixed(separator: bytes) -> None:
    alone = b"".join(separator + message(number) + b"\n" for number in range(3))
    assert numbers(alone) == [0, 1, 2]
    mixed = b"".join(
        (separator if number % 2 else SEPARATOR) + message(number) + b"\n" for number in range(6)
    )
    assert numbers(mixed) == list(range(6))
    assert numbers(mixed.replace(b"\r", b"").replace(b"\n", b"\r\n")) == list(range(6))


def test_36000_bare_separators_are_counted_independently() -> None:
    content = b"".join(b"From \n" + message(number) + b"\n" for number in range(36_000))
    start = time.process_time()
    items = split(content)
    assert len(items) == content.count(b"\nMessage-ID:") == 36_000
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "body",
    [
        b"He wrote\n\nFrom time to time the mill stands still.\nTo be sure, look.\n",
        b"See\n\nFrom here:\n\nwe go on.\n",
        b"He sent me\n\n>From carl@example.net Tue May  4 09:00:00 2021\n>From: Carl\n>Date: x\n",
        b"He sent me\n\n  From carl@example.net Tue May  4 09:00:00 2021\n  From: Carl\n  Date: x\n",
        b"The patch:\n\nFrom 1234567890123456789012345678901234567890 Mon Sep 17 00:00:00 2001\n"
        b"From: Carl <carl@example.net>\nDate: Tue, 4 May 2021 09:00:00 +0200\n"
        b"Subject: [PATCH 1/2] Turn the mill\n\n---\n mill.c | 2 +-\n",
        b"From Ada\nSubject: a song that I typed\n\nLa la.\n",
    ],
)
def test_what_is_quoted_inside_a_message_does_not_split_it(body: bytes) -> None:
    content = SEPARATOR + message(1, body) + b"\n" + SEPARATOR + message(2) + b"\n"
    assert numbers(content) == [1, 2]


def test_patches_are_split_where_the_file_is_a_series_of_them() -> None:
    line = b"From %040d Mon Sep 17 00:00:00 2001\n"
    content = b"".join(line % number + message(number, b"---\n") for number in range(3))
    assert numbers(content) == [0, 1, 2]


VERBATIM = SEPARATOR.replace(b"ada@example.org", b"carl@example.net") + (
    b"From: Carl <carl@example.net>\nDate: Tue, 4 May 2021 09:00:00 +0200\nSubject: rent\n\nDue.\n"
)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_content_length_is_believed_where_it_ends_at_a_separator(newline: bytes) -> None:
    body = (b"See:\n\n" + VERBATIM + b"\nWhat now?\n>From me.\n").replace(b"\n", newline)
    for stated, expected in ((len(body), 2), (len(body) + 7, 3), (9_999_999, 3), (1, 3)):
        header = message(1, b"", b"Content-Length: %d\n" % stated)[:-1].replace(b"\n", newline)
        content = SEPARATOR + header + body + newline + SEPARATOR + message(2) + b"\n"
        items = split(content)
        assert len(items) == expected
    first, _ = split(
        SEPARATOR
        + message(1, b"", b"Content-Length: %d\n" % len(body))[:-1].replace(b"\n", newline)
        + body
        + newline
        + SEPARATOR
        + message(2)
    )
    # What is not escaped is not unescaped.
    assert isinstance(first, RawMail)
    assert first.content.endswith(b">From me." + newline)
    # At the end of the file, without a blank line.
    (last,) = split(SEPARATOR + message(1, b"", b"Content-Length: %d\n" % len(body))[:-1] + body)
    assert isinstance(last, RawMail)


def test_a_message_attached_to_a_message_does_not_split_it() -> None:
    kind = b'MIME-Version: 1.0\nContent-Type: multipart/mixed;\n boundary="b1"\n'
    attached = b"--b1\n\nSee.\n\n--b1\nContent-Type: message/rfc822\n\n" + VERBATIM + b"\n--b1--\n"
    whole = SEPARATOR + message(1, attached, kind) + b"\n"
    assert numbers(whole + SEPARATOR + message(2)) == [1, 2]
    # One that is cut short does not swallow its neighbours, not even a copy of itself.
    cut = SEPARATOR + message(1, b"--b1\n\nSee.\n", kind) + b"\n"
    assert numbers(cut + SEPARATOR + message(2) + b"\n" + whole) == [1, 2, 1]


def test_a_damaged_message_does_not_swallow_its_neighbours() -> None:
    content = (
        SEPARATOR
        + message(1)
        + b"\n"
        + SEPARATOR
        + b"\x00\xffgarbage without an end\n\n"
        + SEPARATOR
        + b"Subject: cut in its hea\n"
        + SEPARATOR
        + SEPARATOR
        + message(2)
    )
    items = split(content)
    assert [isinstance(item, RawMail) and item.content[:5] for item in items] == [
        b"From:", b"\x00\xffgar", b"Subje", b"", b"From:",
    ]  # fmt: skip


def test_a_second_separator_that_was_escaped_is_left_out() -> None:
    content = SEPARATOR + b">From - Tue May 04 2021 15:59:28\n" + message(1) + b"\n"
    assert numbers(content) == [1]


def test_the_first_separator_may_be_lost() -> None:
    content = message(1) + b"\n" + SEPARATOR + message(2)
    assert numbers(content) == [1, 2]
    assert not mbox.matches(content, "a.eml")


def test_a_separator_at_the_edge_of_a_block_is_seen() -> None:
    for size in range((1 << 20) - 400, (1 << 20) - 100, 13):
        content = SEPARATOR + message(1, b"x" * size) + b"\n" + SEPARATOR + message(2)
        assert len(split(content)) == 2
    packed = gzip.compress(content)
    assert len(list(mbox.read(SourceFile("a.mbox.gz", io.BytesIO(packed))))) == 2


@pytest.mark.slow
def test_false_separators_by_the_hundred_thousand_take_no_time() -> None:
    body = b"\nFrom x 12:34\nSubject: a\n" * 100_000
    start = time.process_time()
    (item,) = split(SEPARATOR + message(1, body, b'Content-Type: multipart/mixed; boundary="b"\n'))
    assert isinstance(item, RawMail)
    assert time.process_time() - start < 20
