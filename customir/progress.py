"""Progress of long work: a bar with a rate and an ETA on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from customir.interrupt import raise_noted
from customir.terminal import printable

PLAIN_SECONDS = 10.0
# Of a bar, and of all that stands beside its title: counts, rate and time left.
BAR_WIDTH, OTHER_COLUMNS_WIDTH = 10, 54


class Task(Protocol):
    """A piece of long work with a known number of steps."""

    def advance(self, steps: int = 1) -> None:
        """Report that `steps` more steps are done."""


class Reporter(Protocol):
    """Reports what long work is doing, on stderr; stdout is for results."""

    def say(self, message: str) -> None:
        """Print a line."""

    def task(self, title: str, total: int, unit: str) -> AbstractContextManager[Task]:
        """Show the progress of `total` units of work, until the context ends."""
        raise NotImplementedError


class Silent:
    """Reports nothing: for tests and for use as a library."""

    def say(self, message: str) -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        pass

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator[Task]:
        yield self


class Plain:
    """One line every few seconds, without control characters: for pipes, files and CI."""

    def say(self, message: str) -> None:
        raise_noted()
        print(printable(message), file=sys.stderr, flush=True)

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator[Task]:
        task = _PlainTask(title, total, unit)
        yield task
        task.line()


class _PlainTask:
    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done = 0
        self._start = self._last = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        raise_noted()
        self._done += steps
        if time.monotonic() - self._last >= PLAIN_SECONDS:
            self.line()

    def line(self) -> None:
        self._last = time.monotonic()
        elapsed = max(self._last - self._start, 1e-9)
        rate = self._done / elapsed
        left = (self._total - self._done) / rate if rate else 0.0
        print(
            f"  {self._title}: {self._done}/{self._total} {self._unit}, "
            f"{rate:.1f} {self._unit}/s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


class Bars:
    """rich's progress bars, on stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)

    def say(self, message: str) -> None:
        """Print a message; where it wraps, it keeps its indentation."""
        raise_noted()
        text = printable(message)
        indent = len(text) - len(text.lstrip())
        self._console.print(Padding(Text(text[indent:]), (0, 0, 0, indent), expand=False))

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator[Task]:
        fixed = Column(no_wrap=True)
        title_width = max(12, self._console.width - OTHER_COLUMNS_WIDTH)
        columns = (
            TextColumn(
                "  {task.description}",
                table_column=Column(no_wrap=True, overflow="ellipsis", max_width=title_width),
            ),
            BarColumn(bar_width=BAR_WIDTH),
            MofNCompleteColumn(table_column=fixed),
            TextColumn("{task.fields[rate]}", table_column=fixed),
            TimeRemainingColumn(table_column=fixed),
            TextColumn("left", table_column=fixed),
        )
        with Progress(*columns, console=self._console) as progress:
            number = progress.add_task(title, total=total, rate="")
            yield _BarTask(progress, number, unit)


class _BarTask:
    def __init__(self, progress: Progress, number: TaskID, unit: str) -> None:
        self._progress, self._number, self._unit = progress, number, unit
        self._start, self._done = time.monotonic(), 0

    def advance(self, steps: int = 1) -> None:
        raise_noted()
        self._done += steps
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        self._progress.update(self._number, advance=steps, rate=f"{rate:.1f} {self._unit}/s")


def reporter_for_terminal() -> Reporter:
    """Progress bars if stderr is a terminal, otherwise plain lines."""
    return Bars() if sys.stderr.isatty() else Plain()
