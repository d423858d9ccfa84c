"""Results of a forward that the same forward, done again, takes over instead of making them.

Korthikanti et al. 2022 (arXiv 2205.05198), section 5: of all that a gradient needs, keep what takes
long to make and little room. Here that is what attention gives, and a linear that gives fewer
numbers than it takes: each of these is the sum of most products.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

Results = deque[Tensor]
_under_way: ContextVar[tuple[Results, bool] | None] = ContextVar("results", default=None)


@contextmanager
def kept_in(results: Results) -> Iterator[None]:
    """Within, a forward adds the results that are worth it to `results`."""
    with _with((results, False)):
        yield


@contextmanager
def taken_from(results: Results) -> Iterator[None]:
    """Within, the same forward takes them from there, so that none is left at its end."""
    with _with((results, True)):
        yield


def once(make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives, or gave at this place of the first forward; nobody may write into it."""
    under_way = _under_way.get()
    if under_way is None:
        return make()
    results, again = under_way
    if again:
        return results.popleft()
    made = make()
    results.append(made)
    return made


@contextmanager
def _with(under_way: tuple[Results, bool]) -> Iterator[None]:
    token = _under_way.set(under_way)
    try:
        yield
    finally:
        _under_way.reset(token)
