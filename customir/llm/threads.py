"""The number of threads with which the LLM is fastest, measured instead of derived from the cores.

A core that is busy with something else, or is one half of a physical core (SMT), slows all threads
down to its own pace: two threads on a busy core are slower than one.
"""

import time

from customir.llm.engine import Engine
from customir.llm.prompt import Prompt
from customir.processors import usable_processors

PROMPT_TOKENS = 128
# More threads are used only if they are faster by more than this factor.
WORTH = 1.1
# Fewer threads are not tried once a number is slower than the best by more than this factor.
HOPELESS = 1.5


def fastest_threads(engine: Engine) -> int:
    """Find the number of threads with the fastest prefill among all cores, half of them, ..., 1.

    The measurement takes seconds. The engine then uses that number.
    """
    counts = [usable_processors()]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    word = "the "
    text = word * (PROMPT_TOKENS // max(1, engine.count_tokens(word)))
    number = 0

    def seconds(count: int) -> float:
        nonlocal number
        number += 1
        engine.set_threads(count)
        start = time.perf_counter()
        engine.score([Prompt("", "", f"{number} {text}:")], [""])
        return time.perf_counter() - start

    seconds(counts[0])  # warms up
    taken: dict[int, float] = {}
    for count in counts:
        taken[count] = min(seconds(count), seconds(count))
        if taken[count] > HOPELESS * min(taken.values()):
            break
    chosen = min(taken)
    for count in sorted(taken):
        if taken[count] * WORTH < taken[chosen]:
            chosen = count
    engine.set_threads(chosen)
    return chosen
