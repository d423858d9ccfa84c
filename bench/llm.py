"""Queries and judgments per second: CustomIR's LLM engine beside llama-cpp-python's own interface.

All contenders use the same model, threads, prompts and token limits. Each round runs all of them in turn, and
ratios are medians over the rounds. The peers are

    reuse   a loop over `Llama.create_completion`, which reuses the prefix shared with the prompt before it
    plain   the same without reuse
    chat    for judging: `create_chat_completion`, which writes its answer, with and without reuse

Queries are written in two ways: one query for each mail, and one in each style for each mail, as `customir
adapt` does. A loop judges pairs query by query, as mining finds them. CustomIR sorts them by passage, so
`reuse` is also measured in that order. "Tokens computed" are those that llama_decode processed. The last part
measures prefill before and after a model is requantised. Flash attention is on for the peer on a GPU and off on
a CPU, which is its default and faster there.

    python bench/llm.py --parts styles judging
    python bench/llm.py --device cuda --rounds 2 --peers reuse
    python bench/llm.py --quick
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp

from customir import models
from customir.llm import Engine, Prompt, Sampling
from customir.llm.requantize import FORMATS, measure_speed, requantize
from customir.negatives.judge import Pair, answer_prompt, relevance
from customir.processors import usable_processors
from customir.queries.styles import ENGLISH, STYLES

PARTS = ("one", "styles", "judging", "formats")
PEERS = ("reuse", "plain", "chat")
OURS, REUSE, PLAIN = "CustomIR", "create_completion", "create_completion, no reuse"
BY_QUERY = "create_completion, query by query"
CHAT, CHAT_REUSE = "chat completion, no reuse", "chat completion"
# CustomIR's own judge: the same passages and queries with another prompt.
LIKELIHOOD = "CustomIR, query likelihood"
# The defaults of `customir adapt`.
SAMPLING = Sampling(temperature=0.7, max_tokens=32)
VERDICT_TOKENS = 8
SHOWN = 2
# Queries in this style are of average length, about 8 words.
ONE_STYLE = "need"
ONE_CUE = ENGLISH.cues[ONE_STYLE]
QUERIES_PER_PASSAGE = 4
SENTENCES = (
    "The {thing} in {place} stopped working on {day}, and nobody knows whom to call about it.",
    "{person} asked for a signature until {day}, otherwise the order for the {thing} is cancelled.",
    "Please move the {thing} to {place}, next to the stairs, so that {person} can reach it.",
    "It costs forty percent more than last year, and {person} wants to know the reason.",
    "A technician looks at the {thing} on {day} in the morning; {person} has the key for {place}.",
    "We had the same last spring, and {person} kept the paperwork in the blue folder.",
)
WORDS = {
    "thing": ("coffee machine", "payroll export", "badge reader", "backup server", "water heater"),
    "place": ("hall two", "the second floor", "the harbour office", "room 214", "the warehouse"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "person": ("Marta", "Mr Osei", "Chiara", "Deniz", "the bookkeeper"),
}


@dataclass
class Round:
    """One round of one contender: wall-clock and processor seconds, items, tokens computed."""

    seconds: float
    processor: float
    items: int
    tokens: int

    @property
    def rate(self) -> float:
        return self.items / self.seconds


class Peer(llama_cpp.Llama):
    """llama-cpp-python's own interface, with a count of the tokens that it evaluates."""

    computed = 0

    def eval(self, tokens: Any) -> None:
        self.computed += len(tokens)
        super().eval(tokens)


def mails(count: int) -> list[str]:
    """Generated mail of 100 to 150 tokens."""
    random_source = random.Random(0)
    texts = []
    for _ in range(count):
        lines = random_source.sample(SENTENCES, 5) + random_source.sample(SENTENCES, 1)
        texts.append(
            " ".join(
                line.format(**{name: random_source.choice(words) for name, words in WORDS.items()})
                for line in lines
            )
        )
    return texts


