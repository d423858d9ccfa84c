"""The engine on a real model: isolation between sequences, repeatability, limits, accounting."""

import json
import operator
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from customir.errors import UserError
from customir.llm import Engine, Prompt, Sampling, Usage
from customir.llm.gguf import gpu_is_there
from customir.llm.scheduler import Leaf, Schedule
from customir.llm.sizes import SCORING_ON_CPU as ON_CPU
from customir.llm.sizes import WRITING_ON_CPU, Sizes
from customir.llm.threads import fastest_threads

SHARED = "Colours that were seen.\nred, blue, red, blue,\n"
# What another kernel for another batch size made of the same prompt differed by up to 0.45 nats
# within llama.cpp itself (Q4_1, one token a call against all at once, flash attention or not).
# A token that is seen but should not be, or stands at a wrong position, shifts these by several.
NOISE = 0.5
# Enough for a few sequences and the logits of a batch, but not for all of them.
TIGHT_MEGABYTES = 240
GREEDY = Sampling(temperature=0, max_tokens=6)


def prompt(branch: str, leaf: str) -> Prompt:
    return Prompt(SHARED, branch, leaf)


BRANCHES = ("Pump: red, red, red\n", "Gate: blue, blue, blue\n")
LEAVES = ("Then: red, red, red, red,", "Then: blue, blue, blue, blue,", "Then: blue, red,")
GRID = [prompt(branch, leaf) for branch in BRANCHES for leaf in LEAVES]
DRAWN = Sampling(temperature=1.0, max_tokens=6)
SENTENCES = [
    prompt("", f"Yesterday {who} went to the {where} because")
    for who in ("Ann", "Bob", "the manager")
    for where in ("office", "sea")
]
SEEDS = list(range(len(SENTENCES)))


@pytest.fixture(scope="module")
def engine(smollm: Path) -> Iterator[Engine]:
    with Engine(smollm, device="cpu", threads=1) as made:
        yield made


@pytest.fixture(scope="module")
def reference(smollm: Path) -> Iterator[llama_cpp.Llama]:
    """llama-cpp-python's own interface: one prompt at a time, one sequence, nothing shared."""
    llama = llama_cpp.Llama(
        str(smollm), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False, flash_attn=True
    )
    yield llama
    llama.close()


def tokens_of(llama: llama_cpp.Llama, text: str) -> list[int]:
    return list(llama.tokenize(text.encode(), add_bos=False, special=False))


def logits_after(llama: llama_cpp.Llama, tokens: list[int]) -> np.ndarray:
    llama.eval(tokens)
    pointer = llama_cpp.llama_get_logits_ith(llama._ctx.ctx, -1)
    return np.ctypeslib.as_array(pointer, (llama.n_vocab(),)).astype(np.float64)


def odds_by_reference(llama: llama_cpp.Llama, asked: Prompt, first: str, second: str) -> float:
    llama.reset()
    logits = logits_after(llama, tokens_of(llama, asked.shared + asked.branch + asked.leaf))
    exact = np.exp(logits - logits.max())

    def mass(word: str) -> float:
        forms = {word.lower(), word.capitalize(), " " + word.lower(), " " + word.capitalize()}
        return float(exact[sorted({tokens_of(llama, form)[0] for form in forms})].sum())

    return float(np.log(mass(first) / mass(second)))


def greedy_by_reference(llama: llama_cpp.Llama, asked: Prompt, max_tokens: int) -> str:
    llama.reset()
    tokens = tokens_of(llama, asked.shared + asked.branch + asked.leaf)
    answer: list[int] = []
    while len(answer) < max_tokens:
        tokens = [int(np.argmax(logits_after(llama, tokens)))]
        if tokens[0] == llama.token_eos():
            break
        answer += tokens
        if b"\n" in llama.detokenize(answer):
            break
    return llama.detokenize(answer).decode("utf-8", "ignore").split("\n")[0].strip()


def test_choice_is_the_reference_s_when_nothing_is_shared(
    engine: Engine, reference: llama_cpp.Llama
) -> None:
    for asked in GRID[:3]:
        whole = Prompt("", "", asked.shared + asked.branch + asked.leaf)
        expected = odds_by_reference(reference, asked, "red", "blue")
        # The same tokens in the same batch: the same kernels, so no noise at all.
        assert engine.choice([whole], "red", "blue") == pytest.approx([expected], abs=1e-4)


