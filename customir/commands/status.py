"""Which stages are done, what is left, and how long it will take at the measured rate."""

from dataclasses import dataclass

from customir.pipeline import Stage
from customir.workspace import StageState


@dataclass(frozen=True)
class StageStatus:
    """One line of `customir status`.

    Attributes:
        state: done, stale (settings or an earlier stage have changed since), in progress, or to do.
        seconds: Time spent so far; None if nothing was done.
        work: Kinds of work units, each with the number done and the total.
        seconds_left: Time for the remaining units at the measured rate; None if unknown.
    """

    name: str
    state: str
    seconds: float | None
    work: tuple[tuple[str, int, int], ...]
    seconds_left: float | None

    @property
    def seconds_text(self) -> str:
        return "" if self.seconds is None else f"{self.seconds:.1f}"

    @property
    def work_text(self) -> str:
        return ", ".join(f"{kind} {done}/{total}" for kind, done, total in self.work)

    @property
    def left_text(self) -> str:
        if self.state == "done":
            return ""
        return "not measured yet" if self.seconds_left is None else f"{self.seconds_left:.0f} s"


def stage_status(stage: Stage, state: StageState | None, done: bool) -> StageStatus:
    """The status of a stage, from its state in the workspace."""
    if state is None:
        return StageStatus(stage.name, "to do", None, (), None)
    work = tuple((kind.kind, kind.done, kind.total) for kind in state.work)
    if done:
        return StageStatus(stage.name, "done", state.seconds, work, 0.0)
    left = [
        (kind.total - kind.done) / kind.rate
        for kind in state.work
        if kind.done < kind.total and kind.rate
    ]
    name = "stale" if state.finished else "in progress"
    return StageStatus(stage.name, name, state.seconds, work, sum(left) if left else None)
