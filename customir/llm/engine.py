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

import math
import mmap
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
from customir.llm.sampler import Sampler
from customir.llm.sizes import Sizes, choose_sizes, free_memory

LONGEST_PROMPT = 4096
SHARED_SEQUENCE = 0
# Tokens that may come in where the parts of a prompt meet, and the model's BOS.
JOINTS = 8
FLASH_ATTENTION = 1
FLOAT_BYTES = 4


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
    sampler: Sampler | None = None
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

    def __init__(self, max_tokens: int, sequences: int, cells: int) -> None:
        self.prefilling: _Branch | None = None
        self._max_tokens = max_tokens
        self._sequences = sequences
        self._all_cells = self._cells = cells
        self._free = deque(range(1, sequences + 1))
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
            if part and (len(part) == self._sequences or cells + needed > self._all_cells):
                self._pending.append(_Branch(tokens, part, cells))
                part, cells = [], len(tokens)
            part.append(leaf)
            cells += needed
        self._pending.append(_Branch(tokens, part, cells))

    def admit(self) -> _Branch | None:
        """Move the next branch from waiting to prefilling, where it fits now."""
        if not self._pending:
            return None
        branch = self._pending[0]
        if len(branch.leaves) > len(self._free) or branch.cells > self._cells:
            return None
        self._pending.popleft()
        self._cells -= branch.cells
        self._leaves_left[branch] = len(branch.leaves)
        for leaf in branch.leaves:
            leaf.sequence = self._free.popleft()
            self._of_leaf[leaf] = branch
        self.prefilling = branch
        return branch

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
        sizes: None: chosen from the model, the memory and the device.

    Raises:
        UserError: the file can't be loaded, or device is "cuda" and llama.cpp has no GPU backend.
    """

    def __init__(
        self, path: Path, *, device: str = "auto", threads: int, sizes: Sizes | None = None
    ) -> None:
        if device == "cuda" and not gpu_is_there():
            raise UserError(
                "--device cuda: this llama-cpp-python was built without CUDA. Rebuild it with "
                'CMAKE_ARGS="-DGGML_CUDA=on", or use --device cpu.'
            )
        self.usage = Usage()
        self.on_gpu = device != "cpu" and gpu_is_there()
        self._gguf = Gguf(path, use_gpu=self.on_gpu)
        self.sizes = sizes or choose_sizes(
            self._gguf.cell_bytes, None if self.on_gpu else free_memory(), on_gpu=self.on_gpu
        )
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_batch = parameters.n_ubatch = self.sizes.batch_tokens
        parameters.n_seq_max = self.sizes.sequences + 1
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = FLASH_ATTENTION
        parameters.kv_unified = True
        parameters.swa_full = True
        parameters.no_perf = True
        while not (context := self._new_context(parameters)):
            smaller = self.sizes.halved()
            if smaller is None:
                self._gguf.close()
                raise UserError(
                    f"{path}: no memory for its context. Close other programs, or give a smaller "
                    "LLM."
                )
            self.sizes = smaller
        self._context = context
        # Sequences share the cells, and each of them stays as short as the model was trained for.
        self.longest_prompt = min(
            LONGEST_PROMPT, self.sizes.context_tokens, self._gguf.longest_context
        )
        self.chat_frame = self._gguf.chat_frame()
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(
            self.sizes.batch_tokens, 0, self.sizes.sequences + 1
        )
        self._shared: list[int] = []

    def _new_context(self, parameters: Any) -> Any:
        """A context with `sizes`; None where there is no memory for it.

        Some of what llama.cpp allocates it can't do without: it ends the process. So it is tried
        first whether there is as much: the cache, and logits of a whole batch, once as they are
        computed and once as they are kept.
        """
        logits = self.sizes.batch_tokens * self._gguf.vocabulary_size * FLOAT_BYTES
        cache = self.sizes.context_tokens * self._gguf.cell_bytes
        try:
            mmap.mmap(-1, cache + 2 * logits).close()
        except OSError:
            return None
        parameters.n_ctx = self.sizes.context_tokens
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
                want.leaf.sampler = Sampler(sampling, seeds[want.leaf.index])
                writing.append(want.leaf)
                wants.append(want)
            self._decode()
            for want in wants:
                leaf = want.leaf
                if self._sample(leaf, want.place, sampling.max_tokens):
                    continue
                answers[leaf.index] = self._text(leaf.answer)
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
                odds[want.leaf.index] = _log_sum_exp(logits[first_ids]) - _log_sum_exp(
                    logits[second_ids]
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
        schedule = _Schedule(
            max_tokens, self.sizes.sequences, self.sizes.context_tokens - len(self._shared)
        )
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
            for sequence in range(1, self.sizes.sequences + 1):
                llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            return
        llama_cpp.llama_memory_clear(self._memory, True)
        self._shared = []
        for start in range(0, len(tokens), self.sizes.batch_tokens):
            self._batch.n_tokens = 0
            for position, token in enumerate(
                tokens[start : start + self.sizes.batch_tokens], start
            ):
                self._add(token, position, (SHARED_SEQUENCE,), wanted=False)
            self._decode()
        self._shared = tokens

    def _admit(self, schedule: _Schedule) -> _Branch | None:
        """Start the next branch where there is room; each leaf begins with the shared part."""
        branch = schedule.admit()
        for leaf in branch.leaves if branch else ():
            llama_cpp.llama_memory_seq_cp(
                self._memory, SHARED_SEQUENCE, leaf.sequence, 0, len(self._shared)
            )
        return branch

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
        """Fill the batch up with prompt tokens; return the places whose logits are wanted.

        A branch is admitted when the batch has room for it and not before: attention looks at all
        cells in use.
        """
        ready: list[_Want] = []
        while self._room() and (branch := schedule.prefilling or self._admit(schedule)):
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
                schedule.prefilling = None
        return ready

    def _room(self) -> int:
        """How many more tokens the batch takes."""
        return self.sizes.batch_tokens - int(self._batch.n_tokens)

    def _decode(self) -> None:
        self.usage.computed += self._batch.n_tokens
        status = llama_cpp.llama_decode(self._context, self._batch)
        if status != 0:
            self._shared = []
            raise RuntimeError(f"llama_decode failed with {status}: {last_log()}")

    def _sample(self, leaf: _Leaf, place: int, max_tokens: int) -> bool:
        """Draw the next token of an answer; False where the answer ends."""
        assert leaf.sampler is not None, "made when the leaf's prompt was computed"
        token = leaf.sampler.draw(self._logits(place))
        if not self._gguf.is_end(token):
            self.usage.written += 1
            leaf.answer.append(token)
            if b"\n" not in self._gguf.piece(token) and len(leaf.answer) < max_tokens:
                return True
        leaf.sampler.close()
        return False

    def _text(self, tokens: Sequence[int]) -> str:
        text = b"".join(map(self._gguf.piece, tokens)).decode("utf-8", "ignore")
        return text.split("\n")[0].strip()

    def _logits(self, place: int) -> np.ndarray:
        """float32 (vocabulary,); valid until the next llama_decode."""
        pointer = llama_cpp.llama_get_logits_ith(self._context, place)
        return np.ctypeslib.as_array(pointer, (self._gguf.vocabulary_size,))

    def _first_tokens(self, word: str) -> list[int]:
        forms = (word.capitalize(), word.lower(), f" {word.capitalize()}", f" {word.lower()}")
        return sorted({self._gguf.tokens(form)[0] for form in forms})


def _log_sum_exp(logits: np.ndarray) -> float:
    """log(sum(exp(logits))), without overflow; the sum in float64."""
    highest = logits.max()
    return float(highest) + math.log(float(np.exp(logits - highest).sum(dtype=np.float64)))
