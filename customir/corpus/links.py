"""Restores links: removes the wrapping of mail gateways and tracking parameters."""

import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

URL = re.compile(r"https?://[^\s<>\"'\])}|]+", re.IGNORECASE)
# Shorter links are neither wrapped nor used for tracking.
SHORTEST = 40
PROOFPOINT = re.compile(r"https?://urldefense\.(?:com|us|proofpoint\.com)/", re.IGNORECASE)
PROOFPOINT_3 = re.compile(r"/v3/__(.+?)__(?:;|$)")
SAFE_LINKS = ".safelinks.protection.outlook.com"
# Parameters that name the recipient of a link or a campaign, but not the page.
TRACKING = re.compile(
    r"(?:utm_\w+|fbclid|gclid|dclid|msclkid|mc_[ce]id|mkt_tok|_hs\w+|igshid|vero_\w+|oly_\w+_id"
    r"|wickedid|yclid|s_cid|trk\w*|elq\w*|sc_\w+|ref_src|cmpid)",
    re.IGNORECASE,
)
# A token that identifies a single reader: letters and digits, longer than any word.
OPAQUE = re.compile(r"(?=[^/?&=]*\d)(?=[^/?&=]*[A-Za-z])[\w%+~.-]{48,}")
NESTED = 3


def plain_links(text: str) -> tuple[str, list[tuple[str, int]]]:
    """`text` with plain links, and each changed link with the number of characters removed.

    A link wrapped by Outlook's Safe Links or Proofpoint is replaced by the original. Tracking
    parameters are removed, and so is everything from the first opaque token of 48 characters or
    more. A link never becomes longer.
    """
    cut: list[tuple[str, int]] = []
    if "://" not in text:
        return text, cut

    def shorter(found: re.Match[str]) -> str:
        link = found[0].rstrip(".,;:!?")
        if len(link) < SHORTEST:
            return found[0]
        plain = plain_link(link)
        if len(plain) >= len(link):
            return found[0]
        cut.append((link, len(link) - len(plain)))
        return plain + found[0][len(link) :]

    return URL.sub(shorter, text), cut


def plain_link(link: str) -> str:
    """The plain form of one link; see `plain_links`."""
    for _ in range(NESTED):
        inner = _wrapped(link)
        if inner is None:
            break
        link = inner
    try:
        parts = urlsplit(link)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:  # an invalid host, or too many fields
        return link
    kept = [(name, value) for name, value in pairs if not TRACKING.fullmatch(name)]
    if len(kept) < len(pairs):
        link = urlunsplit(parts._replace(query=urlencode(kept)))
    begin = len(parts.scheme) + len("://") + len(parts.netloc)
    opaque = OPAQUE.search(link, begin)
    return link[: opaque.start()].rstrip("?&=/") if opaque else link


def _wrapped(link: str) -> str | None:
    """The original of a link that a gateway wrapped; None if it is not wrapped."""
    try:
        parts = urlsplit(link)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    if host.endswith(SAFE_LINKS):
        inner = dict(parse_qsl(parts.query)).get("url", "")
    elif PROOFPOINT.match(link):
        if found := PROOFPOINT_3.search(link):
            inner = found[1]
        else:
            inner = unquote(
                dict(parse_qsl(parts.query)).get("u", "").replace("-", "%").replace("_", "/")
            )
    else:
        return None
    return inner if URL.fullmatch(inner) else None
