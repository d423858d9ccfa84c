"""Continuous batching over llama.cpp: one context, many sequences, shared prefixes.

The scheduler (scheduler.py) groups a call's prompts by their branch, so that no key or value is
computed twice, and admits groups as sequences become free. Every `llama_decode` computes one token
of each answer in progress and fills the rest of the batch with prompt tokens.

The cache has two layouts. On a GPU, and for calls that only read logits, all sequences share the
cells of one cache: a copy marks cells as belonging to another sequence too, and flash attention
skips the cells that a token must not attend to. On a CPU this is slow for small batches of tokens
from many sequences, which is what decoding answers consists of. Therefore each sequence has cells
of its own there, a copy duplicates data, and attention is two matrix products over the cells of
that sequence. The context is created again when a call needs the other layout.

Repeatability: a call's results depend on its prompts, seeds and sampling, the model file, the
engine's sizes and its number of threads, and not on earlier calls. Floating-point noise depends on
which prompts share a call, so a sampled word may change if the same prompt is part of another call.
Callers that must be repeatable make the same calls.
"""

import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import llama_cpp
import numpy as np

from customir.errors import UserError
from customir.llm.batch import Batch, BatchToken
from customir.llm.gguf import Gguf, gpu_is_there, last_log
from customir.llm.prompt import Prompt, Sampling, cut_at_sentence
from customir.llm.sampler import Sampler, candidates
from customir.llm.scheduler import Branch, Leaf, LogitRequest, Schedule, move_common_prefix
from customir.llm.sizes import Sizes, choose_sizes
from customir.processors import free_memory

LONGEST_PROMPT = 4096
SHARED_SEQUENCE = 0
# An allowance for extra tokens where the parts of a prompt meet, and for the model's BOS.
JOINTS = 8
FLASH_ATTENTION, NO_FLASH_ATTENTION = 1, 0
FLOAT_BYTES = 4
# If sequences have their own cells, a leaf of at most this many tokens is fed token by token.
SHORT_LEAF = 8
# At least this many rows of logits are processed by several threads, as numpy releases the GIL.
ROWS_WORTH_THREADS = 16
ROW_THREADS = 8
Found = TypeVar("Found")


@dataclass
class Usage:
    """The number of prompt tokens submitted, of tokens actually computed, and of tokens written."""

    submitted: int = 0
    computed: int = 0
    written: int = 0


