"""Continuous batching over llama.cpp: one context, many sequences, shared prefixes.

A call's prompts are grouped by their branch. A group's branch is decoded once, in the sequence of
its first leaf, and copied from there to the others', so that no key or value is computed twice.
Groups are admitted as sequences fall free; every llama_decode mixes one token of each answer under
way with as many prompt tokens as the batch has room for.

On a GPU, and wherever nothing is written, the sequences share the cells of one cache (a copy marks
cells as belonging to another sequence too), and flash attention skips what a token may not see. On
a CPU that is slow for batches of fewer than 64 tokens and for tokens of many sequences, which is
what writing is made of. So there each sequence that is written has cells of its own, a copy is a
real one, and attention is two matrix products over the cells of that sequence. The context is made
anew where a call needs the other kind.

What is guaranteed: a call's results depend on its prompts, seeds and sampling, on the model file,
the engine's sizes and its number of threads; not on earlier calls. They may differ in
floating-point noise, and so now and then in a word, from what the same prompt gives in another
company: callers that must be repeatable make the same calls.
"""

import heapq
import mmap
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import llama_cpp
import numpy as np

from customir.errors import UserError
from customir.llm.gguf import Gguf, gpu_is_there, last_log
from customir.llm.prompt import Prompt, Sampling, cut_at_sentence
from customir.llm.sampler import Sampler, candidates
from customir.llm.sizes import Sizes, choose_sizes, free_memory

LONGEST_PROMPT = 4096
SHARED_SEQUENCE = 0
# Tokens that may come in where the parts of a prompt meet, and the model's BOS.
JOINTS = 8
FLASH_ATTENTION, NO_FLASH_ATTENTION = 1, 0
FLOAT_BYTES = 4
# A leaf of so few tokens is fed like an answer, token by token, where sequences have own cells.
SHORT_LEAF = 8
# Rows of logits are looked at side by side where a batch has this many: numpy lets go of the GIL.
ROWS_WORTH_THREADS = 16
ROW_THREADS = 8
Found = TypeVar("Found")


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
    """Prompts that differ in their leaves alone. `cells` of the cache are set aside for them.

    Its tokens are fed in its first leaf's sequence; `copied` once the other leaves have them too.
    """

    tokens: list[int]
    leaves: list[_Leaf]
    cells: int
    fed: int = 0
    copied: bool = False

    @property
    def all_fed(self) -> bool:
        """Whether no prompt token is left to feed."""
        return all(leaf.fed == len(leaf.tokens) for leaf in self.leaves)


@dataclass(frozen=True)
class _Want:
    """Logits that are wanted: of whom, and of which of its tokens."""

    leaf: _Leaf
    token: int

    @property
    def last(self) -> bool:
        """Whether the leaf's prompt ends here."""
        return self.token == len(self.leaf.tokens) - 1


@dataclass(frozen=True)
class _Fed:
    """A token of the batch that is being made."""

    token: int
    position: int
    sequence: int
    want: _Want | None


def _taken_from(leaves: Sequence[_Leaf]) -> list[int]:
    """The tokens that all leaves of a branch begin with, which are then the branch's.

    Each leaf keeps those of which logits are wanted.
    """
    most = min(leaf.wanted_from for leaf in leaves) if len(leaves) > 1 else 0
    alike = takewhile(
        lambda tokens: len(set(tokens)) == 1,
        zip(*(leaf.tokens[:most] for leaf in leaves), strict=True),
    )
    common = [tokens[0] for tokens in alike]
    for leaf in leaves:
        del leaf.tokens[: len(common)]
        leaf.start += len(common)
        leaf.wanted_from -= len(common)
    return common


class _Batch:
    """What llama_decode takes, over arrays that numpy fills. One sequence a token."""

    def __init__(self, tokens: int) -> None:
        self._token = np.zeros(tokens, np.int32)
        self._position = np.zeros(tokens, np.int32)
        self._sequence = np.zeros(tokens, np.int32)
        self._sequences = np.ones(tokens, np.int32)
        self._wanted = np.zeros(tokens, np.int8)
        start, step = self._sequence.ctypes.data, self._sequence.itemsize
        self._pointers = np.arange(start, start + tokens * step, step, dtype=np.uintp)
        fields: Any = dict(llama_cpp.llama_batch._fields_)  # type: ignore[arg-type]
        self.struct = llama_cpp.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(fields["token"]),
            pos=self._position.ctypes.data_as(fields["pos"]),
            n_seq_id=self._sequences.ctypes.data_as(fields["n_seq_id"]),
            seq_id=self._pointers.ctypes.data_as(fields["seq_id"]),
            logits=self._wanted.ctypes.data_as(fields["logits"]),
        )

    def fill(self, fed: Sequence[_Fed]) -> None:
        count = len(fed)
        self._token[:count] = [one.token for one in fed]
        self._position[:count] = [one.position for one in fed]
        self._sequence[:count] = [one.sequence for one in fed]
        self._wanted[:count] = [one.want is not None for one in fed]
        self.struct.n_tokens = count


