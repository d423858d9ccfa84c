"""The LLM as a judge of relevance: the log-odds of Yes against No after one prefill.

The passage stands before the query: it is the longer of the two, so where several queries meet one
passage it is computed once; and it measured better than the query first (docs/judge.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from customir.llm import Engine, Prompt
from customir.progress import Reporter
from customir.workspace import Unit, Workspace, complete, content_key

PASSAGE_TOKENS = 128
# Pairs that share one call of the engine, and one transaction.
PAIRS_A_BATCH = 64

INSTRUCTION = "Is this passage what the searcher is looking for? Answer Yes or No.\n\n"
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
SHARED = INSTRUCTION + "".join(
    f"Passage: {passage}\nSearch: {query}\nRelevant: {answer}\n\n"
    for passage, query, answer in EXAMPLES
)


@dataclass(frozen=True)
class Pair:
    """A query and a passage, as texts."""

    query: str
    passage: str


def judge_prompt(pair: Pair) -> Prompt:
    """The prompt whose next token is Yes or No."""
    return Prompt(
        shared=SHARED,
        branch=f"Passage: {pair.passage}\n",
        leaf=f"Search: {pair.query}\nRelevant:",
    )


def judge(
    workspace: Workspace,
    stage: str,
    engine: Engine,
    model_key: str,
    pairs: Sequence[Pair],
    reporter: Reporter,
) -> np.ndarray:
    """Log-odds of Yes against No in nats, float64 (len(pairs),); known ones from the workspace.

    Args:
        model_key: SHA-256 of the GGUF file; part of each judgment's key.
    """
    units = []
    for pair in pairs:
        prompt = judge_prompt(
            Pair(pair.query, engine.truncate(pair.passage, PASSAGE_TOKENS).replace("\n", " "))
        )
        key = content_key("judgment", model_key, prompt.shared, prompt.branch, prompt.leaf)
        units.append(Unit(key, prompt))

    def compute(batch: Sequence[Prompt]) -> list[bytes]:
        odds = engine.choice(batch, "Yes", "No")
        return [np.float64(value).tobytes() for value in odds]

    # Sorted, so that the queries of one passage stand together.
    ordered = sorted(units, key=lambda unit: (unit.work.branch, unit.work.leaf))
    found = complete(
        workspace, stage, "judgment", ordered, compute, PAIRS_A_BATCH, reporter, "judging"
    )
    return np.array([np.frombuffer(found[unit.key])[0] for unit in units], dtype=np.float64)