def test_choice_with_shared_branches_is_the_reference_s_up_to_noise(
    engine: Engine, reference: llama_cpp.Llama
) -> None:
    together = engine.choice(GRID, "red", "blue")
    expected = [odds_by_reference(reference, asked, "red", "blue") for asked in GRID]
    assert np.abs(np.subtract(together, expected)).max() < NOISE
    assert np.ptp(expected) > 6 * NOISE, "else the tolerance would let anything pass"


def test_together_is_as_alone_up_to_noise(engine: Engine) -> None:
    together = engine.choice(GRID, "red", "blue")
    alone = [engine.choice([asked], "red", "blue")[0] for asked in GRID]
    assert np.abs(np.subtract(together, alone)).max() < NOISE


def test_answers_stand_in_the_caller_s_order(engine: Engine) -> None:
    order = [4, 0, 5, 2, 1, 3]
    shuffled = engine.choice([GRID[number] for number in order], "red", "blue")
    straight = engine.choice(GRID, "red", "blue")
    assert np.abs(np.subtract(shuffled, [straight[number] for number in order])).max() < NOISE
    assert engine.choice(GRID, "blue", "red") == pytest.approx([-odds for odds in straight])


def test_greedy_generation_is_the_reference_s(engine: Engine, reference: llama_cpp.Llama) -> None:
    counting = [
        Prompt("", "", "1, 2, 3, 4, 5, 6, 7,"),
        Prompt("", "", "Monday, Tuesday, Wednesday,"),
        Prompt("", "", "red\nblue\nred\nblue\nred\n"),
    ]
    together = engine.generate(counting, [0, 0, 0], GREEDY)
    assert together == [greedy_by_reference(reference, asked, 6) for asked in counting]
    assert together[0].startswith("8, 9")
    assert together[2] == "blue"


def test_answers_that_end_between_others_leave_these_alone(
    engine: Engine, reference: llama_cpp.Llama
) -> None:
    """Sequences are moved where gaps arise; branches have leaves of one token and of many."""
    line = Prompt("", "red\nblue\n", "red\nblue\nred\n")
    counting = [
        Prompt("", "1, 2, 3, 4,", leaf) for leaf in (" 5, 6, 7,", " 5, 6, 7, 8, 9, 10, 11,", " 5,")
    ]
    days = [Prompt("", "", "Monday, Tuesday, Wednesday,")]
    asked = [
        line,
        line,
        *counting,
        line,
        *days,
        line,
        *counting,
        *days,
        line,
        line,
        *counting,
        line,
    ]
    sampling = Sampling(temperature=0, max_tokens=9)
    together = engine.generate(asked, [0] * len(asked), sampling)
    alone = {one: greedy_by_reference(reference, one, 9) for one in set(asked)}
    assert together == [alone[one] for one in asked]
    assert len(set(alone.values())) > 2