class _Schedule:
    """Which prompts wait, which are in the context, and what room is left there.

    `cells` are those that the sequences share; None where each has its own.
    """

    def __init__(self, max_tokens: int, sequences: int, cells: int | None) -> None:
        self.prefilling: list[_Branch] = []
        self._max_tokens = max_tokens
        self._sequences = sequences
        self._all_cells = self._cells = float("inf") if cells is None else cells
        # The lowest are taken first: sequences without gaps between them go into one matrix product.
        self._free = list(range(1, sequences + 1))
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
            leaf.sequence = heapq.heappop(self._free)
            self._of_leaf[leaf] = branch
        self.prefilling.append(branch)
        return branch

    def close_gaps(self) -> list[tuple[int, int]]:
        """Make the sequences in use neighbours; return from where to where leaves were moved."""
        moves = []
        for leaf in sorted(self._of_leaf, key=lambda leaf: -leaf.sequence):
            if not self._free or self._free[0] > leaf.sequence:
                break
            source = leaf.sequence
            leaf.sequence = heapq.heapreplace(self._free, source)
            moves.append((source, leaf.sequence))
        return moves

    def release(self, leaf: _Leaf) -> None:
        """A leaf is done: its sequence is free, and with the branch's last one the branch's cells."""
        heapq.heappush(self._free, leaf.sequence)
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
        self._path = path
        self._threads = threads
        self._gguf = Gguf(path, use_gpu=self.on_gpu)
        free = None if self.on_gpu else free_memory()
        self._sizes = {
            writing: choose_sizes(self._gguf.cell_bytes, free, on_gpu=self.on_gpu, writing=writing)
            for writing in (False, True)
        }
        # Each sequence stays as short as the model was trained for.
        self.longest_prompt = min(
            LONGEST_PROMPT,
            self._gguf.longest_context,
            max(sizes.longest_prompt for sizes in self._sizes.values()),
        )
        self.chat_frame = self._gguf.chat_frame()
        self._pool = ThreadPoolExecutor(ROW_THREADS) if self.on_gpu else None
        self._fed: list[_Fed] = []
        self._context: Any = None
        self.sizes = self._sizes[True]
        self._open(writing=True)

    def _open(self, *, writing: bool) -> None:
        """Have a context of the kind that is needed.

        Raises:
            UserError: there is no memory for it.
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
                f"{self._path}: no memory for its context. Close other programs, or give a smaller "
                "LLM."
            )
        self.sizes = sizes
        for kind, had in self._sizes.items():
            if had == wanted:
                self._sizes[kind] = sizes
        self._context = context
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = _Batch(sizes.batch_tokens)
        self._shared: list[int] = []

    def _own_cells_hold(self, prompts: Sequence[Prompt], max_tokens: int) -> bool:
        """Whether no prompt is too long for a sequence of a context for writing."""
        longest = self._sizes[True].longest_prompt
        if longest >= self.longest_prompt:
            return True
        spare = self.longest_prompt - longest
        return all(self.room(prompt, max_tokens) >= spare for prompt in prompts)

    def _new_context(self, sizes: Sizes) -> Any:
        """A context; None where there is no memory for it.

        Some of what llama.cpp allocates it can't do without: it ends the process. So it is tried
        first whether there is as much: the cache, and logits of a whole batch, once as they are
        computed and once as they are kept.
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
        """Use this many CPU threads from the next call on."""
        self._threads = threads
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
        self._open(writing=self._own_cells_hold(prompts, sampling.max_tokens))
        schedule = self._plan(prompts, sampling.max_tokens)
        writing: list[_Leaf] = []
        while schedule.unfinished:
            if self.sizes.own_cells:
                self._close_gaps(schedule)
            for leaf in writing:
                self._add_next(leaf)
            self._prefill(schedule)
            wants, logits = self._decode()
            for want, found in zip(
                wants, self._of_rows(lambda row: candidates(row, sampling), logits), strict=True
            ):
                leaf = want.leaf
                if leaf.sampler is None:
                    leaf.sampler = Sampler(sampling, seeds[leaf.index])
                    writing.append(leaf)
                if self._goes_on(leaf, leaf.sampler.draw(*found), sampling.max_tokens):
                    continue
                leaf.sampler.close()
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
        self._open(writing=False)
        schedule = self._plan(prompts, max_tokens=0)
        while schedule.unfinished:
            self._prefill(schedule)
            wants, logits = self._decode()
            for want, row in zip(wants, logits, strict=True):
                odds[want.leaf.index] = _log_sum_exp(row[first_ids]) - _log_sum_exp(row[second_ids])
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
        self._open(writing=False)
        schedule = self._plan(prompts, max_tokens=0, continuations=continuations)
        while schedule.unfinished:
            self._prefill(schedule)
            wants, logits = self._decode()
            totals = self._of_rows(_log_sum_exp, logits)
            for want, row, total in zip(wants, logits, totals, strict=True):
                leaf = want.leaf
                if leaf.goes_on:
                    token = leaf.goes_on[want.token - leaf.wanted_from]
                    scores[leaf.index] += float(row[token]) - total
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
        self._fed = []  # what a call that was interrupted left
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
        schedule = _Schedule(max_tokens, self.sizes.sequences, cells)
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
            tokens += _taken_from(leaves)
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
            part = tokens[start : start + self.sizes.batch_tokens]
            for position, token in enumerate(part, start):
                self._add(token, position, SHARED_SEQUENCE)
            self._decode()
        self._shared = tokens

    def _copy(self, source: int, target: int) -> None:
        """Give a sequence without tokens those of another one."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def _admit(self, schedule: _Schedule) -> _Branch | None:
        """Start the next branch where there is room; it begins with the shared part."""
        branch = schedule.admit()
        if branch and self._shared:
            self._copy(SHARED_SEQUENCE, branch.leaves[0].sequence)
        return branch

    def _release(self, leaf: _Leaf, schedule: _Schedule) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, leaf.sequence, -1, -1)
        schedule.release(leaf)

    def _add(self, token: int, position: int, sequence: int, want: _Want | None = None) -> None:
        """Put one token into the batch."""
        self._fed.append(_Fed(token, position, sequence, want))

    def _add_next(self, leaf: _Leaf) -> None:
        """Put an answer's last token into the batch and ask for the next."""
        number = len(leaf.tokens) + len(leaf.answer) - 1
        self._add(leaf.answer[-1], leaf.start + number, leaf.sequence, _Want(leaf, number))

    def _prefill(self, schedule: _Schedule) -> None:
        """Fill the batch up with prompt tokens.

        A branch is admitted when the batch has room for it and not before: what is not in the
        context costs no attention.
        """
        for branch in schedule.prefilling:
            self._feed(branch)
        while self._room() and (admitted := self._admit(schedule)):
            self._feed(admitted)
        schedule.prefilling = [one for one in schedule.prefilling if not one.all_fed]

    def _close_gaps(self, schedule: _Schedule) -> None:
        """Move leaves so that the sequences in use are neighbours.

        llama.cpp computes a run of neighbours together, and each run reads all weights.
        """
        for source, target in schedule.close_gaps():
            self._copy(source, target)
            llama_cpp.llama_memory_seq_rm(self._memory, source, -1, -1)

    def _feed(self, branch: _Branch) -> None:
        """Put what fits of a branch and its leaves into the batch.

        Leaves that share a branch begin in the batch after its last token, when it can be copied.
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
            # As many as the answers beside them have: other lengths would be other runs.
            count = 1 if self.sizes.own_cells and left <= SHORT_LEAF else left
            for token in leaf.tokens[leaf.fed : leaf.fed + min(count, self._room())]:
                want = _Want(leaf, leaf.fed) if leaf.fed >= leaf.wanted_from else None
                self._add(token, leaf.start + leaf.fed, leaf.sequence, want)
                leaf.fed += 1

    def _room(self) -> int:
        """How many more tokens the batch takes."""
        return self.sizes.batch_tokens - len(self._fed)

    def _decode(self) -> tuple[list[_Want], np.ndarray]:
        """Compute the batch.

        Returns:
            What was wanted, and the logits of each: float32 (len(wants), vocabulary), valid until
            the next call.
        """
        if self.sizes.own_cells:
            # llama.cpp takes neighbours in the batch together where their sequences are, too.
            self._fed.sort(key=lambda one: one.sequence)
        self._batch.fill(self._fed)
        wants = [one.want for one in self._fed if one.want]
        self._fed = []
        self.usage.computed += self._batch.struct.n_tokens
        status = llama_cpp.llama_decode(self._context, self._batch.struct)
        if status != 0:
            self._shared = []
            raise RuntimeError(f"llama_decode failed with {status}: {last_log()}")
        return wants, self._logits(len(wants))

    def _logits(self, rows: int) -> np.ndarray:
        if not rows:
            return np.empty((0, self._gguf.vocabulary_size), np.float32)
        pointer = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, (rows, self._gguf.vocabulary_size))

    def _of_rows(self, look: Callable[[np.ndarray], Found], logits: np.ndarray) -> list[Found]:
        """What `look` finds in each row."""
        if self._pool and len(logits) >= ROWS_WORTH_THREADS:
            return list(self._pool.map(look, logits))
        return list(map(look, logits))

    def _goes_on(self, leaf: _Leaf, token: int, max_tokens: int) -> bool:
        """Put a token to an answer; False where the answer ends."""
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
    # Summed pairwise in float32: that is good to some 1e-6 of the sum.
    return float(highest + np.log(np.exp(logits - highest).sum()))
