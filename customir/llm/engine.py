"""Continuous batching over llama.cpp: one context, many sequences, shared prefixes.

A call's prompts are grouped by their branch. A group's branch is decoded once, each of its tokens
belonging to the sequences of all its leaves, so that no key or value is computed or stored twice.
Groups are admitted as sequences and cache cells fall free; every llama_decode mixes one token of
each answer under way with as many prompt tokens as the batch has room for.

What is guaranteed: a call's results depend on its prompts, seeds and sampling, on the model file,
the engine's sizes and its number of threads; not on earlier calls. They may differ in
floating-point noise, and so now and then in a word, from what the same prompt gives in another
company: callers that must be repeatable make the same calls.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import llama_cpp
import numpy as np

from customir.errors import UserError
from customir.llm.gguf import Gguf, gpu_is_there, last_log
from customir.llm.prompt import Prompt, Sampling, cut_at_sentence

SEQUENCES = 32
CONTEXT_TOKENS = 4096
# With fewer not even the examples and one passage fit.
SMALLEST_CONTEXT = 1024
BATCH_TOKENS = 512
SHARED_SEQUENCE = 0
# Tokens that may come in where the parts of a prompt meet, and the model's BOS.
JOINTS = 8
FLASH_ATTENTION = 1


@dataclass
class Usage:
    """Tokens in the prompts as submitted, tokens really computed, and tokens written."""

    submitted: int = 0
    computed: int = 0
    written: int = 0


@dataclass(eq=False)
class _Leaf:
    """One prompt's own sequence. Its tokens begin at position `start`; `fed` are in the cache.

    Logits are wanted of the token numbered `wanted_from` and those after it. `goes_on` is what
    they are asked about, where that is known: the tokens of a continuation.
    """

    index: int
    tokens: list[int]
    start: int
    wanted_from: int
    goes_on: list[int]
    fed: int = 0
    sequence: int = -1
    sampler: int | None = None
    answer: list[int] = field(default_factory=list)


@dataclass(eq=False)
class _Branch:
    """Prompts that differ in their leaves alone. `cells` of the cache are set aside for them."""

    tokens: list[int]
    leaves: list[_Leaf]
    cells: int
    fed: int = 0


@dataclass(frozen=True)
class _Want:
    """A place in the batch whose logits are wanted, for whom, and for which of its tokens."""

    place: int
    leaf: _Leaf
    token: int

    @property
    def last(self) -> bool:
        """Whether the leaf's prompt ends here."""
        return self.token == len(self.leaf.tokens) - 1


class _Schedule:
    """Which prompts wait, which are in the context, and what room is left there."""

    def __init__(self, max_tokens: int, cells: int) -> None:
        self.prefilling: deque[_Branch] = deque()
        self._max_tokens = max_tokens
        self._all_cells = self._cells = cells
        self._free = deque(range(1, SEQUENCES + 1))
        self._pending: deque[_Branch] = deque()
        self._of_leaf: dict[_Leaf, _Branch] = {}
        self._leaves_left: dict[_Branch, int] = {}

    @property
    def unfinished(self) -> bool:
        return bool(self._pending or self._leaves_left)

    def pend(self, tokens: list[int], leaves: list[_Leaf]) -> None:
        """Queue leaves on one branch; in several parts where they are too many for the context."""
        part: list[_Leaf] = []
        cells = len(tokens)
        for leaf in leaves:
            needed = len(leaf.tokens) + self._max_tokens
            if part and (len(part) == SEQUENCES or cells + needed > self._all_cells):
                self._pending.append(_Branch(tokens, part, cells))
                part, cells = [], len(tokens)
            part.append(leaf)
            cells += needed
        self._pending.append(_Branch(tokens, part, cells))

    def admit(self) -> list[_Leaf]:
        """Move branches from waiting to prefilling while they fit; return their leaves."""
        admitted: list[_Leaf] = []
        while self._pending:
            branch = self._pending[0]
            if len(branch.leaves) > len(self._free) or branch.cells > self._cells:
                break
            self._pending.popleft()
            self._cells -= branch.cells
            self._leaves_left[branch] = len(branch.leaves)
            for leaf in branch.leaves:
                leaf.sequence = self._free.popleft()
                self._of_leaf[leaf] = branch
            admitted.extend(branch.leaves)
            self.prefilling.append(branch)
        return admitted

    def release(self, leaf: _Leaf) -> None:
        """A leaf is done: its sequence is free, and with the branch's last one the branch's cells."""
        self._free.append(leaf.sequence)
        branch = self._of_leaf.pop(leaf)
        self._leaves_left[branch] -= 1
        if not self._leaves_left[branch]:
            del self._leaves_left[branch]
            self._cells += branch.cells


