"""The LLM writes queries for sampled passages."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from customir.errors import UserError
from customir.llm import Llm, Prompt, Sampling
from customir.progress import Reporter
from customir.queries.languages import prompt_languages
from customir.queries.styles import ENGLISH, STYLES, PromptLanguage
from customir.settings import QuerySettings
from customir.workspace import Unit, Workspace, complete, content_key
from customir.workspace.passages import Passage

# Longer passages are truncated to this many of the LLM's tokens, because most of the time is prefill.
PASSAGE_TOKENS = 256
SHORTEST_PASSAGE_TOKENS = 32
# How many passages share one call of the engine and one transaction.
PASSAGES_PER_BATCH = 16


@dataclass(frozen=True)
class Request:
    """One query to write. `variant` distinguishes queries of one style for one passage."""

    passage: Passage
    language: PromptLanguage
    style: str
    rotation: int
    variant: int
    seed: int


@dataclass(frozen=True)
class Written:
    """A query as the LLM wrote it. `key` is the key of its unit of work."""

    key: str
    request: Request
    text: str


def requests(
    passages: Sequence[Passage],
    settings: QuerySettings,
    seed: int,
) -> list[Request]:
    """The queries to write: the styles of each passage in turn.

    They are sorted so that queries whose prompts show the same examples are adjacent.
    """
    planned = []
    styles = [style for style in STYLES if style in settings.styles]
    for passage, language in zip(passages, prompt_languages(passages), strict=True):
        rotation = int(content_key("rotation", seed, passage.key)[:8], 16)
        for number in range(settings.queries_per_passage):
            # Passages begin with different styles, so that few queries per passage still cover all styles.
            style = styles[(number + rotation) % len(styles)]
            variant = number // len(styles)
            draw = int(content_key("draw", seed, passage.key, style, variant)[:8], 16)
            shown = rotation % len(language.rotations)
            planned.append(Request(passage, language, style, shown, variant, draw))
    return sorted(planned, key=lambda r: (r.language.code, r.rotation, r.passage.key, r.variant))


def generate_queries(
    workspace: Workspace,
    stage: str,
    engine: Llm,
    model_key: str,
    passages: Sequence[Passage],
    settings: QuerySettings,
    seed: int,
    reporter: Reporter,
) -> list[Written]:
    """Write a query for each passage and style, except those that the workspace already has.

    Args:
        model_key: SHA-256 of the GGUF file; part of each query's key.
    """
    sampling = Sampling(settings.temperature, settings.max_tokens)
    units = []
    planned = requests(passages, settings, seed)
    if any(request.language is not ENGLISH for request in planned):
        reporter.say(f"  passages by language: {_by_language(planned)}")
    for request in planned:
        empty = request.language.prompt("", request.style, request.rotation)
        room = engine.room(empty, sampling.max_tokens)
        if room < SHORTEST_PASSAGE_TOKENS:
            raise UserError(
                f"The LLM's context leaves {room} tokens for a passage besides the examples, which is too "
                "few. Choose another LLM."
            )
        text = engine.truncate(request.passage.content, min(PASSAGE_TOKENS, room))
        prompt = request.language.prompt(text, request.style, request.rotation)
        key = content_key(
            "query", model_key, prompt.shared, prompt.branch, prompt.leaf,
            sampling.temperature, sampling.max_tokens, sampling.top_k, sampling.min_p,
            request.seed,
        )  # fmt: skip
        units.append(Unit(key, _Work(request, prompt)))

    def compute(batch: Sequence[_Work]) -> list[bytes]:
        answers = engine.generate(
            [work.prompt for work in batch], [work.request.seed for work in batch], sampling
        )
        return [answer.encode() for answer in answers]

    found = complete(
        workspace, stage, "query", units, compute, _batches, reporter, "writing queries"
    )
    return [Written(unit.key, unit.work.request, found[unit.key].decode()) for unit in units]


def _by_language(planned: Sequence[Request]) -> str:
    """How many passages the LLM writes for in each language, and what it is shown."""
    passages = {request.passage.key: request.language for request in planned}
    counts = Counter(passages.values()).most_common()
    return ", ".join(
        f"{count} {language.code} (examples: {language.origin})" for language, count in counts
    )


@dataclass(frozen=True)
class _Work:
    request: Request
    prompt: Prompt


def _batches(units: Sequence[Unit[_Work]]) -> list[list[Unit[_Work]]]:
    """Split the units into batches of whole passages.

    All units of a batch have the same language and rotation, so that the shared part of their prompts is
    computed once per call.
    """
    batches: list[list[Unit[_Work]]] = []
    in_batch: set[str] = set()
    shared = ""
    for unit in units:
        request = unit.work.request
        full = len(in_batch) == PASSAGES_PER_BATCH and request.passage.key not in in_batch
        if full or unit.work.prompt.shared != shared:
            batches.append([])
            in_batch, shared = set(), unit.work.prompt.shared
        in_batch.add(request.passage.key)
        batches[-1].append(unit)
    return batches
