"""How much of authors' own text the cleaning cuts from real mail, and how much of others' it leaves.

Nobody annotates thousands of mails, but a thread does: what a mail quotes is in another message of the
thread. A line that was cut as a quote and whose words are in no other message is the author's own, or
quotes mail that the mailbox lacks. Such lines without a quote mark are printed, to be read. A long line
that was kept although an earlier message has its words was left.

    python bench/experiments/own_text.py MAILBOX...
"""

import argparse
import re
from pathlib import Path

from customir.corpus.cleaning import clean
from customir.corpus.document import RawDocument
from customir.corpus.readers import read_source
from customir.text.mail_labels import bare_subject
from customir.text.quotes import EARLIER, QUOTE

WORD = re.compile(r"\w+")
# A line with fewer runs of three words is in two messages by chance.
LEAST_RUNS = 5
UNKNOWN, KNOWN = 0.2, 0.9
MARKS = (">", "|")
Runs = frozenset[tuple[str, ...]]


def runs_of(text: str) -> Runs:
    """The runs of three words in a text."""
    words = WORD.findall(text.lower())
    return frozenset(tuple(words[at : at + 3]) for at in range(len(words) - 2))


def measure(path: Path, most: int) -> None:
    """Print the lines to read, and the sums for one mailbox."""
    mails = [each for each in read_source(path) if isinstance(each, RawDocument)][:most]
    runs = [runs_of(mail.text) for mail in mails]
    threads: dict[str, list[int]] = {}
    for at, mail in enumerate(mails):
        threads.setdefault(bare_subject(mail.title), []).append(at)
    own = unknown = left = 0
    for at, mail in enumerate(mails):
        thread = threads[bare_subject(mail.title)]
        others = frozenset[tuple[str, ...]]().union(*(runs[each] for each in thread if each != at))
        earlier = frozenset[tuple[str, ...]]().union(*(runs[each] for each in thread if each < at))
        cleaned = clean(mail)
        own += len(cleaned.text)
        for line in cleaned.text.split("\n"):
            found = runs_of(line)
            left += len(line) * (
                len(found) >= LEAST_RUNS and len(found & earlier) >= KNOWN * len(found)
            )
        lines = [
            line
            for cut in cleaned.cuts
            if cut.cause in (QUOTE, EARLIER)
            for line in cut.text.split("\n")
        ]
        for line in lines if others else ():
            found = runs_of(line)
            is_unknown = len(found) >= LEAST_RUNS and len(found & others) < UNKNOWN * len(found)
            if is_unknown and not line.lstrip().startswith(MARKS):
                unknown += len(line)
                print(f"  {mail.identifier}: {line[:120]}")
    print(
        f"{path.name}: {len(mails)} mails, {own:,} characters kept; cut without a mark and in no other "
        f"message: {unknown:,} ({unknown / own:.3%}); kept and in an earlier message: {left:,} ({left / own:.2%})"
    )


def main() -> None:
    """Measure each mailbox."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("mailbox", nargs="+", type=Path)
    arguments.add_argument("--most", type=int, default=10_000, help="mails of each mailbox")
    options = arguments.parse_args()
    for path in options.mailbox:
        measure(path, options.most)


if __name__ == "__main__":
    main()
