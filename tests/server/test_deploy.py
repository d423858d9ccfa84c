"""The server as it is deployed: several processes, TLS, a path behind a proxy, the official client."""

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from serving import TOKEN, command, get

from customir.runtime.embedder import Embedder


def children(process: int) -> list[int]:
    return [
        int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def processes_that_answered(port: int, token: str) -> float:
    text = get(port, "/metrics", token)[1].decode()
    (line,) = (one for one in text.splitlines() if 'total{route="/search",status="200"}' in one)
    return float(line.rsplit(" ", 1)[1])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_several_processes_serve_one_folder(folder: Path) -> None:
    with command(str(folder), "--port", "0", "--workers", "2") as served:
        parent = served.process.pid
        wait_for(lambda: len(children(parent)) == 2)
        for number in range(20):
            assert get(served.port, f"/search?q=pizza+{number}", served.token)[0] == 200
        assert processes_that_answered(served.port, served.token) == 20  # of both together
        # One that dies is started again, and the other answers meanwhile.
        first, second = children(parent)
        os.kill(first, signal.SIGKILL)
        assert get(served.port, "/search?q=pizza", served.token)[0] == 200
        wait_for(lambda: len(children(parent)) == 2 and first not in children(parent))
        assert second in children(parent)
    assert children_are_gone([second])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_processes_do_not_outlive_the_one_that_started_them(folder: Path) -> None:
    with command(str(folder), "--port", "0", "--workers", "2", status=-signal.SIGKILL) as served:
        wait_for(lambda: len(children(served.process.pid)) == 2)
        started = children(served.process.pid)
        served.process.kill()
    assert children_are_gone(started)


def children_are_gone(processes: list[int]) -> bool:
    def gone(process: int) -> bool:
        try:
            return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
        except FileNotFoundError:
            return True

    wait_for(lambda: all(map(gone, processes)))
    return True


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_tls(folder: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "mail.pem", tmp_path / "mail.key"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *named, *files], check=True, capture_output=True)
    options = ("--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key))
    with command(str(folder), *options) as served:
        assert served.link.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=trusting)
        headers = {"Authorization": f"Bearer {served.token}"}
        connection.request("GET", "/search?q=pizza&k=1", headers=headers)
        assert b"<lunch@example.org>" in connection.getresponse().read()
        connection.close()
        with pytest.raises((OSError, http.client.HTTPException)):  # plain HTTP
            get(served.port, "/search?q=pizza", served.token)


def test_behind_a_proxy_that_takes_a_path_away(folder: Path) -> None:
    with command(str(folder), "--port", "0", "--root-path", "/mail/") as served:
        assert f":{served.port}/mail/#token=" in served.link
        assert get(served.port, "/search?q=pizza", served.token)[0] == 200
        assert get(served.port, "/search?q=pizza")[0] == 401
        described = json.loads(get(served.port, "/openapi.json")[1])
        assert described["servers"] == [{"url": "/mail"}]
        assert get(served.port, "/")[0] == 200


def test_openais_client(server: Any, folder: Path) -> None:
    texts = ["lunch?", "The gas contract was signed."]
    expected = Embedder(folder / "model").encode(texts)
    client = openai.OpenAI(base_url=f"{server.url}v1", api_key=TOKEN, max_retries=0)
    for form in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        made = client.embeddings.create(input=texts, model="model", **form)
        vectors = [one.embedding for one in made.data]
        if form.get("encoding_format") != "base64":  # asked for, it is not decoded
            np.testing.assert_allclose(vectors, expected, atol=1e-6)
    one = client.embeddings.create(input=texts[0], model="model", dimensions=32)
    assert len(one.data[0].embedding) == 32
    assert np.linalg.norm(one.data[0].embedding) == pytest.approx(1, abs=1e-5)
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(input="x", model="model", dimensions=5000)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}v1", api_key="wrong").embeddings.create(
            input="x", model="model"
        )