def one_per_mail(passages: list[str]) -> list[Prompt]:
    """A prompt for one query per mail, after a few-shot prefix of about 170 tokens."""
    examples = (
        f"Passage: {example.passage}\n{ONE_CUE} {example.queries[ONE_STYLE]}\n\n"
        for example in ENGLISH.examples[:SHOWN]
    )
    shared = f"{ENGLISH.instruction}\n\n" + "".join(examples)
    return [Prompt(shared, f"Passage: {passage}\n", ONE_CUE) for passage in passages]


def every_style(passages: list[str]) -> list[Prompt]:
    """A prompt for each style and mail, with examples of all styles, as `customir adapt` has them."""
    return [ENGLISH.prompt(passage, style, 0) for passage in passages for style in STYLES]


def judged_pairs(passages: list[str]) -> list[Pair]:
    """Four pairs for each mail, in the order of their queries, as mining has them."""
    pairs = [
        Pair(ENGLISH.examples[(number + step) % len(ENGLISH.examples)].queries[ONE_STYLE], passage)
        for number, passage in enumerate(passages)
        for step in range(QUERIES_PER_PASSAGE)
    ]
    return sorted(pairs, key=lambda pair: pair.query)


def full_text(prompt: Prompt) -> str:
    return prompt.shared + prompt.branch + prompt.leaf


def write_by_peer(peer: Peer, prompts: list[Prompt], reuse: bool) -> None:
    for number, prompt in enumerate(prompts):
        if not reuse:
            peer.reset()
        peer.create_completion(
            full_text(prompt),
            max_tokens=SAMPLING.max_tokens,
            temperature=SAMPLING.temperature,
            top_k=SAMPLING.top_k,
            top_p=1.0,
            min_p=SAMPLING.min_p,
            stop=["\n"],
            seed=number,
        )


def judge_by_peer(peer: Peer, prompts: list[Prompt]) -> None:
    for prompt in prompts:
        peer.create_completion(full_text(prompt), max_tokens=1, temperature=0.0)


def judge_by_chat(peer: Peer, prompts: list[Prompt], reuse: bool) -> None:
    for prompt in prompts:
        if not reuse:
            peer.reset()
        peer.create_chat_completion(
            [{"role": "user", "content": full_text(prompt)}],
            max_tokens=VERDICT_TOKENS,
            temperature=0.0,
        )


def timed(work: Callable[[], object], items: int, counter: Callable[[], int]) -> Round:
    before, start, processor = counter(), time.perf_counter(), time.process_time()
    work()
    return Round(
        time.perf_counter() - start, time.process_time() - processor, items, counter() - before
    )


