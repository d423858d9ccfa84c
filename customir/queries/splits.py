"""Train, dev and test: disjoint by thread and by near-duplicate group."""

from collections.abc import Sequence

from customir.workspace import content_key
from customir.workspace.passages import Passage
from customir.workspace.queries import Split

DEV_SHARE = 1 / 3


def split_passages(passages: Sequence[Passage], held_out: float, seed: int) -> dict[str, Split]:
    """The split of each passage, by key.

    Threads that share a near-duplicate group form one cluster, which is never divided. A cluster is
    held out with probability `held_out`, by a hash of its content and the seed. A third of the
    held-out clusters are for dev, where one of a few interpolation weights is chosen, and two
    thirds are for test, where the gate decides.
    """
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for passage in passages:
        thread, group = find(f"t{passage.thread}"), find(f"d{passage.duplicates}")
        low, high = sorted((thread, group))
        parent[high] = low
    splits: dict[str, Split] = {}
    for passage in passages:
        cluster = content_key("split", seed, find(f"t{passage.thread}"))
        share = int(cluster[:12], 16) / 16**12
        splits[passage.key] = (
            "dev" if share < held_out * DEV_SHARE else "test" if share < held_out else "train"
        )
    return splits
