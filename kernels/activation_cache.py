"""Recorded activations of a forward pass, which are replayed when the same pass runs again.

Korthikanti et al. 2022 (arXiv 2205.05198), section 5: of the activations that the gradient needs,
store those that are small but expensive to compute. Here, these are the results of attention and of
linears with fewer outputs than inputs, since each of their numbers is a sum of many products.
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
    """Let a forward pass within the context append the activations worth caching to `cache`."""
    with _activate(cache, False):
        yield


@contextmanager
def replaying(cache: ActivationCache) -> Iterator[None]:
    """Let the same forward pass remove them from `cache`, which is empty afterwards."""
    with _activate(cache, True):
        yield


def record_or_replay(compute: Callable[[], Tensor]) -> Tensor:
    """The result of `compute`, or the recorded one when replaying. It must not be written to."""
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
