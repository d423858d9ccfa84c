"""Languages: what the base reads, search by words and vectors, and the LLM's queries, by language.

The texts are sections of Debian's installation guide in each language. Two parts:

search: for each language, the share of unknown tokens, characters per token, and Recall@10 of words,
vectors and hybrid, with several weights of the words. A query is the heading of a section; the passages are
the sections without their headings.

queries: for each language, how many of the LLM's queries pass the filters that read only their text, with the
English prompt and with the prompt of the passage's language.

    apt-get download installation-guide-amd64 && dpkg-deb -x installation-guide-amd64_*.deb guide
    python bench/languages.py --part search
    python bench/languages.py --part queries
    python bench/languages.py --part search --quick
"""

import argparse
import html
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from customir.exporters.int8 import quantize
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import export_onnx
from customir.exporters.similarity import HeldOut
from tokenizers import Tokenizer

from customir import models
from customir.encoder.readability import is_readable, read_with
from customir.llm import Engine, Sampling
from customir.processors import usable_processors
from customir.progress import Silent
from customir.queries.generate import Request, Written
from customir.queries.languages import prompt_languages
from customir.queries.rejected import rejected_by_text
from customir.queries.styles import ENGLISH, STYLES
from customir.runtime.embedder import Embedder
from customir.runtime.fusion import UNREADABLE_WORD_WEIGHT, WORD_WEIGHT
from customir.runtime.generations import INDEX_NAME, MODEL_NAME
from customir.runtime.index import IndexedPassage, build_index
from customir.runtime.index_file import connect, live_generation, vectors
from customir.runtime.index_reader import IndexReader, prepare
from customir.runtime.ranking import Ranker, word_weights
from customir.text.language import language_of
from customir.text.tokenize import length_of, words_of
from customir.workspace.passages import Passage

GUIDE = Path("guide/usr/share/doc/installation-guide-amd64")
# The folders of the guide, by the code of the prompts. The last three have no prompts of their own.
FOLDERS = {
    "en": "en", "de": "de", "es": "es", "fr": "fr", "it": "it", "nl": "nl", "pt": "pt", "ru": "ru",
    "ja": "ja", "zh": "zh_CN", "ko": "ko", "cs": "cs", "da": "da", "sv": "sv",
}  # fmt: skip
HEADING = re.compile(r'<h\d class="title"[^>]*>(.*?)</h\d>', re.DOTALL)
NUMBER = re.compile(r"^[\dA-Z]+(?:\.\d+)*\.\s+")
FEWEST_WORDS, MOST_CHARACTERS = 25, 1200
WEIGHTS = (WORD_WEIGHT, 7.0, 14.0, 28.0, 56.0)
DEPTH = 100
AS_SEARCH = "as search"
TEMPERATURE, MAX_TOKENS, PASSAGE_TOKENS = 0.7, 32, 128
PASSAGES, QUERIES = 8, 2
# The English prompt; that of the passage's language; the same in the LLM's chat template.
ARMS = ("english", "own", "chat")


@dataclass(frozen=True)
class Section:
    """A section of the guide."""

    heading: str
    text: str


def sections(folder: Path, language: str) -> list[Section]:
    """The sections that are in this language and long enough, with distinct headings."""
    found: dict[str, Section] = {}
    for path in sorted(folder.glob("*.html")):
        page = path.read_text("utf-8", "replace").split('<div class="navfooter">')[0]
        pieces = HEADING.split(page)[1:]
        for heading, body in zip(pieces[::2], pieces[1::2], strict=True):
            title = NUMBER.sub("", _plain(heading))
            text = _plain(
                re.sub(r"<pre.*?</pre>|<dl class=.toc.*?</dl>", " ", body, flags=re.DOTALL)
            )
            if length_of(words_of(text)) >= FEWEST_WORDS and language_of(text) == language:
                found.setdefault(title, Section(title, text[:MOST_CHARACTERS]))
    return list(found.values())


