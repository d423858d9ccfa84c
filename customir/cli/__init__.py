"""The command line, one module per group of commands."""

from customir.cli.main import EXIT_INTERRUPTED, EXIT_USER_ERROR, cli, main

__all__ = ["EXIT_INTERRUPTED", "EXIT_USER_ERROR", "cli", "main"]