class Engine:
    """A GGUF model that completes and judges many prompts at once. Use it as a context manager.

    Args:
        path: GGUF file.
        device: "auto" and "cuda" use a GPU if llama.cpp was built with a GPU backend.
        threads: Number of CPU threads.

    Raises:
        UserError: the file cannot be loaded, or device is "cuda" and llama.cpp has no GPU backend.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int) -> None:
        if device == "cuda" and not gpu_is_there():
            raise UserError(
                "--device cuda: this llama-cpp-python was built without CUDA. Rebuild it with "
                'CMAKE_ARGS="-DGGML_CUDA=on", or use --device cpu.'
            )
        self.usage = Usage()
        self.on_gpu = device != "cpu" and gpu_is_there()
        self._path = path
        self._threads = threads
        self._gguf = Gguf(path, use_gpu=self.on_gpu)
        free = None if self.on_gpu else free_memory()
        self._sizes = {
            writing: choose_sizes(self._gguf.cell_bytes, free, on_gpu=self.on_gpu, writing=writing)
            for writing in (False, True)
        }
        # No sequence may be longer than the context that the model was trained for.
        self.longest_prompt = min(
            LONGEST_PROMPT,
            self._gguf.longest_context,
            max(sizes.longest_prompt for sizes in self._sizes.values()),
        )
        self.chat_frame = self._gguf.chat_frame()
        self._pool = ThreadPoolExecutor(ROW_THREADS) if self.on_gpu else None
        self._fed: list[BatchToken] = []
        self._context: Any = None
        self.sizes = self._sizes[True]
        self._open(writing=True)

    def _open(self, *, writing: bool) -> None:
        """Create the context that is needed, unless it is already open.

        Raises:
            UserError: there is too little memory for it.
        """
        if self._context and self.sizes == self._sizes[writing]:
            return
        self._free_context()
        wanted = self._sizes[writing]
        sizes: Sizes | None = wanted
        while sizes and not (context := self._new_context(sizes)):
            sizes = sizes.smaller()
        if sizes is None:
            self.close()
            raise UserError(
                f"{self._path}: not enough memory for its context. Close other programs, or use a smaller "
                "LLM."
            )
        self.sizes = sizes
        for kind, had in self._sizes.items():
            if had == wanted:
                self._sizes[kind] = sizes
        self._context = context
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = Batch(sizes.batch_tokens)
        self._shared: list[int] = []

    def _fits_own_cells(self, prompts: Sequence[Prompt], max_tokens: int) -> bool:
        """Whether every prompt fits into a sequence that has cells of its own."""
        longest = self._sizes[True].longest_prompt
        if longest >= self.longest_prompt:
            return True
        spare = self.longest_prompt - longest
        return all(self.room(prompt, max_tokens) >= spare for prompt in prompts)

    def _new_context(self, sizes: Sizes) -> Any:
        """Create a context; None if there is too little memory for it.

        llama.cpp ends the process if certain allocations fail. Therefore the same amount of memory
        is allocated here first: the cache, and twice the logits of a whole batch.
        """
        logits = sizes.batch_tokens * self._gguf.vocabulary_size * FLOAT_BYTES
        cache = sizes.context_tokens * self._gguf.cell_bytes
        try:
            mmap.mmap(-1, cache + 2 * logits).close()
        except OSError:
            return None
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = sizes.context_tokens
        parameters.n_batch = parameters.n_ubatch = sizes.batch_tokens
        parameters.n_seq_max = sizes.sequences + 1
        parameters.n_threads = parameters.n_threads_batch = self._threads
        parameters.flash_attn_type = NO_FLASH_ATTENTION if sizes.own_cells else FLASH_ATTENTION
        parameters.kv_unified = not sizes.own_cells
        parameters.swa_full = True
        parameters.no_perf = True
        return llama_cpp.llama_init_from_model(self._gguf.model, parameters)

    def _free_context(self) -> None:
        if self._context:
            llama_cpp.llama_free(self._context)
            self._context = None

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
        self._free_context()
        if self._pool:
            self._pool.shutdown()
        self._gguf.close()

    def set_threads(self, threads: int) -> None:
        """Set the number of CPU threads that are used from the next call on."""
        self._threads = threads
        llama_cpp.llama_set_n_threads(self._context, threads, threads)

    def count_tokens(self, text: str) -> int:
        """Count the tokens of `text`."""
        return len(self._gguf.tokens(text))

    def truncate(self, text: str, tokens: int) -> str:
        """The beginning of `text`: at most `tokens` tokens, cut after a sentence or word."""
        ids = self._gguf.tokens(text)
        if len(ids) <= tokens:
            return text
        cut = b"".join(map(self._gguf.piece, ids[:tokens])).decode("utf-8", "ignore")
        return cut_at_sentence(cut.strip())

    def room(self, prompt: Prompt, max_tokens: int) -> int:
        """How many more tokens `prompt` may have if its answer has `max_tokens`."""
        before, after = self._frame(chat=prompt.chat)
        parts = (before, prompt.shared, prompt.branch, prompt.leaf, after)
        return self.longest_prompt - max_tokens - sum(map(self.count_tokens, parts)) - JOINTS

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling
    ) -> list[str]:
        """Complete each prompt up to the first line break.

        Args:
            prompts: All with the same `shared`.
            seeds: One per prompt, 0 <= seed < 2**32.

        Returns:
            The answers in order, without surrounding white space.

        Raises:
            ValueError: a prompt is too long for the context.
        """
        answers = [""] * len(prompts)
        self._open(writing=self._fits_own_cells(prompts, sampling.max_tokens))
        schedule = self._plan(prompts, sampling.max_tokens)
        writing: list[Leaf] = []
        while schedule.unfinished:
            if self.sizes.own_cells:
                self._close_gaps(schedule)
            for leaf in writing:
                self._add_next(leaf)
            self._prefill(schedule)
            requests, logits = self._decode()
            for request, found in zip(
                requests, self._of_rows(lambda row: candidates(row, sampling), logits), strict=True
            ):
                leaf = request.leaf
                if leaf.sampler is None:
                    leaf.sampler = Sampler(sampling, seeds[leaf.index])
                    writing.append(leaf)
                if self._append_token(leaf, leaf.sampler.draw(*found), sampling.max_tokens):
                    continue
                leaf.sampler.close()
                answers[leaf.index] = self._text(leaf.answer)
                writing.remove(leaf)
                self._release(leaf, schedule)
        return answers

    def choice(self, prompts: Sequence[Prompt], first: str, second: str) -> list[float]:
        """Log-odds that each prompt continues with `first` rather than `second`, without decoding.

        Returns:
            Log-odds in nats: log p(first) - log p(second). The probability of an answer is that of
            its first token, summed over lower case and capitalised, with and without a leading
            space.

        Raises:
            ValueError: a prompt is too long, or both answers begin with the same token.
        """
        first_ids, second_ids = self._first_tokens(first), self._first_tokens(second)
        if set(first_ids) & set(second_ids):
            raise ValueError(f"{first!r} and {second!r} begin with the same token")
        odds = [0.0] * len(prompts)
        self._open(writing=False)
        schedule = self._plan(prompts, max_tokens=0)
        while schedule.unfinished:
            self._prefill(schedule)
            requests, logits = self._decode()
            for request, row in zip(requests, logits, strict=True):
                odds[request.leaf.index] = _log_sum_exp(row[first_ids]) - _log_sum_exp(
                    row[second_ids]
                )
                self._release(request.leaf, schedule)
        return odds

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[float]:
        """Log-probability of each prompt's continuation; nothing is decoded.

        Returns:
            Log-probability in nats, summed over the continuation's tokens; 0 for an empty one.

        Raises:
            ValueError: a prompt with its continuation is too long for the context.
        """
        scores = [0.0] * len(prompts)
        self._open(writing=False)
        schedule = self._plan(prompts, max_tokens=0, continuations=continuations)
        while schedule.unfinished:
            self._prefill(schedule)
            requests, logits = self._decode()
            totals = self._of_rows(_log_sum_exp, logits)
            for request, row, total in zip(requests, logits, totals, strict=True):
                leaf = request.leaf
                if leaf.continuation:
                    token = leaf.continuation[request.token - leaf.first_requested]
                    scores[leaf.index] += float(row[token]) - total
                if request.last:
                    self._release(leaf, schedule)
        return scores

    def _plan(
        self,
        prompts: Sequence[Prompt],
        max_tokens: int,
        continuations: Sequence[str] | None = None,
    ) -> Schedule:
        """Group neighbouring prompts by branch, and leave only the shared part in the cache."""
        if len({(prompt.shared, prompt.chat) for prompt in prompts}) > 1:
            raise ValueError("the prompts of a call must have the same shared part")
        before, after = self._frame(chat=bool(prompts) and prompts[0].chat)
        submitted = 0
        self._fed = []  # tokens of an interrupted call
        if prompts:
            shared = self._gguf.tokens(before, first=True, special=True)
            shared += self._gguf.tokens(prompts[0].shared)
            if len(shared) >= self.longest_prompt:
                raise ValueError(
                    f"a shared part of {len(shared)} tokens is too long for the context of "
                    f"{self.longest_prompt}"
                )
            self._hold_shared(shared)
        cells = None if self.sizes.own_cells else self.sizes.context_tokens - len(self._shared)
        schedule = Schedule(max_tokens, self.sizes.sequences, cells)
        for text, members in groupby(enumerate(prompts), key=lambda pair: pair[1].branch):
            tokens = self._gguf.tokens(text)
            leaves = []
            for index, prompt in members:
                own = self._gguf.tokens(prompt.leaf)
                if not own:
                    raise ValueError("a prompt's leaf is empty")
                own += self._gguf.tokens(after, special=True)
                continuation = self._gguf.tokens(continuations[index]) if continuations else []
                leaves.append(
                    # Only the probability of the continuation's last token is needed, and no
                    # logits after it.
                    Leaf(
                        index,
                        own + continuation[:-1],
                        len(self._shared) + len(tokens),
                        first_requested=len(own) - 1,
                        continuation=continuation,
                    )
                )
            tokens += move_common_prefix(leaves)
            for leaf in leaves:
                if leaf.start + len(leaf.tokens) + max_tokens > self.longest_prompt:
                    raise ValueError(
                        f"a prompt of {leaf.start + len(leaf.tokens)} tokens is too long for the "
                        f"context of {self.longest_prompt}"
                    )
                submitted += leaf.start + len(leaf.tokens)
            schedule.queue(tokens, leaves)
        self.usage.submitted += submitted
        return schedule

    def _frame(self, *, chat: bool) -> tuple[str, str]:
        """The chat template's text before the shared part and after the leaf."""
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
            part = tokens[start : start + self.sizes.batch_tokens]
            for position, token in enumerate(part, start):
                self._add(token, position, SHARED_SEQUENCE)
            self._decode()
        self._shared = tokens

    def _copy(self, source: int, target: int) -> None:
        """Copy the tokens of one sequence to an empty one."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def _admit(self, schedule: Schedule) -> Branch | None:
        """Start the next branch if there is room; its sequence begins with the shared part."""
        branch = schedule.admit()
        if branch and self._shared:
            self._copy(SHARED_SEQUENCE, branch.leaves[0].sequence)
        return branch

    def _release(self, leaf: Leaf, schedule: Schedule) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, leaf.sequence, -1, -1)
        schedule.release(leaf)

    def _add(
        self, token: int, position: int, sequence: int, request: LogitRequest | None = None
    ) -> None:
        """Put one token into the batch."""
        self._fed.append(BatchToken(token, position, sequence, request))

    def _add_next(self, leaf: Leaf) -> None:
        """Put an answer's last token into the batch and request the next."""
        number = len(leaf.tokens) + len(leaf.answer) - 1
        self._add(leaf.answer[-1], leaf.start + number, leaf.sequence, LogitRequest(leaf, number))

    def _prefill(self, schedule: Schedule) -> None:
        """Fill the rest of the batch with prompt tokens.

        A branch is admitted only when the batch has room for it, because tokens in the cache make
        attention slower.
        """
        for branch in schedule.prefilling:
            self._feed(branch)
        while self._room() and (admitted := self._admit(schedule)):
            self._feed(admitted)
        schedule.prefilling = [one for one in schedule.prefilling if not one.all_fed]

    def _close_gaps(self, schedule: Schedule) -> None:
        """Move leaves so that the sequences in use have consecutive numbers.

        llama.cpp computes a run of consecutive sequences together, and each run reads all weights.
        """
        for source, target in schedule.close_gaps():
            self._copy(source, target)
            llama_cpp.llama_memory_seq_rm(self._memory, source, -1, -1)

    def _feed(self, branch: Branch) -> None:
        """Put as much of a branch and its leaves into the batch as fits.

        Leaves begin one batch after the branch's last token, because only then can the branch be
        copied to their sequences.
        """
        computed = branch.fed == len(branch.tokens)
        trunk, *others = (leaf.sequence for leaf in branch.leaves)
        for token in branch.tokens[branch.fed : branch.fed + self._room()]:
            self._add(token, len(self._shared) + branch.fed, trunk)
            branch.fed += 1
        if branch.fed < len(branch.tokens) or (others and not computed):
            return
        if not branch.copied:
            for sequence in others:
                self._copy(trunk, sequence)
            branch.copied = True
        for leaf in branch.leaves:
            left = len(leaf.tokens) - leaf.fed
            # One token each, like the answers in the same batch: other lengths would split the run.
            count = 1 if self.sizes.own_cells and left <= SHORT_LEAF else left
            for token in leaf.tokens[leaf.fed : leaf.fed + min(count, self._room())]:
                request = LogitRequest(leaf, leaf.fed) if leaf.fed >= leaf.first_requested else None
                self._add(token, leaf.start + leaf.fed, leaf.sequence, request)
                leaf.fed += 1

    def _room(self) -> int:
        """How many more tokens fit into the batch."""
        return self.sizes.batch_tokens - len(self._fed)

    def _decode(self) -> tuple[list[LogitRequest], np.ndarray]:
        """Compute the batch.

        Returns:
            The requests, and the logits of each: float32 (len(requests), vocabulary), valid until
            the next call.
        """
        if self.sizes.own_cells:
            # llama.cpp computes adjacent tokens together if their sequences are consecutive.
            self._fed.sort(key=lambda one: one.sequence)
        self._batch.fill(self._fed)
        requests = [one.request for one in self._fed if one.request]
        self._fed = []
        self.usage.computed += self._batch.struct.n_tokens
        status = llama_cpp.llama_decode(self._context, self._batch.struct)
        if status != 0:
            self._shared = []
            raise RuntimeError(f"llama_decode failed with {status}: {last_log()}")
        return requests, self._logits(len(requests))

    def _logits(self, rows: int) -> np.ndarray:
        if not rows:
            return np.empty((0, self._gguf.vocabulary_size), np.float32)
        pointer = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, (rows, self._gguf.vocabulary_size))

    def _of_rows(self, look: Callable[[np.ndarray], Found], logits: np.ndarray) -> list[Found]:
        """Apply `look` to each row."""
        if self._pool and len(logits) >= ROWS_WORTH_THREADS:
            return list(self._pool.map(look, logits))
        return list(map(look, logits))

    def _append_token(self, leaf: Leaf, token: int, max_tokens: int) -> bool:
        """Append a token to an answer; False if the answer ends with it."""
        if self._gguf.is_end(token):
            return False
        self.usage.written += 1
        leaf.answer.append(token)
        return b"\n" not in self._gguf.piece(token) and len(leaf.answer) < max_tokens

    def _text(self, tokens: Sequence[int]) -> str:
        text = b"".join(map(self._gguf.piece, tokens)).decode("utf-8", "ignore")
        return text.split("\n")[0].strip()

    def _first_tokens(self, word: str) -> list[int]:
        forms = (word.capitalize(), word.lower(), f" {word.capitalize()}", f" {word.lower()}")
        return sorted({self._gguf.tokens(form)[0] for form in forms})


def _log_sum_exp(logits: np.ndarray) -> float:
    """log(sum(exp(logits))), without overflow."""
    highest = logits.max()
    # numpy sums pairwise in float32, which has a relative error of about 1e-6.
    return float(highest + np.log(np.exp(logits - highest).sum()))
