"""No process of ours opens a connection or looks up a name: strace watches what Python cannot see.

Native threads wait for seconds before they call home, so every process stays idle for a while after
its work. All run in a home of their own, with a loopback listener as their proxy, and with ONNX
Runtime's telemetry asked for by the environment.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mail import write_mailbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="strace is for Linux"),
]

IDLE_SECONDS = 30
SETTINGS = """
threads = 1
llm = "smollm2-135m"
[queries]
max_tokens = 8
[negatives]
candidates_per_query = 1
min_judge_auc = 0.5
[training]
batch_size = 8
epochs = 1
precision = "fp32"
[evaluation]
interpolation_weights = [1.0]
held_out_fraction = 0.4
"""
QUERY = "coffee machine technician"

STAY_IDLE = f"import sys, time; print('IDLE', file=sys.stderr); time.sleep({IDLE_SECONDS})"
SERVE = "from customir.cli import main; main()"
COMMAND = f"from customir.cli import main; main(); {STAY_IDLE}"
EMBEDDER = f"""
import sys
from pathlib import Path
from customir.runtime import Embedder
Embedder(Path(sys.argv[1]), "onnx/model.onnx").encode([{QUERY!r}], "query")
assert "onnxruntime" in sys.modules
{STAY_IDLE}
"""
ONNX_RUNTIME_ALONE = f"import onnxruntime; {STAY_IDLE}"
LOOK_UP = """
import contextlib, socket
with contextlib.suppress(OSError):
    socket.getaddrinfo("customir.invalid", 80)
"""

CALL = re.compile(r"^\d+ +(socket|connect|sendto|sendmsg|sendmmsg|io_uring_setup)\((.*)", re.M)
# By these a library asks this machine for something; nothing is connected or sent.
HARMLESS = {
    # urllib3 asks, as it is imported, whether a socket can be bound to ::1.
    "socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP)",
    # onnx names a temporary file by uuid1(), for which libuuid asks its daemon if there is one, and
    # reads the addresses of the network cards from a socket.
    'connect({sa_family=AF_UNIX, sun_path="/run/uuidd/request"}, 110)',
    "socket(AF_INET, SOCK_DGRAM, IPPROTO_IP)",
}
LISTENER = "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)"


def attempts(trace: str) -> list[str]:
    """The system calls in strace's output by which something could leave the process.

    These are every socket but a local one, also where the kernel refused it; every connection, also
    to a local socket, because a name may be looked up through one (nscd, systemd-resolved); and
    every message that has an address.
    """
    found = []
    for call, arguments in CALL.findall(trace):
        if call in ("connect", "io_uring_setup") or re.search(r"AF_(?!UNIX\b)", arguments):
            arguments = re.sub(r"( <unfinished \.\.\.>|\) += .*)$", "", arguments)
            without_descriptor = arguments if call == "socket" else arguments.partition(", ")[2]
            found.append(f"{call}({without_descriptor})")
    return found


class Traced:
    """A Python program under strace, with a home and a proxy of its own in `folder`."""

    def __init__(self, folder: Path, program: str, *arguments: str | Path, models: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self._trace, self._output, self._errors = (
            folder / name for name in ("trace", "output", "errors")
        )
        self._proxy = socket.create_server(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{self._proxy.getsockname()[1]}"
        # Nothing else: ONNX Runtime is silent where a variable tells that this is CI.
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            environment |= {name: proxy, name.lower(): proxy}
        environment |= {
            "HOME": str(self.home),
            "USER": "tester",  # Without, its name is looked up in the user database.
            "CUSTOMIR_MODELS": str(models),
            "ORT_DISABLE_TELEMETRY": "0",
        }
        strace = ["strace", "-f", "-qq", "-s", "256", "-e", "trace=network,io_uring_setup"]
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*strace, "-o", self._trace, sys.executable, "-c", program, *arguments],
                env=environment, stdout=output, stderr=errors, start_new_session=True,
            )  # fmt: skip

    @property
    def attempts(self) -> list[str]:
        return attempts(self._trace.read_text(errors="replace")) if self._trace.exists() else []

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert self._process.poll() is None, self.errors
            time.sleep(0.1)

    def wait_until_idle(self) -> None:
        self.wait_until(lambda: "IDLE" in self.errors)

    def stop(self) -> None:
        """Send SIGTERM to the program alone; strace ends with it."""
        strace = self._process.pid
        (program,) = Path(f"/proc/{strace}/task/{strace}/children").read_text().split()
        os.kill(int(program), signal.SIGTERM)

    def finish(self) -> None:
        assert self._process.wait(120) == 0, self.errors

    def was_called(self) -> bool:
        """Whether anything connected to the proxy: it would wait in the listener's queue."""
        self._proxy.setblocking(False)
        try:
            self._proxy.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._proxy.close()


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, minilm: Path, smollm: Path
) -> Iterator[dict[str, Traced]]:
    """What was run, by name; all have ended."""
    if not shutil.which("strace"):
        pytest.fail("These tests watch system calls by strace. Install it: apt-get install strace")
    folder = tmp_path_factory.mktemp("traced")
    mail, out = write_mailbox(folder / "mail.mbox", threads=16), folder / "out"
    out.mkdir(mode=0o700)
    (out / "customir.toml").write_text(SETTINGS)
    adapt = ("adapt", mail, "--out", out, "--passages", "4", "--queries", "1", "--device", "cpu")
    with contextlib.ExitStack() as stack:
        started: dict[str, Traced] = {}

        def start(name: str, program: str, *arguments: str | Path) -> None:
            run = Traced(folder / name, program, *arguments, models=minilm.parent)
            stack.callback(run.close)
            started[name] = run

        start("onnxruntime alone", ONNX_RUNTIME_ALONE)
        start("look-up", LOOK_UP)
        start("adapt", COMMAND, *adapt)
        started["adapt"].wait_until_idle()
        start("search", COMMAND, "search", out, QUERY, "--json")
        start("embedder", EMBEDDER, out / "model")
        start("serve", SERVE, "serve", out, "--port", "0")
        search_by_http(started["serve"])
        time.sleep(IDLE_SECONDS)
        started["serve"].stop()
        for run in started.values():
            run.finish()
        yield started


