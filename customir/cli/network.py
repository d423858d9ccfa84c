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

KERNEL_DOES_NOT_BLOCK = "Note: network access is blocked in Python only, not in native code"


def block(llm_urls: Sequence[str] = ()) -> None:
    """Allow no connection from now on, except to these LLM servers."""
    if reason := block_network(llm_addresses(llm_urls)):
        echo(f"{KERNEL_DOES_NOT_BLOCK}: {reason}.", err=True)


def warn_of_llm_servers(folder: Path, settings: Settings) -> None:
    """Print the LLM servers in DIR/customir.toml; refuse a file that another user could have written."""
    if settings.llm_urls:
        require_own_settings(folder)
        echo(
            f"Text of the corpus is sent to {', '.join(settings.llm_urls)}, because llm_urls in "
            f"{folder / SETTINGS_NAME} says so. http:// is unencrypted.",
            err=True,
        )