def test_cells_that_sequences_share_give_the_same_answers(
    engine: Engine, smollm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does: one context for all, shared cells, rows looked at by threads."""
    shared = Sizes(sequences=24, context_tokens=4096, batch_tokens=512, own_cells=False)
    monkeypatch.setattr("customir.llm.engine.choose_sizes", lambda *_, **__: shared)
    lists = [
        Prompt("", f"{start}, ", f"{start + 1}, {start + 2}, {start + 3},")
        for start in range(1, 31)
        for _ in range(2)
    ]
    sampling = Sampling(temperature=0, max_tokens=6)
    own = engine.generate(lists, [0] * len(lists), sampling)
    odds = engine.choice(GRID, "red", "blue")
    with Engine(smollm, device="cpu", threads=1) as like_on_gpu:
        like_on_gpu._pool = ThreadPoolExecutor(2)
        context = like_on_gpu._context
        made = like_on_gpu.generate(lists, [0] * len(lists), sampling)
        # Noise decides now and then, where two answers are nearly as likely.
        assert sum(map(operator.eq, made, own)) >= 0.9 * len(lists)
        assert len(set(own)) > 10
        scores = like_on_gpu.score(GRID * 4, [" red, red, red"] * len(GRID * 4))
        assert np.abs(np.subtract(like_on_gpu.choice(GRID, "red", "blue"), odds)).max() < NOISE
        assert like_on_gpu._context is context
    expected = engine.score(GRID * 4, [" red, red, red"] * len(GRID * 4))
    assert np.abs(np.subtract(scores, expected)).max() < 3 * NOISE


def test_sequences_in_use_become_neighbours() -> None:
    schedule = Schedule(max_tokens=1, sequences=6, cells=None)
    leaves = [Leaf(number, [1], 0, 0, []) for number in range(6)]
    for leaf in leaves:
        schedule.queue([], [leaf])
        assert schedule.admit() is not None
    for number in (0, 2, 3):
        schedule.release(leaves[number])
    assert schedule.close_gaps() == [(6, 1), (5, 3)]
    assert [leaves[number].sequence for number in (1, 4, 5)] == [2, 3, 1]
    assert schedule.close_gaps() == []


def test_the_same_calls_give_the_same_answers_whatever_came_before(engine: Engine) -> None:
    odds = engine.choice(GRID, "red", "blue")
    texts = engine.generate(SENTENCES, SEEDS, DRAWN)
    for _ in range(2):
        engine.generate(GRID[:2], [7, 8], DRAWN)
        engine.choice([Prompt("Another start.\n", "x\n", "y")], "red", "blue")
        assert engine.choice(GRID, "red", "blue") == odds
        engine.choice(GRID[3:], "red", "blue")
        assert engine.generate(SENTENCES, SEEDS, DRAWN) == texts


def test_a_fresh_process_gives_the_same_answers(engine: Engine, smollm: Path) -> None:
    script = """
import json, sys
from pathlib import Path
from customir.llm import Engine, Prompt, Sampling
asked = json.load(sys.stdin)
with Engine(Path(asked["model"]), device="cpu", threads=1) as engine:
    texts = engine.generate([Prompt(*p) for p in asked["write"]], asked["seeds"], Sampling(1.0, 6))
    odds = engine.choice([Prompt(*p) for p in asked["judge"]], "red", "blue")
print(json.dumps([texts, odds]))
"""
    asked = {
        "model": str(smollm),
        "write": [[p.shared, p.branch, p.leaf] for p in SENTENCES],
        "judge": [[p.shared, p.branch, p.leaf] for p in GRID],
        "seeds": SEEDS,
    }
    run = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(asked), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [
        engine.generate(SENTENCES, SEEDS, DRAWN),
        engine.choice(GRID, "red", "blue"),
    ]


def log_probability_by_reference(llama: llama_cpp.Llama, text: str, continuation: str) -> float:
    llama.reset()
    logits = logits_after(llama, tokens_of(llama, text))
    total = 0.0
    for token in tokens_of(llama, continuation):
        total += float(logits[token] - np.logaddexp.reduce(logits))
        logits = logits_after(llama, [token])
    return total


def test_score_is_the_log_probability_of_the_continuation(
    engine: Engine, reference: llama_cpp.Llama
) -> None:
    asked = [prompt(branch, LEAVES[0]) for branch in BRANCHES for _ in range(2)]
    continuations = [" red, red, red", " blue, red, sausage", " red", ""]
    scores = engine.score(asked, continuations)
    expected = [
        log_probability_by_reference(reference, p.shared + p.branch + p.leaf, continuation)
        for p, continuation in zip(asked, continuations, strict=True)
    ]
    # Noise adds up over the tokens of a continuation.
    assert np.abs(np.subtract(scores, expected)).max() < 3 * NOISE
    assert expected[1] < expected[0] - 6 * NOISE
    assert scores[3] == 0.0


def test_a_chat_prompt_is_the_template_s_and_text_in_it_stays_text(
    engine: Engine, reference: llama_cpp.Llama
) -> None:
    said = [Prompt("Answer red or blue.\n", f"Seen: {colour}.\n", "Colour?", chat=True)
            for colour in ("red", "blue", "<|im_end|>")]  # fmt: skip
    assert engine.chat_frame is not None
    before, after = engine.chat_frame
    assert "<|im_start|>user" in before
    assert after.endswith("<|im_start|>assistant\n")
    odds = engine.choice(said, "red", "blue")
    for asked, made in zip(said, odds, strict=True):
        reference.reset()
        tokens = list(reference.tokenize(before.encode(), add_bos=False, special=True))
        tokens += tokens_of(reference, asked.shared + asked.branch + asked.leaf)
        tokens += list(reference.tokenize(after.encode(), add_bos=False, special=True))
        logits = logits_after(reference, tokens)
        mass = {
            word: np.logaddexp.reduce(
                logits[sorted({tokens_of(reference, form)[0] for form in
                               (word, word.capitalize(), f" {word}", f" {word.capitalize()}")})]
            )
            for word in ("red", "blue")
        }  # fmt: skip
        assert made == pytest.approx(mass["red"] - mass["blue"], abs=NOISE)
    assert odds[0] > odds[1]


def test_seeds_decide_what_is_drawn(engine: Engine) -> None:
    same = [SENTENCES[0]] * 6
    free = Sampling(temperature=1.5, max_tokens=6)
    assert len(set(engine.generate(same, range(6), free))) > 1
    # 2**32 - 1 is llama.cpp's mark for "any seed".
    last = engine.generate([SENTENCES[0]] * 4, [2**32 - 1] * 4, free)
    assert len(set(last)) == 1
    assert len(set(engine.generate([SENTENCES[0]] * 4, range(4), GREEDY))) == 1


def test_more_leaves_than_sequences_and_than_the_cache_holds(engine: Engine) -> None:
    count = ON_CPU.sequences + 5
    leaves = [prompt(BRANCHES[0], LEAVES[number % 2]) for number in range(count)]
    odds = engine.choice(leaves, "red", "blue")
    assert np.ptp(odds[::2]) < NOISE
    assert np.ptp(odds[1::2]) < NOISE
    assert min(odds[::2]) > max(odds[1::2]) + NOISE
    # Each answer has the room of a quarter of the context set aside: they take turns.
    roomy = Sampling(temperature=0, max_tokens=ON_CPU.longest_prompt // 4)
    lists = [Prompt("", "red\nblue\n", f"red\nblue\n{word}\n") for word in ("red", "blue") * 5]
    assert engine.generate(lists, [0] * 10, roomy) == ["blue", "red"] * 5


def test_a_branch_longer_than_the_batch(engine: Engine, reference: llama_cpp.Llama) -> None:
    branch = "The gate is blue and the pump is red.\n" * (ON_CPU.batch_tokens // 10 + 2)
    assert engine.count_tokens(branch) > ON_CPU.batch_tokens
    asked = [Prompt("", branch, leaf) for leaf in LEAVES[:2]]
    expected = [odds_by_reference(reference, one, "red", "blue") for one in asked]
    assert np.abs(np.subtract(engine.choice(asked, "red", "blue"), expected)).max() < NOISE


@pytest.mark.parametrize("part", ["shared", "branch", "leaf"])
def test_too_long_a_prompt_is_refused_and_the_engine_goes_on(engine: Engine, part: str) -> None:
    before = engine.choice(GRID[:1], "red", "blue")
    texts = {"shared": "", "branch": "b", "leaf": "l", part: "word " * (ON_CPU.longest_prompt + 1)}
    with pytest.raises(ValueError, match="too long"):
        engine.choice([Prompt(**texts)], "red", "blue")
    with pytest.raises(ValueError, match="too long"):
        engine.generate([GRID[0]], [0], Sampling(0, ON_CPU.longest_prompt))
    assert engine.choice(GRID[:1], "red", "blue") == before


def test_room_is_what_still_fits(engine: Engine) -> None:
    beside = prompt("", LEAVES[0])
    room = engine.room(beside, max_tokens=6)
    assert ON_CPU.longest_prompt - 80 < room < ON_CPU.longest_prompt
    fitting = " word" * (room - 8)
    assert room - 10 <= engine.count_tokens(fitting) <= room
    engine.usage = Usage()
    engine.room(beside, max_tokens=6)
    assert engine.usage == Usage()
    schedule = engine._plan([prompt(fitting, LEAVES[0])], max_tokens=6)
    assert schedule.unfinished
    with pytest.raises(ValueError, match="too long"):
        engine.choice([prompt(fitting + " word" * 40, LEAVES[0])], "red", "blue")


def test_a_model_trained_on_little_context_is_given_no_more(smollm: Path, tmp_path: Path) -> None:
    content = bytearray(smollm.read_bytes())
    key = b"llama.context_length"
    value = content.index(key) + len(key) + 4  # after the value's type, a uint32
    content[value : value + 4] = (256).to_bytes(4, "little")
    short = tmp_path / "short.gguf"
    short.write_bytes(content)
    with Engine(short, device="cpu", threads=1) as engine:
        assert engine.longest_prompt == 256
        text = "The pump is red. " * 80
        cut = engine.truncate(text, engine.room(prompt("", LEAVES[0]), 0))
        assert 0 < len(cut) < len(text)
        assert cut.endswith(".")
        assert len(engine.choice([prompt(cut, LEAVES[0])], "red", "blue")) == 1
        with pytest.raises(ValueError, match="context of 256"):
            engine.choice([prompt(text, LEAVES[0])], "red", "blue")


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from customir.errors import UserError
from customir.llm import Engine, Prompt, Sampling
class Tight(Engine):
    def _new_context(self, sizes):
        if not hasattr(self, "limited"):
            status = Path("/proc/self/status").read_text()
            own = int(status.partition("VmSize:")[2].split()[0]) * 1024
            limit = own + int(sys.argv[2]) * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            self.limited = True
        return super()._new_context(sizes)
try:
    with Tight(Path(sys.argv[1]), device="cpu", threads=1) as engine:
        answer = engine.generate([Prompt("", "", "1, 2, 3, 4, 5, 6, 7,")], [0], Sampling(0, 4))
        print(engine.sizes.sequences, *answer)
except UserError as error:
    print(error)
"""


def with_memory(smollm: Path, megabytes: int) -> str:
    run = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(smollm), str(megabytes)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_where_memory_is_short_the_context_shrinks_and_the_work_goes_on(smollm: Path) -> None:
    sequences, *answer = with_memory(smollm, TIGHT_MEGABYTES).split()
    assert 1 <= int(sequences) < WRITING_ON_CPU.sequences
    assert answer[0].startswith("8")


def test_where_there_is_no_memory_it_says_so(smollm: Path) -> None:
    for megabytes in (20, 60, 120):  # llama.cpp itself dies of the last two
        assert "not enough memory for its context" in with_memory(smollm, megabytes)


def test_the_number_of_threads_is_tried(engine: Engine) -> None:
    before = engine.choice(GRID, "red", "blue")
    chosen = fastest_threads(engine)
    assert 1 <= chosen <= len(os.sched_getaffinity(0))
    engine.set_threads(1)
    assert engine.choice(GRID, "red", "blue") == before


def test_calls_that_make_no_sense_are_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="shared"):
        engine.choice([Prompt("a", "b", "c"), Prompt("x", "b", "c")], "red", "blue")
    with pytest.raises(ValueError, match="leaf is empty"):
        engine.choice([Prompt("a", "b", "")], "red", "blue")
    with pytest.raises(ValueError, match="same token"):
        engine.choice(GRID[:1], "red", "Red")


