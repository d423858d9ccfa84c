"""Blocking the network before a command does its work."""

from collections.abc import Sequence
from pathlib import Path

from customir.airgap import block_network
from customir.settings import (
    SETTINGS_NAME,
    Settings,
    llm_addresses,
    require_own_settings,
)
from customir.terminal import echo

KERNEL_DOES_NOT_BLOCK = "Note: Python alone refuses network access, native code is not held"


def block(llm_urls: Sequence[str] = ()) -> None:
    """No connection from here on, except to these LLM servers."""
    if reason := block_network(llm_addresses(llm_urls)):
        echo(f"{KERNEL_DOES_NOT_BLOCK}: {reason}.", err=True)


def warn_of_llm_servers(folder: Path, settings: Settings) -> None:
    """Name the LLM servers that DIR/customir.toml chose; refuse what somebody else may have chosen."""
    if settings.llm_urls:
        require_own_settings(folder)
        echo(
            f"Text of the corpus is sent to {', '.join(settings.llm_urls)}, as llm_urls in "
            f"{folder / SETTINGS_NAME} says. By http:// it travels unencrypted.",
            err=True,
        )