def compare(
    contenders: dict[str, tuple[Callable[[], object], Callable[[], int]]], items: int, rounds: int
) -> dict[str, list[Round]]:
    """Every contender in turn, `rounds` times."""
    results: dict[str, list[Round]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (work, counter) in contenders.items():
            results[name].append(timed(work, items, counter))
    return results


def report(title: str, results: dict[str, list[Round]], measured: str) -> list[dict[str, Any]]:
    """Print a table; return the claims."""
    print(
        f"\n{measured}\n{title:38} per second   tokens computed   ratio   processor s   ratio of these"
    )
    claims = []
    ours = results[OURS]
    for name, rounds in results.items():
        rate = statistics.median(each.rate for each in rounds)
        ratio = statistics.median(
            own.rate / each.rate for own, each in zip(ours, rounds, strict=True)
        )
        tokens = round(statistics.median(each.tokens for each in rounds))
        processor = statistics.median(each.processor for each in rounds)
        # Processor time says more than the clock on a machine that has other work to do.
        processor_ratio = statistics.median(
            each.processor / own.processor for own, each in zip(ours, rounds, strict=True)
        )
        print(
            f"  {name:36} {rate:8.3f} {tokens:17} {ratio:7.2f} {processor:13.1f} {processor_ratio:16.2f}",
            flush=True,
        )
        if name != OURS:
            claims.append(
                {
                    "claim": title,
                    "ours": round(statistics.median(each.rate for each in ours), 3),
                    "peer": name,
                    "peer_figure": round(rate, 3),
                    "ratio": round(ratio, 2),
                    "ratio_of_processor_seconds": round(processor_ratio, 2),
                    "measured_on": measured,
                }
            )
    return claims


def compare_formats(model: str, threads: int) -> list[dict[str, Any]]:
    """Claims about prefill of a model as it is, and requantised."""
    source = models.locate(model)
    with Engine(source, device="cpu", threads=threads) as engine:
        base = measure_speed(engine).prefill
    print(f"prefill, {model:29} tokens per second\n  {'as it is':36} {base:8.0f}")
    claims = []
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            path_of_format = Path(folder) / f"{name}.gguf"
            requantize(source, path_of_format, name, threads)
            with Engine(path_of_format, device="cpu", threads=threads) as engine:
                prefill = measure_speed(engine).prefill
            print(f"  {name:36} {prefill:8.0f} {'':17} {prefill / base:7.2f}", flush=True)
            claims.append(
                {
                    "claim": "prefill, tokens per second",
                    "ours": round(prefill),
                    "peer": f"{source.name} as it is",
                    "peer_figure": round(base),
                    "ratio": round(prefill / base, 2),
                    "measured_on": f"{model} as {name}, {threads} threads, 512-token batch",
                }
            )
    return claims


def compare_writing(
    title: str,
    engine: Engine,
    peer: Peer,
    peers: list[str],
    prompts: list[Prompt],
    rounds: int,
    measured: str,
) -> tuple[list[dict[str, Any]], float]:
    """Let every contender answer each prompt; return the claims, and our tokens per second."""
    seeds = range(len(prompts))
    tokens: list[int] = []

    def ours() -> None:
        before = engine.usage.written
        engine.generate(prompts, seeds, SAMPLING)
        tokens.append(engine.usage.written - before)

    contenders: dict[str, tuple[Callable[[], object], Callable[[], int]]] = {
        OURS: (ours, lambda: engine.usage.computed),
    }
    if "reuse" in peers:
        contenders[REUSE] = (lambda: write_by_peer(peer, prompts, True), lambda: peer.computed)
    if "plain" in peers:
        contenders[PLAIN] = (lambda: write_by_peer(peer, prompts, False), lambda: peer.computed)
    # Work that happens only once, such as loading a GPU's kernels, is not part of a round.
    engine.generate(prompts[-2:], seeds[-2:], SAMPLING)
    write_by_peer(peer, prompts[-1:], reuse=True)
    results = compare(contenders, len(prompts), rounds)
    length = statistics.median(tokens) / len(prompts)
    claims = report(title, results, f"{measured}; answers of {length:.1f} tokens on average")
    return claims, max(each.tokens / each.seconds for each in results[OURS])


def compare_judging(
    engine: Engine, peer: Peer, peers: list[str], pairs: list[Pair], rounds: int, measured: str
) -> list[dict[str, Any]]:
    """Let every contender judge each pair; return the claims."""
    prompts = [answer_prompt(pair) for pair in pairs]
    pairs_by_passage = sorted(pairs, key=lambda pair: pair.passage)
    by_passage = [answer_prompt(pair) for pair in pairs_by_passage]
    contenders: dict[str, tuple[Callable[[], object], Callable[[], int]]] = {
        OURS: (lambda: engine.choice(by_passage, "Yes", "No"), lambda: engine.usage.computed),
        LIKELIHOOD: (lambda: relevance(engine, pairs_by_passage), lambda: engine.usage.computed),
    }
    if "reuse" in peers:
        contenders[BY_QUERY] = (lambda: judge_by_peer(peer, prompts), lambda: peer.computed)
        contenders[REUSE] = (lambda: judge_by_peer(peer, by_passage), lambda: peer.computed)
    if "chat" in peers:
        for name, reuse in ((CHAT_REUSE, True), (CHAT, False)):
            contenders[name] = (
                lambda reuse=reuse: judge_by_chat(peer, by_passage, reuse),  # type: ignore[misc]
                lambda: peer.computed,
            )
    engine.choice(prompts[-1:], "Yes", "No")
    judge_by_peer(peer, prompts[-1:])
    return report("judgments per second", compare(contenders, len(pairs), rounds), measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6 mails, 1 round, the smaller model")
    parser.add_argument("--model", help="a name, or a GGUF file")
    parser.add_argument(
        "--formats-of", default="smollm2-135m", help="the model whose formats are compared"
    )
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--threads", type=int, default=usable_processors())
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument(
        "--weights", choices=FORMATS, help="requantise the model first, for all contenders"
    )
    arguments = parser.parse_args()
    claims: list[dict[str, Any]] = []
    if set(arguments.parts) - {"formats"}:
        with tempfile.TemporaryDirectory() as folder:
            claims += compare_engines(arguments, Path(folder))
    if "formats" in arguments.parts and arguments.device == "cpu":
        claims += compare_formats(arguments.formats_of, arguments.threads)
    print(json.dumps({"bench": "llm", "claims": claims}))


def compare_engines(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The claims about writing and judging."""
    model = arguments.model or ("smollm2-135m" if arguments.quick else "qwen2.5-coder-0.5b")
    count, rounds = (6, 1) if arguments.quick else (24, 3)
    if arguments.device == "cuda":
        # A GPU is faster with more sequences.
        count *= 4
    rounds, threads = arguments.rounds or rounds, arguments.threads
    path, name = models.locate(model), model
    if arguments.weights:
        source, path = path, folder / f"{arguments.weights}.gguf"
        requantize(source, path, arguments.weights, threads)
        name = f"{model} as {arguments.weights}"
    passages = mails(count)
    # The slower contenders would take a minute per round for all of them.
    few_passages = passages[: max(3, count // 3)]
    peer = Peer(
        str(path), n_ctx=2048, n_batch=512, n_threads=threads, n_threads_batch=threads,
        flash_attn=arguments.device == "cuda",
        n_gpu_layers=-1 if arguments.device == "cuda" else 0, verbose=False,
    )  # fmt: skip
    claims: list[dict[str, Any]] = []
    rates = {}
    with Engine(path, device=arguments.device, threads=threads) as engine:
        lengths = sorted(map(engine.count_tokens, passages))

        def measured(prompts: list[Prompt], mails: int) -> str:
            return (
                f"{name}, {threads} threads, {arguments.device}; prefix of "
                f"{engine.count_tokens(prompts[0].shared)} tokens, {mails} mails of {lengths[0]} to "
                f"{lengths[-1]}; {len(prompts)} prompts, median of {rounds}"
            )

        for part, title, prompts, mail_count in (
            ("one", "queries per second, one for each mail", one_per_mail(passages), len(passages)),
            (
                "styles",
                "queries per second, one in each style",
                every_style(few_passages),
                len(few_passages),
            ),
        ):
            if part in arguments.parts:
                new_claims, rates[title] = compare_writing(
                    title,
                    engine,
                    peer,
                    arguments.peers,
                    prompts,
                    rounds,
                    measured(prompts, mail_count),
                )
                claims += new_claims
        if "judging" in arguments.parts:
            pairs = judged_pairs(passages[: max(3, 2 * count // 3)])
            measured_text = measured(
                [answer_prompt(pair) for pair in pairs], len(pairs) // QUERIES_PER_PASSAGE
            )
            claims += compare_judging(engine, peer, arguments.peers, pairs, rounds, measured_text)
        prefill = measure_speed(engine).prefill
        print(
            f"the limit: prefill reads a batch of 500 tokens at {prefill:.0f} tokens per second. Contenders compute, as a share of it:"
        )
        for title, rate in rates.items():
            print(f"  {title:36} {rate:8.0f} {rate / prefill:25.0%}")
    peer.close()
    return claims


if __name__ == "__main__":
    main()
