"""Subtitles and transcripts of meetings (.vtt, .srt): the spoken text without the times."""

import re
from html import unescape

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument
from customir.corpus.readers.files import Content, ReadError

TIMING = re.compile(r"(?:\d+:)?\d\d:\d\d[.,]\d{1,3}[ \t]+-->[ \t]+(?:\d+:)?\d\d:\d\d[.,]\d{1,3}")
TIMING_BYTES = re.compile(rb"^(?:\d+:)?\d\d:\d\d[.,]\d{1,3}[ \t]+-->[ \t]+\d", re.MULTILINE)
BLANK_LINES = re.compile(r"\n[ \t]*\n")
VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]{1,100})>")
TAG = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,100}\}")


def matches(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is WebVTT or SubRip."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_subtitle = start.startswith(b"WEBVTT") or name.endswith((".vtt", ".srt"))
    return is_subtitle and TIMING_BYTES.search(head.replace(b"\r", b"")) is not None


def read_document(content: Content) -> RawDocument:
    """One line per cue or, if speakers are named, one line per turn ("Ada: text").

    Raises:
        ReadError: it has no text.
    """
    lines: list[str] = []
    last = ""
    for block in BLANK_LINES.split(decode(content.data, content.charset).replace("\r\n", "\n")):
        rows = block.strip("\n").split("\n")
        timing = next((at for at, row in enumerate(rows) if TIMING.match(row)), None)
        if timing is None:
            continue
        said = "\n".join(rows[timing + 1 :])
        voice = VOICE.match(said)
        speaker = voice[1].strip() if voice else ""
        text = " ".join(unescape(TAG.sub("", said)).split())
        if not text:
            continue
        if speaker and speaker == last:
            lines[-1] += f" {text}"
        elif lines and not speaker and lines[-1] == text:  # rolling subtitles repeat it
            continue
        else:
            lines.append(f"{speaker}: {text}" if speaker else text)
        last = speaker
    if not lines:
        raise ReadError("no text in the subtitles")
    return RawDocument(content.name, "", "", None, "\n".join(lines))
