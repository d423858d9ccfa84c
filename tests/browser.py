"""A real browser: headless Chromium, driven through its WebDriver (https://www.w3.org/TR/webdriver2/)."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

DRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
DOWN, ENTER, ESCAPE, BACKSPACE = "\ue015", "\ue007", "\ue00c", "\ue003"
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"]


class Browser:
    """One window. The few commands of WebDriver that are needed here."""

    def __init__(self, driver: str) -> None:
        self._driver = driver
        wanted = {"alwaysMatch": {"goog:chromeOptions": {"args": ARGUMENTS}}}
        self._session = ""
        started = self.call("POST", "/session", {"capabilities": wanted})
        self._session = f"/session/{started['sessionId']}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._driver + self._session + path, content, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error

    def look(
        self, width: int = 1200, height: int = 720, scheme: Literal["light", "dark"] = "light"
    ) -> None:
        """Give the window a size and the colours that its user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._devtools("Emulation.setEmulatedMedia", features=[feature])

    def _devtools(self, command: str, **parameters: Any) -> None:
        self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url: str) -> None:
        """Load a page, even where only what follows the # is new."""
        for each in ("about:blank", url):
            self.call("POST", "/url", {"url": each})

    def back(self) -> None:
        self.call("POST", "/back", {})

    def forward(self) -> None:
        self.call("POST", "/forward", {})

    def type(self, keys: str, selector: str | None = None) -> None:
        """Type into an element, or into the one that has the focus."""
        target = self._find(selector) if selector else self.call("GET", "/element/active")
        self.call("POST", f"/element/{target[ELEMENT]}/value", {"text": keys})

    def click(self, selector: str) -> None:
        self.call("POST", f"/element/{self._find(selector)[ELEMENT]}/click", {})

    def _find(self, selector: str) -> Any:
        return self.call("POST", "/element", {"using": "css selector", "value": selector})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns, or what the promise that it returns brings."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, expression: str) -> Any:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + 30
        while not (found := self.run(f"return {expression}")):
            text = "return document.body.innerText"
            assert time.monotonic() < end, f"still not: {expression}\n{self.run(text)}"
            time.sleep(0.03)
        return found

    def text(self, selector: str) -> list[str]:
        """The text of every element that the selector finds."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)",
                selector,
            )
        )

    def picture(self, file: Path) -> None:
        """Write what the window shows, as PNG."""
        file.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def close(self) -> None:
        self.call("DELETE", "")


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Start Chromium and its driver, and end both."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while True:
            try:
                browser = Browser(f"http://127.0.0.1:{port}")
                break
            except urllib.error.URLError:
                assert time.monotonic() < end, "chromedriver does not start"
                time.sleep(0.2)
        yield browser
        browser.close()
    finally:
        process.terminate()
        process.wait(10)
