"""How much of what a browser shows of HTML mail is kept, and in order, by converters to text.

The reference is document.body.innerText in headless Chromium without a network. A converter is scored by the
longest common subsequence of its words and the reference's: as a share of the reference (what is kept, in order),
and of its own words (the rest is hidden in a browser, or out of order). Needs chromedriver and the packages of PEERS.

    python bench/experiments/html_converters.py MAILBOX...
"""

import argparse
import email
import json
import random
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from customir.corpus.document import RawMail
from customir.corpus.readers import read_unparsed
from customir.corpus.readers.html import decode_html, html_to_text
from customir.corpus.readers.message import charset_of
from customir.corpus.readers.mime import body_of

MAILS, SHORTEST, PORT = 200, 200, 9599
WORD = re.compile(r"\w+")
# Tags that would change the page, or name another charset than the file's.
REMOVED = re.compile(r"(?is)<script.*?</script>|<meta[^>]*(?:http-equiv|charset)[^>]*>")


def html2text_plain(html: str) -> str:
    """html2text, with text only."""
    import html2text

    converter = html2text.HTML2Text(bodywidth=0)
    converter.ignore_links = converter.ignore_images = converter.ignore_emphasis = True
    converter.ignore_tables = converter.unicode_snob = True
    return str(converter.handle(html))


def inscriptis_plain(html: str) -> str:
    """inscriptis with its defaults."""
    from inscriptis import get_text

    return str(get_text(html))


def resiliparse_plain(html: str) -> str:
    """resiliparse without alternative texts of pictures."""
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(html, alt_texts=False))


def soup_plain(html: str) -> str:
    """BeautifulSoup's text nodes, one per line."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "lxml")
    for tag in soup(["script", "style", "head"]):
        tag.decompose()
    return str(soup.get_text("\n"))


PEERS: dict[str, Callable[[str], str]] = {
    "ours (Lexbor)": html_to_text,
    "html2text": html2text_plain,
    "inscriptis": inscriptis_plain,
    "resiliparse": resiliparse_plain,
    "BeautifulSoup (lxml)": soup_plain,
}


def html_parts(sources: list[Path]) -> list[str]:
    """A random sample of HTML parts."""
    parts: list[str] = []
    for source in sources:
        for item in read_unparsed(source):
            if not isinstance(item, RawMail):
                continue
            for part in email.message_from_bytes(item.content).walk():
                if part.get_content_type() == "text/html" and not part.is_multipart():
                    parts.append(decode_html(body_of(part), charset_of(part)))
    parts = [each for each in parts if len(each) > SHORTEST]
    random.Random(0).shuffle(parts)
    return parts[:MAILS]


def as_shown(parts: list[str]) -> list[str]:
    """The text that Chromium shows for each part."""
    driver = shutil.which("chromedriver")
    assert driver, "chromedriver is needed"
    process = subprocess.Popen([driver, f"--port={PORT}"], stdout=subprocess.DEVNULL)

    def call(method: str, path: str, body: Any = None) -> Any:
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    time.sleep(2)
    arguments = ["--headless=new", "--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
    options = {"goog:chromeOptions": {"args": arguments}, "pageLoadStrategy": "eager"}
    session = call("POST", "/session", {"capabilities": {"alwaysMatch": options}})["sessionId"]
    shown_texts: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        for part in parts:
            page.write_text(REMOVED.sub("", part), encoding="utf-8-sig")
            call("POST", f"/session/{session}/url", {"url": page.as_uri()})
            script = {"script": "return document.body ? document.body.innerText : ''", "args": []}
            shown_texts.append(call("POST", f"/session/{session}/execute/sync", script))
    call("DELETE", f"/session/{session}")
    process.terminate()
    process.wait()
    return shown_texts


def main() -> None:
    """Print the table."""
    from rapidfuzz.distance import LCSseq

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("mailboxes", nargs="+", type=Path)
    parts = html_parts(arguments.parse_args().mailboxes)
    reference = [WORD.findall(each.casefold()) for each in as_shown(parts)]
    print(f"{len(parts)} HTML parts, {sum(map(len, reference)):,} words shown by Chromium")
    for name, convert in PEERS.items():
        start = time.perf_counter()
        texts = []
        for part in parts:
            try:
                texts.append(convert(part))
            except Exception:  # a converter that fails keeps nothing
                texts.append("")
        seconds = time.perf_counter() - start
        words = [WORD.findall(text.casefold()) for text in texts]
        common = sum(map(LCSseq.similarity, words, reference))
        kept, shown = common / sum(map(len, reference)), common / max(sum(map(len, words)), 1)
        print(f"{name:22} kept {kept:.4f}, shown {shown:.4f}, {len(parts) / seconds:.0f} mails/s")


if __name__ == "__main__":
    main()
