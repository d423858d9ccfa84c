"""Typing in the search page: milliseconds from a key to the hits on the screen, in a real browser.

Chromium types queries of the corpus letter by letter into the page of `customir serve`, one letter
each 200 milliseconds. Measured is from the key's event to the frame that shows the hits of what
stands in the box, so that the page's own pause, the network, the search and the drawing are in it.
DIR is one that is indexed already (`customir index demo/mail.mbox --out mail`), and its own example
queries are typed; without it, texts are generated. Needs chromedriver and Chromium. There is no peer: the claim is an upper limit.

    python bench/page.py mail
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from serve import SERVE, generated, prepare

from customir.runtime.search import Searcher

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from browser import DRIVER, Browser, started_browser

LIMIT = 150  # milliseconds, at the median
LETTER_MILLISECONDS = 200
TYPE = """
const [text, pause] = arguments, box = document.getElementById("query");
const list = document.getElementById("list"), times = [];
const wait = milliseconds => new Promise(done => setTimeout(done, milliseconds));
const shown = () => new Promise(done => {
  const watching = new MutationObserver(() => {
    watching.disconnect();
    requestAnimationFrame(() => setTimeout(done));  // the frame is drawn
  });
  watching.observe(list, { childList: true });
});
box.value = "";
return (async () => {
  for (const letter of text) {
    const begun = performance.now();
    box.value += letter;
    box.dispatchEvent(new InputEvent("input"));
    if (letter !== " ") {
      await shown();
      times.push(performance.now() - begun);
    }
    await wait(Math.max(0, pause - (performance.now() - begun)));
  }
  return times;
})();
"""


def measure(browser: Browser, link: str, queries: list[str]) -> list[float]:
    """Milliseconds of every letter but the first query's, which only warms up."""
    browser.open(link)
    browser.wait("document.querySelector('.overview')")
    times = [browser.run(TYPE, query, LETTER_MILLISECONDS) for query in queries]
    return [one for each in times[1:] for one in each]


def queries_of(folder: Path) -> list[str]:
    """The queries that the page proposes."""
    with Searcher(folder) as searcher:
        return list(searcher.about().examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="DIR; without, an index of texts")
    parser.add_argument("--query", action="append", help="type this (again and again)")
    parser.add_argument("--quick", action="store_true", help="500 texts")
    parser.add_argument("--texts", type=int, default=10_000, help="how many are generated")
    parser.add_argument("--model", default="minilm", help="a name, or a folder")
    arguments = parser.parse_args()
    if DRIVER is None:
        sys.exit("chromedriver is not installed.")
    with tempfile.TemporaryDirectory() as scratch, started_browser() as browser:
        folder = arguments.folder
        if folder is None:
            folder = Path(scratch)
            texts = generated(500 if arguments.quick else arguments.texts)
            prepare(folder, texts, arguments.model)
            chosen = random.Random(0).sample(texts, 6)
            queries = [" ".join(text.split()[:4]) for text in chosen]
        else:
            queries = arguments.query or queries_of(folder)
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(folder), "--port", "0", "--no-access-log"],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            link = process.stderr.readline().split()[0]
            times = measure(browser, link, queries)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    p50, p95 = np.percentile(np.array(times), [50, 95])
    print(f"{len(times)} letters: median {p50:.0f} ms, 95th percentile {p95:.0f} ms")
    claim = {
        "claim": "milliseconds from a key to the hits on the screen",
        "ours": round(float(p50)),
        "p95": round(float(p95)),
        "limit": LIMIT,
        "ratio": round(LIMIT / float(p50), 2),
        "on": str(arguments.folder or f"{len(texts)} generated texts"),
    }
    print(json.dumps(claim))


if __name__ == "__main__":
    main()
