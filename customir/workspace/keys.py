"""Content keys, which identify units of work and documents."""

import hashlib

KEY_BYTES = 16


def content_key(*parts: str | bytes | int | float | None) -> str:
    """A 128-bit BLAKE2b hash of `parts` in lower-case hexadecimal (32 characters).

    Each part is hashed with its type and length, so ("ab", "c") and ("a", "bc") differ, and so
    do 1 and "1". The same parts give the same key on every machine.
    """
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in parts:
        encoded = (
            part if isinstance(part, bytes) else repr_of(part).encode("utf-8", "surrogatepass")
        )
        digest.update(f"{type(part).__name__}:{len(encoded)}:".encode())
        digest.update(encoded)
    return digest.hexdigest()


def repr_of(part: str | int | float | None) -> str:
    """Text as itself, everything else by `repr` (exact for floats)."""
    return part if isinstance(part, str) else repr(part)