def test_no_prompts_no_answers_no_work(engine: Engine) -> None:
    engine.usage = Usage()
    assert engine.choice([], "red", "blue") == []
    assert engine.generate([], [], GREEDY) == []
    assert engine.usage == Usage()


def test_usage_counts_every_token_once(engine: Engine) -> None:
    def count(*texts: str) -> int:
        return sum(map(engine.count_tokens, texts))

    engine.usage = Usage()
    lonely = [Prompt("", f"Branch {n}\n", LEAVES[0]) for n in range(3)]
    engine.choice(lonely, "red", "blue")
    everything = sum(count(p.branch, p.leaf) for p in lonely)
    assert engine.usage == Usage(submitted=everything, computed=everything, written=0)

    engine.usage = Usage()
    engine.choice(GRID, "red", "blue")
    assert engine.usage.submitted == sum(count(p.shared, p.branch, p.leaf) for p in GRID)
    # What a branch's three leaves begin with is computed once.
    once = count(*BRANCHES, *LEAVES, *LEAVES) - 2 * 2 * count("Then:")
    assert engine.usage.computed == count(SHARED) + once
    submitted = engine.usage.submitted
    with pytest.raises(ValueError, match="too long"):
        engine.choice([*GRID, prompt("word " * ON_CPU.longest_prompt, "x")], "red", "blue")
    assert engine.usage.submitted == submitted
    engine.choice(GRID, "red", "blue")
    assert engine.usage.computed == count(SHARED) + 2 * once

    engine.usage = Usage()
    (answer,) = engine.generate([Prompt("", "", "1, 2, 3, 4, 5, 6, 7,")], [0], GREEDY)
    assert engine.usage.written == 6
    # The last token that was drawn is never fed back.
    assert engine.usage.computed == count("1, 2, 3, 4, 5, 6, 7,") + 5
    assert count(" " + answer) == 6