def search_by_http(server: Traced) -> None:
    server.wait_until(lambda: "Ctrl-C" in server.errors)
    url, _, token = server.errors.split()[0].partition("#token=")
    asked = urllib.request.Request(f"{url}search?q=coffee")
    asked.add_header("Authorization", f"Bearer {token}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(asked, timeout=60) as answer:
        assert json.load(answer)


@pytest.mark.parametrize("name", ["adapt", "search", "embedder", "serve"])
def test_nothing_is_attempted(runs: dict[str, Traced], name: str) -> None:
    run = runs[name]
    found = [attempt for attempt in run.attempts if attempt not in HARMLESS]
    assert found == ([LISTENER] if name == "serve" else [])
    assert not run.was_called()
    assert not (run.home / ".cache" / "Microsoft").exists()


def test_what_ran_did_its_work(runs: dict[str, Traced]) -> None:
    assert "Recall@10" in runs["adapt"].output
    assert "coffee machine" in json.loads(runs["search"].output)[0]["title"]


def test_native_telemetry_would_be_seen(runs: dict[str, Traced]) -> None:
    """ONNX Runtime calls home where it is imported in the same way, but without customir."""
    alone = runs["onnxruntime alone"]
    assert any(attempt.startswith("connect({sa_family=AF_INET") for attempt in alone.attempts)
    assert alone.was_called()
    assert (alone.home / ".cache" / "Microsoft").exists()


def test_look_up_would_be_seen(runs: dict[str, Traced]) -> None:
    assert set(runs["look-up"].attempts) - HARMLESS
