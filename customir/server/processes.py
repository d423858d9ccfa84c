"""The server's processes: one, or several that accept connections from the same socket."""

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType

from customir.errors import UserError
from customir.processors import usable_processors
from customir.server.options import BACKLOG, Options
from customir.terminal import echo

# prometheus_client looks for it as it is imported: processes share their figures in this folder.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
WILL_FAIL_AGAIN = 2  # exit status of a process that found no model, index or certificate
RESTART_SECONDS = 1.0
STOPPING = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], None]


def serve(bound: socket.socket, options: Options, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests in progress. Call it in the main thread.

    Args:
        ready: Called as soon as requests are answered.

    Raises:
        UserError: as `Service`.
    """
    from customir.server.logs import log_as_json
    from customir.server.service import Service

    log_as_json()
    service = Service(options)
    bound.listen(BACKLOG)
    ready()
    # uvicorn hands each signal on that it stopped for.
    with _handling(lambda *_: service.stop()):
        service.run([bound])


def serve_in_processes(
    bound: socket.socket, options: Options, ready: Callable[[], None], number: int
) -> None:
    """As `serve`, by `number` processes, each with its part of the processors.

    Each keeps its own limits. One that dies is started again.

    Raises:
        UserError: a process has no model, no index or no usable certificate.
    """
    threads = max(1, usable_processors() // number)
    folder = tempfile.mkdtemp(prefix="customir-metrics-")
    os.environ[METRICS_FOLDER] = folder
    try:
        _Supervisor(bound, replace(options, threads=threads), ready).run(number)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Supervisor:
    """Starts processes, starts them again, and stops them.

    They are forks of a process that has neither loaded a model nor started a thread, so that they
    inherit what it has given up for good: the right to open connections.
    """

    def __init__(self, bound: socket.socket, options: Options, ready: Callable[[], None]) -> None:
        self._bound, self._options, self._ready = bound, options, ready
        self._started: dict[int, float] = {}
        self._stopping = False
        # Its write end is open in this process alone: read to its end, this process is gone.
        self._alive, self._held = os.pipe()

    def run(self, number: int) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        failed = False
        with _handling(lambda *_: self._stop()):
            self._start(self._ready)
            for _ in range(number - 1):
                self._start(lambda: None)
            while self._started:
                identifier, status = os.wait()
                lived = time.monotonic() - self._started.pop(identifier)
                # Takes its gauges out of the sums.
                mark_process_dead(identifier)  # type: ignore[no-untyped-call]
                if os.waitstatus_to_exitcode(status) == WILL_FAIL_AGAIN:
                    failed = True
                    self._stop()
                if not self._stopping:
                    time.sleep(max(0.0, RESTART_SECONDS - lived))
                    self._start(lambda: None)
        if failed:
            raise UserError("A process of the server could not start. Its error message is above.")

    def _start(self, ready: Callable[[], None]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            identifier = os.fork()
            if identifier == 0:
                self._work(ready)
            self._started[identifier] = time.monotonic()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        if self._stopping:
            os.kill(identifier, signal.SIGTERM)

    def _work(self, ready: Callable[[], None]) -> None:
        """The whole work of a new process."""
        status = 0
        try:
            for number in STOPPING:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            os.close(self._held)
            threading.Thread(target=self._stop_when_alone, daemon=True).start()
            serve(self._bound, self._options, ready)
        except UserError as error:
            echo(f"Error: {error}", err=True)
            status = WILL_FAIL_AGAIN
        except BaseException:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            status = 1
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _stop_when_alone(self) -> None:
        os.read(self._alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _stop(self) -> None:
        self._stopping = True
        for identifier in self._started:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(identifier, signal.SIGTERM)


@contextmanager
def _handling(handler: Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