def test_an_answer_ends_at_a_line_break_or_at_max_tokens(engine: Engine) -> None:
    lines = Prompt("", "", "red\nblue\nred\nblue\nred\n")
    engine.usage = Usage()
    assert engine.generate([lines], [0], Sampling(0, 40)) == ["blue"]
    assert engine.usage.written < 5
    numbers = Prompt("", "", "1, 2, 3, 4, 5, 6, 7,")
    (short,) = engine.generate([numbers], [0], Sampling(0, 3))
    (longer,) = engine.generate([numbers], [0], Sampling(0, 9))
    assert longer.startswith(short)
    assert longer != short


@pytest.mark.parametrize("mark", ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<file_sep>"])
def test_special_tokens_in_a_text_are_plain_characters(engine: Engine, mark: str) -> None:
    assert engine.count_tokens(mark) > 3
    text = f"{mark} stands here and more words come after it until it is cut"
    assert engine.truncate(text, engine.count_tokens(mark) + 5).startswith(mark)


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "\ud800 broken", "日本語のメール", "🙂" * 9])
def test_any_text_can_be_counted_and_cut(engine: Engine, text: str) -> None:
    count = engine.count_tokens(text)
    assert (count > 0) == bool(text)
    assert engine.truncate(text, count) == text
    for tokens in range(1, count):
        cut = engine.truncate(text, tokens)
        assert text.strip().startswith(cut)
        assert engine.count_tokens(cut) <= tokens


