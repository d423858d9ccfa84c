"""Union-find, for threads and near-duplicate groups."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class DisjointSet(Generic[T]):
    """Disjoint sets that can be merged, with path halving (Tarjan and van Leeuwen 1984)."""

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}

    def find(self, item: T) -> T:
        """The representative of the set of `item`; an unknown item is a set of its own."""
        parent = self._parent
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def merge(self, one: T, other: T) -> None:
        """Merge the sets of `one` and `other`."""
        self._parent[self.find(other)] = self.find(one)

    def smallest(self, items: Iterable[T]) -> dict[T, T]:
        """For each of `items`, the smallest of `items` in its set."""
        named: dict[T, T] = {}
        ordered = sorted(items)  # type: ignore[type-var]
        for item in ordered:
            named.setdefault(self.find(item), item)
        return {item: named[self.find(item)] for item in ordered}