class Engine:
    """A GGUF model that completes and judges many prompts at once. Use as a context manager.

    Args:
        path: GGUF file.
        device: "auto" and "cuda" use a GPU where llama.cpp was built with one.
        threads: CPU threads.

    Raises:
        UserError: the file can't be loaded, or device is "cuda" and llama.cpp has no GPU backend.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int) -> None:
        if device == "cuda" and not gpu_is_there():
            raise UserError(
                "--device cuda: this llama-cpp-python was built without CUDA. Rebuild it with "
                'CMAKE_ARGS="-DGGML_CUDA=on", or use --device cpu.'
            )
        self.usage = Usage()
        self.on_gpu = device != "cpu" and gpu_is_there()
        self._gguf = Gguf(path, use_gpu=self.on_gpu)
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.n_seq_max = SEQUENCES + 1
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = FLASH_ATTENTION
        parameters.kv_unified = True
        parameters.swa_full = True
        parameters.no_perf = True
        # Cells are shared out among sequences, and each of these stays as short as the model was
        # trained for; where memory is short, fewer prompts are in the context at once.
        self.longest_prompt = min(CONTEXT_TOKENS, self._gguf.longest_context)
        self._context_tokens = CONTEXT_TOKENS
        while not (context := self._new_context(parameters)):
            self._context_tokens //= 2
            if self._context_tokens < SMALLEST_CONTEXT:
                self._gguf.close()
                raise UserError(f"{path}: no memory for its context ({last_log()})")
        self._context = context
        self.longest_prompt = min(self.longest_prompt, self._context_tokens)
        self.chat_frame = self._gguf.chat_frame()
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, SEQUENCES + 1)
        self._shared: list[int] = []

    def _new_context(self, parameters: Any) -> Any:
        """A context of `_context_tokens` cells; None where there is no memory for it."""
        parameters.n_ctx = self._context_tokens
        return llama_cpp.llama_init_from_model(self._gguf.model, parameters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the context and the model."""
        if self._context:
            llama_cpp.llama_batch_free(self._batch)
            llama_cpp.llama_free(self._context)
            self._context = None
        self._gguf.close()

    def set_threads(self, threads: int) -> None:
        """Use this many CPU threads from the next call on."""
        llama_cpp.llama_set_n_threads(self._context, threads, threads)

    def count_tokens(self, text: str) -> int:
        """How many tokens the model makes of `text`."""
        return len(self._gguf.tokens(text))

    def truncate(self, text: str, tokens: int) -> str:
        """The start of `text`, at most `tokens` long, cut after a sentence or word."""
        ids = self._gguf.tokens(text)
        if len(ids) <= tokens:
            return text
        cut = b"".join(map(self._gguf.piece, ids[:tokens])).decode("utf-8", "ignore")
        return cut_at_sentence(cut.strip())

    def room(self, prompt: Prompt, max_tokens: int) -> int:
        """How many more tokens `prompt` may have, where an answer has `max_tokens`."""
        before, after = self._frame(chat=prompt.chat)
        parts = (before, prompt.shared, prompt.branch, prompt.leaf, after)
        return self.longest_prompt - max_tokens - sum(map(self.count_tokens, parts)) - JOINTS

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling
    ) -> list[str]:
        """Complete each prompt up to the first line break.

        Args:
            prompts: All with the same `shared`.
            seeds: One a prompt, 0 <= seed < 2**32.

        Returns:
            The answers in order, without surrounding white space.

        Raises:
            ValueError: a prompt is too long for the context.
        """
        answers = [""] * len(prompts)
        schedule = self._plan(prompts, sampling.max_tokens)
        writing: list[_Leaf] = []
        while schedule.unfinished:
            self._batch.n_tokens = 0
            wants = [self._add_next(leaf) for leaf in writing]
            for want in self._prefill(schedule):
                want.leaf.sampler = _new_sampler(sampling, seeds[want.leaf.index])
                writing.append(want.leaf)
                wants.append(want)
            self._decode()
            for want in wants:
                leaf = want.leaf
                if self._sample(leaf, want.place, sampling.max_tokens):
                    continue
                answers[leaf.index] = self._text(leaf.answer)
                llama_cpp.llama_sampler_free(leaf.sampler)
                writing.remove(leaf)
                self._release(leaf, schedule)
        return answers

    def choice(self, prompts: Sequence[Prompt], first: str, second: str) -> list[float]:
        """How much likelier each prompt goes on with `first` than with `second`, decoding nothing.

        Returns:
            Log-odds in nats: log p(first) - log p(second), where an answer's probability is that
            of its first token, summed over lower and upper case and a leading space.

        Raises:
            ValueError: a prompt is too long, or both answers begin with the same token.
        """
        first_ids, second_ids = self._first_tokens(first), self._first_tokens(second)
        if set(first_ids) & set(second_ids):
            raise ValueError(f"{first!r} and {second!r} begin with the same token")
        odds = [0.0] * len(prompts)
        schedule = self._plan(prompts, max_tokens=0)
        while schedule.unfinished:
            self._batch.n_tokens = 0
            wants = self._prefill(schedule)
            self._decode()
            for want in wants:
                logits = self._logits(want.place)
                odds[want.leaf.index] = float(
                    np.logaddexp.reduce(logits[first_ids]) - np.logaddexp.reduce(logits[second_ids])
                )
                self._release(want.leaf, schedule)
        return odds

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[float]:
        """How likely each prompt goes on with its continuation, decoding nothing.

        Returns:
            Log-probability in nats, summed over the continuation's tokens; 0 for an empty one.

        Raises:
            ValueError: a prompt with its continuation is too long for the context.
        """
        scores = [0.0] * len(prompts)
        schedule = self._plan(prompts, max_tokens=0, continuations=continuations)
        while schedule.unfinished:
            self._batch.n_tokens = 0
            wants = self._prefill(schedule)
            self._decode()
            for want in wants:
                leaf = want.leaf
                if leaf.goes_on:
                    logits = self._logits(want.place)
                    token = leaf.goes_on[want.token - leaf.wanted_from]
                    scores[leaf.index] += float(logits[token] - _log_sum_exp(logits))
                if want.last:
                    self._release(leaf, schedule)
        return scores

    def _plan(
        self,
        prompts: Sequence[Prompt],
        max_tokens: int,
        continuations: Sequence[str] | None = None,
    ) -> _Schedule:
        """Group neighbours by branch; make the context hold the shared part and no more."""
        if len({(prompt.shared, prompt.chat) for prompt in prompts}) > 1:
            raise ValueError("the prompts of a call must have the same shared part")
        before, after = self._frame(chat=bool(prompts) and prompts[0].chat)
        submitted = 0
        if prompts:
            shared = self._gguf.tokens(before, first=True, special=True)
            shared += self._gguf.tokens(prompts[0].shared)
            if len(shared) >= self.longest_prompt:
                raise ValueError(
                    f"a shared part of {len(shared)} tokens is too long for the context of "
                    f"{self.longest_prompt}"
                )
            self._hold_shared(shared)
        schedule = _Schedule(max_tokens, self._context_tokens - len(self._shared))
        for text, members in groupby(enumerate(prompts), key=lambda pair: pair[1].branch):
            tokens = self._gguf.tokens(text)
            leaves = []
            for index, prompt in members:
                own = self._gguf.tokens(prompt.leaf)
                if not own:
                    raise ValueError("a prompt's leaf is empty")
                own += self._gguf.tokens(after, special=True)
                goes_on = self._gguf.tokens(continuations[index]) if continuations else []
                leaves.append(
                    # The continuation's last token is asked about, and asks about none.
                    _Leaf(
                        index,
                        own + goes_on[:-1],
                        len(self._shared) + len(tokens),
                        wanted_from=len(own) - 1,
                        goes_on=goes_on,
                    )
                )
            for leaf in leaves:
                if leaf.start + len(leaf.tokens) + max_tokens > self.longest_prompt:
                    raise ValueError(
                        f"a prompt of {leaf.start + len(leaf.tokens)} tokens is too long for the "
                        f"context of {self.longest_prompt}"
                    )
                submitted += leaf.start + len(leaf.tokens)
            schedule.pend(tokens, leaves)
        self.usage.submitted += submitted
        return schedule

    def _frame(self, *, chat: bool) -> tuple[str, str]:
        """What stands before the shared part and after the leaf."""
        if not chat:
            return "", ""
        if self.chat_frame is None:
            raise ValueError("this model has no chat template")
        return self.chat_frame

    def _hold_shared(self, tokens: list[int]) -> None:
        """Leave the shared part in sequence 0, and nothing else in the cache."""
        if tokens == self._shared:
            for sequence in range(1, SEQUENCES + 1):
                llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            return
        llama_cpp.llama_memory_clear(self._memory, True)
        self._shared = []
        for start in range(0, len(tokens), BATCH_TOKENS):
            self._batch.n_tokens = 0
            for position, token in enumerate(tokens[start : start + BATCH_TOKENS], start):
                self._add(token, position, (SHARED_SEQUENCE,), wanted=False)
            self._decode()
        self._shared = tokens

    def _admit(self, schedule: _Schedule) -> None:
        """Start as many branches as there is room for; each leaf begins with the shared part."""
        for leaf in schedule.admit():
            llama_cpp.llama_memory_seq_cp(
                self._memory, SHARED_SEQUENCE, leaf.sequence, 0, len(self._shared)
            )

    def _release(self, leaf: _Leaf, schedule: _Schedule) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, leaf.sequence, -1, -1)
        schedule.release(leaf)

    def _add(self, token: int, position: int, sequences: Sequence[int], *, wanted: bool) -> int:
        """Put one token into the batch; return its place."""
        batch, place = self._batch, int(self._batch.n_tokens)
        batch.token[place] = token
        batch.pos[place] = position
        batch.n_seq_id[place] = len(sequences)
        for number, sequence in enumerate(sequences):
            batch.seq_id[place][number] = sequence
        batch.logits[place] = wanted
        batch.n_tokens = place + 1
        return place

    def _add_next(self, leaf: _Leaf) -> _Want:
        """Put an answer's last token into the batch and ask for the next."""
        position = leaf.start + len(leaf.tokens) + len(leaf.answer) - 1
        place = self._add(leaf.answer[-1], position, (leaf.sequence,), wanted=True)
        return _Want(place, leaf, len(leaf.tokens) + len(leaf.answer) - 1)

    def _prefill(self, schedule: _Schedule) -> list[_Want]:
        """Fill the batch up with prompt tokens; return the places whose logits are wanted."""
        self._admit(schedule)
        ready: list[_Want] = []
        while schedule.prefilling and self._batch.n_tokens < BATCH_TOKENS:
            branch = schedule.prefilling[0]
            sequences = [leaf.sequence for leaf in branch.leaves]
            for token in branch.tokens[branch.fed : branch.fed + self._room()]:
                self._add(token, len(self._shared) + branch.fed, sequences, wanted=False)
                branch.fed += 1
            for leaf in branch.leaves:
                for token in leaf.tokens[leaf.fed : leaf.fed + self._room()]:
                    wanted = leaf.fed >= leaf.wanted_from
                    place = self._add(token, leaf.start + leaf.fed, (leaf.sequence,), wanted=wanted)
                    if wanted:
                        ready.append(_Want(place, leaf, leaf.fed))
                    leaf.fed += 1
            if branch.leaves[-1].fed == len(branch.leaves[-1].tokens):
                schedule.prefilling.popleft()
        return ready

    def _room(self) -> int:
        """How many more tokens the batch takes."""
        return BATCH_TOKENS - int(self._batch.n_tokens)

    def _decode(self) -> None:
        self.usage.computed += self._batch.n_tokens
        status = llama_cpp.llama_decode(self._context, self._batch)
        if status != 0:
            self._shared = []
            raise RuntimeError(f"llama_decode failed with {status}: {last_log()}")

    def _sample(self, leaf: _Leaf, place: int, max_tokens: int) -> bool:
        """Draw the next token of an answer; False where the answer ends."""
        token = llama_cpp.llama_sampler_sample(leaf.sampler, self._context, place)
        if self._gguf.is_end(token):
            return False
        self.usage.written += 1
        leaf.answer.append(token)
        return b"\n" not in self._gguf.piece(token) and len(leaf.answer) < max_tokens

    def _text(self, tokens: Sequence[int]) -> str:
        text = b"".join(map(self._gguf.piece, tokens)).decode("utf-8", "ignore")
        return text.split("\n")[0].strip()

    def _logits(self, place: int) -> np.ndarray:
        pointer = llama_cpp.llama_get_logits_ith(self._context, place)
        return np.ctypeslib.as_array(pointer, (self._gguf.vocabulary_size,)).astype(np.float64)

    def _first_tokens(self, word: str) -> list[int]:
        forms = (word.capitalize(), word.lower(), f" {word.capitalize()}", f" {word.lower()}")
        return sorted({self._gguf.tokens(form)[0] for form in forms})


def _log_sum_exp(logits: np.ndarray) -> float:
    """log(sum(exp(logits))), without overflow."""
    highest = logits.max()
    return float(highest + np.log(np.exp(logits - highest).sum()))


def _new_sampler(sampling: Sampling, seed: int) -> int:
    """A sampler chain in C, with a seed of its own: its address."""
    chain: int = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    if sampling.temperature == 0:
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
        return chain
    for part in (
        llama_cpp.llama_sampler_init_top_k(sampling.top_k),
        llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1),
        llama_cpp.llama_sampler_init_temp(sampling.temperature),
        # 2**32 - 1 would tell llama.cpp to draw a seed by chance.
        llama_cpp.llama_sampler_init_dist(seed % (2**32 - 1)),
    ):
        llama_cpp.llama_sampler_chain_add(chain, part)
    return chain