def test_truncate_cuts_after_a_sentence(engine: Engine) -> None:
    text = "The pump is red. The gate is blue. The roof of the hall is old and leaks in the rain."
    cut = engine.truncate(text, engine.count_tokens(text) - 9)
    assert cut == "The pump is red. The gate is blue."
    assert engine.truncate(text, 1000) == text
    words = "word " * 50
    for tokens in (1, 2, 7, 30):
        cut = engine.truncate(words, tokens)
        assert set(cut.split()) == {"word"}
        assert 0 < engine.count_tokens(cut) <= tokens


def test_closing_frees_the_memory(smollm: Path) -> None:
    def own_megabytes() -> float:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no RssAnon")

    def live() -> float:
        with Engine(smollm, device="cpu", threads=1) as engine:
            engine.choice(GRID[:1], "red", "blue")
            return own_megabytes()

    live()
    before = own_megabytes()
    alive = [live() for _ in range(4)]
    assert alive[0] - before > 60, "else there would be nothing to free"
    assert own_megabytes() - before < 40


def test_closing_twice_is_closing_once(smollm: Path) -> None:
    engine = Engine(smollm, device="cpu", threads=1)
    engine.close()
    engine.close()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"Dear all, this is no model.\n" * 99),
        ("empty.gguf", b""),
        ("gone.gguf", None),
    ],
)
def test_what_is_no_gguf_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=name):
        Engine(path, device="cpu", threads=1)


@pytest.mark.parametrize("size", [100, 100_000, 5_000_000])
def test_a_cut_off_gguf_is_named(smollm: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.gguf"
    with smollm.open("rb") as whole:
        path.write_bytes(whole.read(size))
    with pytest.raises(UserError, match=r"cut\.gguf.*cannot load"):
        Engine(path, device="cpu", threads=1)


@pytest.mark.skipif(gpu_is_there(), reason="this llama.cpp has a GPU backend")
def test_cuda_without_cuda_is_an_error_that_says_what_to_do(smollm: Path) -> None:
    with pytest.raises(UserError, match="GGML_CUDA"):
        Engine(smollm, device="cuda", threads=1)