def _plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def search(options: argparse.Namespace) -> None:
    """Print a row for each language."""
    tokenizer = Tokenizer.from_file(str(models.locate("minilm") / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    header = [
        "language",
        "sections",
        "unknown",
        "characters per token",
        "readable queries",
        "words",
    ]
    print(*header, "vectors", *(f"hybrid {weight:g}" for weight in WEIGHTS), "as search", sep="\t")
    claims = []
    with tempfile.TemporaryDirectory() as temporary:
        embedder = _exported(Path(temporary), options)
        for language in options.languages:
            found = sections(options.guide / FOLDERS[language], language)[: options.most]
            texts = [section.text for section in found]
            reading = read_with(tokenizer, texts)
            headings = [section.heading for section in found]
            readable = float(np.mean([is_readable(tokenizer, heading) for heading in headings]))
            recalls = recalls_of(found, embedder, Path(temporary) / language)
            figures = [reading.unknown_share, reading.characters_per_token, readable]
            cells = [f"{figure:.3f}" for figure in (*figures, *recalls.values())]
            print(language, len(found), *cells, sep="\t", flush=True)
            ours, peer = recalls[AS_SEARCH], recalls[f"{WORD_WEIGHT:g}"]
            claims.append(
                {"claim": f"Recall@10 of the hybrid, {language}", "ours": round(ours, 3),
                 "peer": "the weight of readable queries", "peer_figure": round(peer, 3),
                 "ratio": round(ours / peer, 3) if peer else None,
                 "measured_on": f"{len(found)} headings of Debian's installation guide"}
            )  # fmt: skip
    print(json.dumps({"bench": "languages", "claims": claims}))


def _exported(folder: Path, options: argparse.Namespace) -> Embedder:
    """The base in INT8, as `customir index` exports it."""
    model = folder / MODEL_NAME
    merge_adapter(models.locate("minilm"), folder, 0.0, model)
    export_onnx(model)
    texts = [section.text for section in sections(options.guide / "en", "en")]
    quantize(model, HeldOut(texts), Silent())
    return Embedder(model, threads=options.threads)


def recalls_of(found: Sequence[Section], embedder: Embedder, folder: Path) -> dict[str, float]:
    """Recall@10 by words, by vectors, and by both with each weight of the words."""
    rows = [
        IndexedPassage(
            f"{row:06}", f"{row:06}", f"{row:06}", "guide", "", "", None, f"{row:06}", f"{row:06}",
            section.text,
        )
        for row, section in enumerate(found)
    ]  # fmt: skip
    path = folder / INDEX_NAME
    build_index(path, rows, embedder, Silent())
    database = connect(path)
    prepare(database)
    generation = live_generation(database)
    assert generation is not None
    ranker = Ranker(reader := IndexReader(database, generation), vectors(database, path), None)
    hits = dict.fromkeys(("words", "vectors", *map("{:g}".format, WEIGHTS), AS_SEARCH), 0)
    queries = embedder.encode([section.heading for section in found], "query")
    for row, section in enumerate(found):
        weights = word_weights(reader, section.heading)
        readable = embedder.reads(section.heading)
        word_weight = WORD_WEIGHT if readable else UNREADABLE_WORD_WEIGHT
        rankings = {
            "words": ranker.by_words(weights, DEPTH),
            "vectors": ranker.by_vector(queries[row], DEPTH),
            AS_SEARCH: ranker.by_both(queries[row], weights, DEPTH, word_weight),
            **{f"{w:g}": ranker.by_both(queries[row], weights, DEPTH, w) for w in WEIGHTS},
        }
        for name, ranking in rankings.items():
            hits[name] += f"{row:06}" in [key for key, _ in ranking[:10]]
    database.close()
    return {name: count / len(found) for name, count in hits.items()}


def queries(options: argparse.Namespace) -> None:
    """Print, for each language and prompt, what became of the LLM's queries."""
    print("language", "prompt", "queries", "kept", "wrong language", "other filters", sep="\t")
    claims = []
    with Engine(models.locate(options.model), device="cpu", threads=options.threads) as engine:
        for language in options.languages:
            passages = [
                Passage(f"{n:032x}", str(n), 0, section.text, f"{n:032x}", section.heading, str(n))
                for n, section in enumerate(_spread(options.guide / FOLDERS[language], language))
            ]
            kept: dict[str, int] = {}
            for arm in options.arms:
                written = write(engine, passages, arm)
                reasons = rejected_by_text(written)
                kept[arm] = reasons.count(None)
                wrong = reasons.count("wrong language")
                rest = len(reasons) - kept[arm] - wrong
                origin = "" if arm == "english" else f" ({written[0].request.language.origin})"
                cells = (len(written), kept[arm], wrong, rest)
                print(language, f"{arm}{origin}", *cells, sep="\t", flush=True)
                for query in written[: options.shown]:
                    print(f"    {query.request.style}: {query.text}")
            if "own" in kept and "english" in kept:
                claims.append(
                    {"claim": f"queries kept, {language}", "ours": kept["own"],
                     "peer": "English prompt", "peer_figure": kept["english"],
                     "ratio": round(kept["own"] / kept["english"], 2) if kept["english"] else None,
                     "measured_on": f"{options.model}, {len(passages) * QUERIES} queries"}
                )  # fmt: skip
    print(json.dumps({"bench": "languages", "claims": claims}))


def _spread(folder: Path, language: str) -> list[Section]:
    """Sections evenly spaced over the guide."""
    found = sections(folder, language)
    return found[:: max(1, len(found) // PASSAGES)][:PASSAGES]


def write(engine: Engine, passages: Sequence[Passage], arm: str) -> list[Written]:
    """Two queries for each passage, the styles in turn, all with the same examples.

    Args:
        arm: One of ARMS.
    """
    languages = [ENGLISH] * len(passages) if arm == "english" else prompt_languages(passages)
    requests = [
        Request(passage, language, STYLES[number % len(STYLES)], 0, turn, number)
        for row, (passage, language) in enumerate(zip(passages, languages, strict=True))
        for turn, number in enumerate(range(QUERIES * row, QUERIES * (row + 1)))
    ]
    prompts = [
        replace(
            request.language.prompt(
                engine.truncate(request.passage.content, PASSAGE_TOKENS), request.style, 0
            ),
            chat=arm == "chat",
        )
        for request in requests
    ]
    seeds = [request.seed for request in requests]
    texts = engine.generate(prompts, seeds, Sampling(TEMPERATURE, MAX_TOKENS))
    return [Written("", request, text) for request, text in zip(requests, texts, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--part", choices=["search", "queries"], required=True)
    add("--guide", type=Path, default=GUIDE, help="the folder with en, de and so on")
    add("--languages", nargs="+", choices=FOLDERS, default=list(FOLDERS))
    add("--arms", nargs="+", choices=ARMS, default=["english", "own"], help="which prompts")
    add("--model", default="qwen2.5-coder-0.5b", help="a name, or a GGUF file")
    add("--shown", type=int, default=0, help="how many queries of each kind to print")
    add("--most", type=int, default=10_000, help="how many sections of each language to search in")
    add("--threads", type=int, default=usable_processors())
    add("--quick", action="store_true", help="three languages, few sections")
    options = parser.parse_args()
    if options.quick:
        options.languages, options.most = ["en", "de", "ja"], 60
    if not options.guide.is_dir():
        print(f"Skipped: there is no {options.guide}.", file=sys.stderr)
        print(json.dumps({"bench": "languages", "claims": []}))
        return
    (search if options.part == "search" else queries)(options)


if __name__ == "__main__":
    main()
