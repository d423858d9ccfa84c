"""The unit-of-work loop: computes missing units, one batch per transaction."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from customir.progress import Reporter
from customir.workspace.database import Workspace

T = TypeVar("T")

UNIT_NAMES = {"query": "queries", "judgment": "judgments", "embedding": "texts", "topic": "topics"}


@dataclass(frozen=True)
class Unit(Generic[T]):
    """A piece of work and the content key of its result."""

    key: str
    work: T


def complete(
    workspace: Workspace,
    stage: str,
    kind: str,
    units: Sequence[Unit[T]],
    compute: Callable[[Sequence[T]], Sequence[bytes]],
    batch: int | Callable[[Sequence[Unit[T]]], Iterable[Sequence[Unit[T]]]],
    reporter: Reporter,
    title: str,
) -> dict[str, bytes]:
    """The results of all `units` by key; missing ones are computed and committed.

    Batches are cut from the missing units in the order given, and committed in that order: a run
    that was killed goes on with the batches that an uninterrupted run would have come to next.
    That matters where a result depends on what shares its batch, as llama.cpp's do.

    Args:
        compute: Returns one result for each unit, in order.
        kind: "query", "judgment", "embedding" or "topic".
        batch: How many units make a batch, or a function that cuts units into batches.
    """
    unique = list({unit.key: unit for unit in units}.values())
    found = workspace.results(unit.key for unit in unique)
    missing = [unit for unit in unique if unit.key not in found]
    done = len(unique) - len(missing)
    with workspace.transaction():
        workspace.note_used(found)
        workspace.count_work(stage, title, done=done, total=len(unique), computed=0, seconds=0.0)
    if not missing:
        return found
    if callable(batch):
        batches = batch(missing)
    else:
        batches = (missing[start : start + batch] for start in range(0, len(missing), batch))
    with reporter.task(title, total=len(missing), unit=UNIT_NAMES[kind]) as task:
        for members in batches:
            start = time.monotonic()
            values = compute([unit.work for unit in members])
            rows = [(unit.key, kind, value) for unit, value in zip(members, values, strict=True)]
            done += len(rows)
            with workspace.transaction() as database:
                database.executemany("INSERT INTO result VALUES (?, ?, ?)", rows)
                workspace.note_used(key for key, _, _ in rows)
                workspace.count_work(
                    stage,
                    title,
                    done=done,
                    total=len(unique),
                    computed=len(rows),
                    seconds=time.monotonic() - start,
                )
            found.update((key, value) for key, _, value in rows)
            task.advance(len(rows))
    return found
