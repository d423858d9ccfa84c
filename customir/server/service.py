"""One process of the server: uvicorn over the application."""

import functools
import math
import socket
from collections.abc import Sequence
from typing import Any, cast

import uvicorn

from customir.errors import UserError
from customir.server.app import create_app
from customir.server.audit import AuditLog
from customir.server.backend import Backend
from customir.server.metrics import Metrics
from customir.server.options import BACKLOG, Options
from customir.server.protocol import Connection


class Service:
    """Serves DIR on sockets until it is stopped.

    Raises:
        UserError: the index or the model is missing or damaged, the certificate is unusable, or the
            audit log cannot be written.
    """

    def __init__(self, options: Options) -> None:
        limits = options.limits
        self.metrics = Metrics()
        audit = AuditLog(options.audit) if options.audit else None
        self.backend = Backend(options.folder, limits, self.metrics, options.threads)
        app = create_app(
            self.backend, options.access, limits, self.metrics, audit, logged=options.logged
        )
        protocol = functools.partial(Connection, limits=limits, metrics=self.metrics)
        certificate, key = options.certificate or (None, None)
        config = uvicorn.Config(
            app,
            http=cast(Any, protocol),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            root_path=options.root,
            backlog=BACKLOG,
            timeout_keep_alive=math.ceil(limits.idle),
            timeout_graceful_shutdown=math.ceil(limits.seconds + limits.transfer),
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            self.backend.close()
            raise UserError(
                f"{certificate}, {key}: not a TLS certificate and its key in PEM format ({error})."
            ) from error
        self._server = uvicorn.Server(config)

    def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until `stop`; in the main thread, until SIGINT or SIGTERM, too."""
        try:
            self._server.run(list(sockets))
        finally:
            self.backend.close()

    def stop(self) -> None:
        """Accept no more requests, finish those in progress, and end `run`. Call it from any thread."""
        self._server.should_exit = True
