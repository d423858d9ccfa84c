"""What the audit hook refuses, and in which words: event by event, without blocking this process."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from customir.airgap.hook import AirGapError, _hook


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        yield made


@pytest.mark.parametrize(
    ("event", "arguments", "what"),
    [
        ("socket.connect", (None, ("10.1.2.3", 80)), "connect to 10.1.2.3:80"),
        ("socket.connect", (None, ("fe80::1", 80, 0, 0)), "connect to [fe80::1]:80"),
        ("socket.connect", (None, (7, 0)), "connect to 7:0"),
        ("socket.connect", (None, (7,)), "connect to (7,)"),
        ("socket.connect", (None, "/run/daemon"), "connect to /run/daemon"),
        ("socket.connect", (None, b"/run/\xff"), "connect to /run/\\xff"),
        ("socket.connect", (None, bytearray("/run/ä", "utf-8")), "connect to /run/ä"),
        ("socket.getaddrinfo", ("customir.invalid", 80), "look up customir.invalid"),
        ("socket.gethostbyname", ("customir.invalid",), "look up customir.invalid"),
        ("socket.gethostbyaddr", ("192.0.2.1",), "look up 192.0.2.1"),
        ("socket.getnameinfo", (("192.0.2.1", 80),), "look up 192.0.2.1"),
        ("socket.__new__", (None, socket.AF_INET6), "open a socket of family AF_INET6"),
        ("socket.__new__", (None, -1), "open a socket of family AF_INET"),
        ("socket.__new__", (None, 1234), "open a socket of family 1234"),
    ],
)
def test_what_is_refused_is_named(event: str, arguments: tuple[Any, ...], what: str) -> None:
    with pytest.raises(AirGapError) as raised:
        _hook(event, arguments)
    message = str(raised.value)
    assert message.startswith(
        f"CustomIR makes no network connections: refused to {what} (asked for by "
    )
    assert message.endswith("). Only `customir models fetch` uses the network.")


@pytest.mark.parametrize("event", ["socket.sendto", "socket.sendmsg"])
def test_datagrams_are_refused_where_they_name_an_address(event: str, udp: socket.socket) -> None:
    with pytest.raises(AirGapError, match=r"refused to send to 10\.1\.2\.3:53"):
        _hook(event, (udp, ("10.1.2.3", 53)))
    _hook(event, (udp, None))
    left, right = socket.socketpair()
    with left, right:
        _hook(event, (left, "/run/daemon"))


@pytest.mark.parametrize("host", ["127.0.0.1", b"127.0.0.1", "::1", "", None])
def test_addresses_and_this_machine_take_no_look_up(host: str | bytes | None) -> None:
    _hook("socket.getaddrinfo", (host, 80))


def test_other_events_are_none_of_its_business() -> None:
    _hook("open", ("/etc/hosts", "r", 0))
    _hook("socket.__new__", (None, socket.AF_UNIX))


def test_packages_are_named_from_the_innermost_without_ours_and_python_s() -> None:
    inner: dict[str, Any] = {"__name__": "driver.part", "_hook": _hook}
    exec("def ask(): _hook('socket.connect', (None, 'x'))", inner)
    middle: dict[str, Any] = {"__name__": "json.decoder", "ask": inner["ask"]}
    exec("def pass_on(): ask()", middle)
    outer: dict[str, Any] = {"__name__": "client", "pass_on": middle["pass_on"]}
    exec("def call(): pass_on()", outer)
    with pytest.raises(AirGapError) as raised:
        outer["call"]()
    message = str(raised.value)
    assert "driver, called by client, called by " in message
    assert message.count("driver") == message.count("pluggy") == 1, "each is named once"
    assert "customir," not in message
