"""Activations of a forward pass that the same pass, run again, reads instead of computing them.

Korthikanti et al. 2022 (arXiv 2205.05198), section 5: of all that a gradient needs, keep what is
expensive to compute and small. Here, these are the results of attention and of linears with fewer
outputs than inputs, since each of their numbers is the sum of most products.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

ActivationCache = deque[Tensor]
_active: ContextVar[tuple[ActivationCache, bool] | None] = ContextVar("active", default=None)


@contextmanager
def recording(cache: ActivationCache) -> Iterator[None]:
    """Within, a forward pass appends the activations that are worth it to `cache`."""
    with _activate(cache, False):
        yield


@contextmanager
def replaying(cache: ActivationCache) -> Iterator[None]:
    """Within, the same forward pass takes them out of `cache`, which is empty at its end."""
    with _activate(cache, True):
        yield


def record_or_replay(compute: Callable[[], Tensor]) -> Tensor:
    """What `compute` returns, or returned at this place of the recorded pass. Must not be written to."""
    active = _active.get()
    if active is None:
        return compute()
    cache, replay = active
    if replay:
        return cache.popleft()
    result = compute()
    cache.append(result)
    return result


@contextmanager
def _activate(cache: ActivationCache, replay: bool) -> Iterator[None]:
    token = _active.set((cache, replay))
    try:
        yield
    finally:
        _active.reset(token)
