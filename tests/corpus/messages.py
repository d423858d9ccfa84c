"""Mail as bytes."""

ENVELOPE = b"From someone@example.org  Thu Aug 22 12:36:23 2002\n"


def mail(body: bytes, **headers: str) -> bytes:
    """A message: headers by name ("message_id"), then the body."""
    fields = {
        "from": "Ada Lovelace <ada@example.org>",
        "date": "Thu, 22 Aug 2002 18:26:25 +0700",
        "subject": "Engines",
        **headers,
    }
    lines = [f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items() if value]
    return "".join(lines).encode() + b"\n" + body


def mbox(*messages: bytes) -> bytes:
    """An mbox file of messages."""
    return b"".join(ENVELOPE + message.rstrip(b"\n") + b"\n\n" for message in messages)
