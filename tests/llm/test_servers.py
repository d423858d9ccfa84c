"""Two real servers of llama-cpp-python on this machine, one of them killed in the middle."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mail import write_mailbox

from customir import models
from customir.errors import UserError
from customir.llm import Engine, Prompt, Sampling, Servers
from customir.settings import llm_addresses

pytest.importorskip("fastapi", reason="the server of llama-cpp-python, of the extra `dev`")

SHARED = "Colours that were seen.\nred, blue, red, blue,\n"
ASKED = [
    Prompt(SHARED, "Pump: red, red, red\n", "Then: red, red, red, red,"),
    Prompt(SHARED, "Gate: blue, blue, blue\n", "Then: blue, blue, blue, blue,"),
]
COUNTING = Prompt("", "", "1, 2, 3, 4, 5, 6, 7,")
START_SECONDS = 300


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(model: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "llama_cpp.server", "--model", str(model)),
            *("--host", "127.0.0.1", "--port", str(port), "--n_ctx", "2048"),
            *("--logits_all", "true", "--n_threads", "1", "--n_threads_batch", "1"),
            *("--verbose", "false", "--interrupt_requests", "false"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{url}/v1/models", timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"{url} did not start")


@pytest.fixture(scope="module")
def running(smollm: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    ports = (free_port(), free_port())
    made = {f"http://127.0.0.1:{port}": start(smollm, port) for port in ports}
    try:
        for url in made:
            wait_for(url)
        yield made
    finally:
        for process in made.values():
            process.kill()
            process.wait()


def test_answers_are_the_engine_s_and_a_killed_server_s_work_is_done_by_the_other(
    running: dict[str, subprocess.Popen[bytes]], smollm: Path
) -> None:
    first, second = running
    greedy = Sampling(temperature=0, max_tokens=6)
    with Servers([first, f"{second}/v1"]) as servers:
        odds = servers.choice(ASKED, "red", "blue")
        with Engine(smollm, device="cpu", threads=1) as engine:
            expected = engine.choice(ASKED, "red", "blue")
            (answer,) = engine.generate([COUNTING], [0], greedy)
        assert odds == pytest.approx(expected, abs=0.6)
        assert servers.generate([COUNTING] * 2, [0, 0], greedy) == [answer] * 2
        assert servers.usage.written >= 12

        prompts = [Prompt("", "", f"{n}, {n + 1}, {n + 2}, {n + 3},") for n in range(24)]
        killer = threading.Timer(1.0, lambda: os.kill(running[first].pid, signal.SIGKILL))
        killer.start()
        together = servers.generate(prompts, range(24), greedy)
        killer.join()
        running[first].wait()
        assert together == servers.generate(prompts, range(24), greedy)
        assert all(together)

    # A server that was never there is left out; without any, it says which and what to do.
    with Servers([first, second]) as servers:
        assert servers.generate([COUNTING], [0], greedy) == [answer]
    with pytest.raises(UserError, match=r"no LLM server is left.*same command again"):
        Servers([first])


SETTINGS = """
[queries]
max_tokens = 12
[negatives]
candidates_per_query = 1
[training]
epochs = 1
precision = "fp32"
[evaluation]
interpolation_weights = [1.0]
"""


def test_adapt_over_two_servers_goes_on_when_one_is_killed(
    running: dict[str, subprocess.Popen[bytes]], minilm: Path, tmp_path: Path
) -> None:
    first, second = running
    if running[first].poll() is not None:  # by the test above
        running[first] = start(models.locate("smollm2-135m"), llm_addresses([first])[0][1])
        wait_for(first)
    mail, out = write_mailbox(tmp_path / "mail.mbox", threads=16), tmp_path / "out"
    out.mkdir(mode=0o700)
    (out / "customir.toml").write_text(SETTINGS)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "customir.cli", "adapt", str(mail), "--out", str(out)),
            *("--llm-url", first, "--llm-url", second.replace("127.0.0.1", "localhost")),
            *("--passages", "8", "--queries", "1", "--device", "cpu"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def written() -> int:
        try:
            address = f"file:{out / 'workspace.db'}?mode=ro"
            with closing(sqlite3.connect(address, uri=True)) as database:
                statement = "SELECT count(*) FROM result WHERE kind = 'query'"
                return int(database.execute(statement).fetchone()[0])
        except sqlite3.OperationalError:  # not there yet
            return 0

    while not written():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    running[first].kill()
    before = written()
    printed, told = process.communicate(timeout=400)
    assert process.returncode == 0, told
    assert before < written() == 8
    assert "customir serve" in printed
    assert (out / "model" / "onnx" / "model_qint8.onnx").exists()


@pytest.mark.parametrize("url", ["ollama", "http://", "ftp://host", "http://host:port"])
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(UserError, match="--llm-url"):
        llm_addresses([url])


def test_host_and_port_of_each_url() -> None:
    urls = ["http://10.0.0.7:8080", "https://gpu.lan/v1", "http://[::1]:9"]
    assert llm_addresses(urls) == [("10.0.0.7", 8080), ("gpu.lan", 443), ("::1", 9)]


BEHIND_THE_BLOCK = """
import sys
from customir.airgap import block_network, open_connection
from customir.llm import Prompt, Sampling, Servers
from customir.settings import llm_addresses
url, other = sys.argv[1:]
block_network(llm_addresses([url]))
with Servers([url]) as servers:
    print(*servers.generate([Prompt("", "", "1, 2, 3, 4, 5, 6, 7,")], [0], Sampling(0, 6)))
try:
    open_connection(*llm_addresses([other])[0], 5)
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost"])
def test_the_block_lets_through_exactly_the_named_server(
    running: dict[str, subprocess.Popen[bytes]], host: str
) -> None:
    _, url = running
    url = url.replace("127.0.0.1", host)
    run = subprocess.run(
        [sys.executable, "-c", BEHIND_THE_BLOCK, url, f"http://127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    answer, refusal = run.stdout.splitlines()
    assert answer.startswith("8, 9")
    assert "is not among the LLM servers of this run" in refusal
