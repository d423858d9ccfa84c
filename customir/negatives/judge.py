"""The LLM as a judge of relevance: how much likelier a query is after a passage than after none.

This is their pointwise mutual information under the LLM. It is the score of Sachan et al. (2022,
arXiv 2204.07496) minus the query's own log-likelihood, so that the scores of different queries are
comparable. It distinguishes relevant pairs from others far better than the LLM's answer Yes or No
(docs/results/judge.md). LLM servers on other machines cannot return the likelihood of a text, so
they answer Yes or No.

In both prompts the passage precedes the query. The passage is the longer of the two, and it is
computed only once for several queries. The answers Yes and No also measured better in this order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from customir.llm import Engine, Llm, Prompt
from customir.progress import Reporter
from customir.workspace import Unit, Workspace, complete, content_key

PASSAGE_TOKENS = 128
# How many pairs share one call of the engine and one transaction.
PAIRS_PER_BATCH = 64

EXAMPLES = (
    (
        "Supplier audit Rotterdam. The auditors moved the visit to the 14th because the cold store "
        "is being defrosted that week. Book two rooms at the hotel near the port.",
        "why was the supplier inspection postponed",
        "Yes",
    ),
    (
        "The nightly job dies after six hours with a broken pipe. I raised ServerAliveInterval and "
        "split the archive; since then three runs went through.",
        "parental leave deadline",
        "No",
    ),
    (
        "Invoice 4471. We were charged twice for the March licences. Could you refund the second "
        "payment and send a corrected invoice?",
        "double charge refund",
        "Yes",
    ),
    (
        "The sensor drifts when the housing warms up. A low-tempco reference resistor brought it "
        "down to 0.05 bar.",
        "how to calibrate a flow meter",
        "No",
    ),
)
INSTRUCTION = "Is this passage what the searcher is looking for? Answer Yes or No.\n\n"
ANSWERED = INSTRUCTION + "".join(
    f"Passage: {passage}\nSearch: {query}\nRelevant: {answer}\n\n"
    for passage, query, answer in EXAMPLES
)
SEARCHED = "".join(
    f"Passage: {passage}\nSearch: {query}\n\n"
    for passage, query, answer in EXAMPLES
    if answer == "Yes"
)
NO_PASSAGE = "(nothing)"


@dataclass(frozen=True)
class Pair:
    """A query and a passage, as texts."""

    query: str
    passage: str


@dataclass(frozen=True)
class _Asked:
    """A prompt, and the continuation whose likelihood is requested; None requests Yes or No."""

    prompt: Prompt
    continuation: str | None

    @property
    def parts(self) -> tuple[str, str, str, str | None]:
        return self.prompt.shared, self.prompt.branch, self.prompt.leaf, self.continuation


def answer_prompt(pair: Pair) -> Prompt:
    """The prompt whose next token is Yes or No."""
    return Prompt(
        shared=ANSWERED,
        branch=f"Passage: {pair.passage}\n",
        leaf=f"Search: {pair.query}\nRelevant:",
    )


def search_prompt(passage: str) -> Prompt:
    """The prompt whose continuation is a query for the passage."""
    return Prompt(shared=SEARCHED, branch=f"Passage: {passage}\n", leaf="Search:")


def relevance(engine: Llm, pairs: Sequence[Pair]) -> np.ndarray:
    """Scores in nats, float64 (len(pairs),), higher for relevant pairs. Nothing is stored."""
    return _score(engine, pairs, lambda asked, _: _ask(engine, asked))


def judge(
    workspace: Workspace,
    stage: str,
    engine: Llm,
    model_key: str,
    pairs: Sequence[Pair],
    reporter: Reporter,
) -> np.ndarray:
    """The scores of `relevance`; known scores are read from the workspace.

    Args:
        model_key: SHA-256 of the GGUF file; part of each judgment's key.
    """

    def kept(asked: Sequence[_Asked], title: str) -> list[float]:
        units = [Unit(content_key("judgment", model_key, *one.parts), one) for one in asked]
        # Sorted so that the queries of one passage are adjacent.
        ordered = sorted(units, key=lambda unit: (unit.work.prompt.branch, str(unit.work.parts)))

        def compute(batch: Sequence[_Asked]) -> list[bytes]:
            return [np.float64(value).tobytes() for value in _ask(engine, batch)]

        found = complete(
            workspace, stage, "judgment", ordered, compute, PAIRS_PER_BATCH, reporter, title
        )
        return [float(np.frombuffer(found[unit.key])[0]) for unit in units]

    return _score(engine, pairs, kept)


def _score(
    engine: Llm,
    pairs: Sequence[Pair],
    ask: Callable[[Sequence[_Asked], str], list[float]],
) -> np.ndarray:
    """Scores from the answers of `ask`, which also receives the title of the task."""
    if not isinstance(engine, Engine):
        answers = [_Asked(answer_prompt(_cut(engine, pair)), None) for pair in pairs]
        return np.array(ask(answers, "judging"), dtype=np.float64)
    after, alone = [], []
    for pair in pairs:
        continuation = f" {pair.query}"
        cut = _cut(engine, pair)
        after.append(_Asked(search_prompt(cut.passage), continuation))
        alone.append(_Asked(search_prompt(NO_PASSAGE), continuation))
    own = np.array(ask(alone, "reading queries"), dtype=np.float64)
    return np.array(ask(after, "judging"), dtype=np.float64) - own


def _ask(engine: Llm, asked: Sequence[_Asked]) -> list[float]:
    prompts = [one.prompt for one in asked]
    if not isinstance(engine, Engine):
        return engine.choice(prompts, "Yes", "No")
    return engine.score(prompts, [one.continuation or "" for one in asked])


def _cut(engine: Llm, pair: Pair) -> Pair:
    """The pair with its passage truncated so that the query fits into the longer prompt."""
    room = engine.room(answer_prompt(Pair(pair.query, "")), max_tokens=0)
    tokens = max(0, min(PASSAGE_TOKENS, room))
    return Pair(pair.query, engine.truncate(pair.passage, tokens).replace("\n", " "))
