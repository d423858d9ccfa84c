"""Network access of the dependencies: hosts named in their native libraries, and what each one attempts.

Each package is used once and then stays idle for a minute, under strace and behind a proxy that answers nobody.
docs/explanation/network-dependencies.md has the output. Run it when pins change. Needs strace.

    python bench/audit_network.py
    python bench/audit_network.py --quick
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from customir import models
from customir.airgap import OFFLINE
from customir.telemetry import OPT_OUTS

# What customir sets, and what bench/embed.py sets for the peers that it measures.
OURS = OPT_OUTS | OFFLINE
FOR_PEERS = {"CI": "true", "NNCF_CI": "1"}
MODEL_HUB = tuple(sorted(OURS.keys() - {"ORT_DISABLE_TELEMETRY"}))
# The switches of each package. It is tried without its own, but with all others that we set.
SWITCHES = {
    "fastembed": MODEL_HUB,
    "hf-xet": MODEL_HUB,
    "huggingface_hub": MODEL_HUB,
    "nncf": ("CI", "NNCF_CI"),
    "onnxruntime": ("ORT_DISABLE_TELEMETRY",),
    "openvino": ("CI",),
    "sentence-transformers": MODEL_HUB,
    "transformers": MODEL_HUB,
}
# A short use of each package on local files. MINILM and GGUF are paths; the working directory is empty.
IDENTITY_GRAPH = """
from onnx import TensorProto, checker, helper
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(model)
"""
EXPORT = """
from optimum.exporters.onnx import main_export
main_export(MINILM, "onnx", task="feature-extraction", library_name="transformers")
"""
USES = {
    "accelerate": "import accelerate; accelerate.Accelerator(cpu=True)",
    "apsw": "import apsw; apsw.Connection(':memory:').execute('SELECT sqlite_version()').fetchall()",
    "bm25s": "import bm25s; r = bm25s.BM25(); r.index([['a', 'b'], ['c']]); r.retrieve([['a']], k=1)",
    "click": "import click; click.style('x')",
    "compressed-rtf": "import compressed_rtf; compressed_rtf.compress(b'x')",
    "faust-cchardet": "import cchardet; cchardet.detect(b'x')",
    "gguf": "import gguf; gguf.GGUFReader(GGUF)",
    "hf-xet": "import hf_xet; import huggingface_hub; huggingface_hub.HfApi()",
    "httptools": "import httptools; httptools.parse_url(b'/x')",
    "icalendar": "import icalendar; icalendar.Calendar().to_ical()",
    "huggingface_hub": "import huggingface_hub; huggingface_hub.HfApi(); huggingface_hub.get_token()",
    "ir-measures": (
        "import ir_measures as m\n"
        "m.calc_aggregate([m.nDCG @ 10], [m.Qrel('q', 'd', 1)], [m.ScoredDoc('q', 'd', 1.0)])"
    ),
    "Jinja2": "import jinja2; jinja2.Template('{{ x }}').render(x=1)",
    "libpff-python": "import pypff; pypff.check_file_signature(GGUF)",
    "llama_cpp_python": (
        "import llama_cpp; llama_cpp.Llama(GGUF, n_ctx=256, n_threads=1)('Hello', max_tokens=4)"
    ),
    "lxml": "from lxml import etree; etree.fromstring('<a/>')",
    "matplotlib": (
        "from matplotlib.figure import Figure\n"
        "figure = Figure()\n"
        "figure.subplots().plot([1, 2], label='x')\n"
        "figure.savefig('x.svg')"
    ),
    "numpy": "import numpy; numpy.linalg.svd(numpy.ones((9, 9)))",
    "onnx": IDENTITY_GRAPH,
    "onnxruntime": IDENTITY_GRAPH
    + "import numpy, onnxruntime\n"
    + "session = onnxruntime.InferenceSession(model.SerializeToString())\n"
    + "session.run(None, {'x': numpy.ones(2, numpy.float32)})",
    "odfdo": "import odfdo; odfdo.Document('text').save('x.odt')",
    "optimum-onnx": EXPORT,
    "orjson": "import orjson; orjson.dumps({})",
    "peft": (
        "import peft, transformers\n"
        "model = transformers.AutoModel.from_pretrained(MINILM)\n"
        "peft.get_peft_model(model, peft.LoraConfig(target_modules=['query'])).save_pretrained('p')"
    ),
    "pillow": "from PIL import Image; Image.new('RGB', (9, 9)).save('x.png')",
    "prometheus-client": "import prometheus_client; prometheus_client.generate_latest()",
    "py3langid": "import py3langid; py3langid.classify('This is English.')",
    "pydantic": "import pydantic; pydantic.create_model('M', x=(int, ...))(x=1)",
    "pypdfium2": "import pypdfium2; d = pypdfium2.PdfDocument.new(); d.new_page(9, 9).render()",
    "pysubs2": "import pysubs2; pysubs2.SSAFile().to_string('srt')",
    "PyStemmer": "import Stemmer; Stemmer.Stemmer('english').stemWord('walking')",
    "python-calamine": "import python_calamine",
    "python-docx": "import docx; docx.Document().save('x.docx')",
    "python-oxmsg": "import oxmsg",
    "python-pptx": "import pptx; pptx.Presentation().save('x.pptx')",
    "PyYAML": "import yaml; yaml.safe_load('x: 1')",
    "rich": "import rich.console; rich.console.Console().print('x')",
    "safetensors": (
        "import safetensors; safetensors.safe_open(MINILM + '/model.safetensors', 'np').keys()"
    ),
    "scikit-learn": "import sklearn.cluster; sklearn.cluster.KMeans(2).fit([[0.0], [1.0], [5.0]])",
    "scipy": "import scipy.stats; scipy.stats.ttest_rel([1, 2, 3], [2, 2, 5])",
    "selectolax": "import selectolax.lexbor as s; s.LexborHTMLParser('<p>x</p>').text()",
    "sentence-transformers": (
        "import sentence_transformers as s\n"
        "s.SentenceTransformer(MINILM, device='cpu').encode(['Hello'])"
    ),
    "sqlite-vec": (
        "import apsw, sqlite_vec\n"
        "database = apsw.Connection(':memory:')\n"
        "database.enable_load_extension(True)\n"
        "database.load_extension(sqlite_vec.loadable_path())\n"
        "database.execute('SELECT vec_version()').fetchall()"
    ),
    "starlette": "import starlette.applications; starlette.applications.Starlette()",
    "striprtf": "import striprtf.striprtf; striprtf.striprtf.rtf_to_text('{}')",
    "tnefparse": "import tnefparse",
    "tokenizers": (
        "import tokenizers\n"
        "tokenizers.Tokenizer.from_file(MINILM + '/tokenizer.json').encode('Hello')"
    ),
    "tomli_w": "import tomli_w; tomli_w.dumps({'x': 1})",
    "torch": (
        "import torch\n"
        "torch.nn.Linear(8, 8)(torch.ones(2, 8)).sum().backward()\n"
        "torch.compile(lambda x: x + 1, backend='eager')(torch.ones(2))"
    ),
    "transformers": (
        "import transformers as t\n"
        "t.AutoModel.from_pretrained(MINILM)\n"
        "t.AutoTokenizer.from_pretrained(MINILM)('Hello')"
    ),
    "triton": "import triton",
    "uvicorn": "import uvicorn; uvicorn.Config('x:y')",
    # Packages that only tests and bench scripts use.
    "datasketch": "import datasketch; datasketch.MinHash().update(b'x')",
    "faiss-cpu": "import faiss; faiss.IndexFlatIP(8)",
    "openai": "import openai; openai.OpenAI(api_key='none')",
    "fastembed": "import fastembed; fastembed.TextEmbedding.list_supported_models()",
    "hypothesis": "import hypothesis.strategies; hypothesis.strategies.integers()",
    "langchain-huggingface": (
        "from langchain_huggingface import HuggingFaceEmbeddings as E\n"
        "E(model_name=MINILM).embed_query('Hello')"
    ),
    "llama-index-embeddings-huggingface": (
        "from llama_index.embeddings.huggingface import HuggingFaceEmbedding as E\n"
        "E(model_name=MINILM, device='cpu').get_query_embedding('Hello')"
    ),
    "nncf": (
        "import numpy, nncf, openvino\n"
        "from openvino import opset13 as op\n"
        "x = op.parameter([1, 8], numpy.float32)\n"
        "m = openvino.Model([op.matmul(x, numpy.ones((8, 8), numpy.float32), False, False)], [x])\n"
        "nncf.quantize(m, nncf.Dataset([numpy.ones((1, 8), numpy.float32)]))"
    ),
    "openvino": "import openvino; openvino.Core().available_devices",
    "usearch": "import usearch.index; usearch.index.Index(ndim=8)",
}

LIBRARY = re.compile(r"\.so(\.\d+)*$")
# Names in a table of dynamic symbols; linkers merge tails, so that "disconnect" counts too.
SOCKET_CALL = re.compile(rb"(?:connect|sendto|getaddrinfo|gethostbyname)\0")
URL_HOST = re.compile(rb"https?://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
# strace's lines of calls that leave the process; an address behind a proxy shows as the proxy's.
LEAVING = re.compile(r"(?:connect|sendto|sendmsg|sendmmsg)\(.*(?:AF_INET6?\b|nscd|resolve)")
ADDRESS = re.compile(r'port=htons\((\d+)\).*?"([^"]+)"|sun_path="([^"]+)"')


@dataclass(frozen=True)
class Finding:
    """What is known about one package; `hosts` is None if none of its libraries can open sockets."""

    package: str
    version: str
    libraries: int
    hosts: tuple[str, ...] | None
    attempts: tuple[str, ...]
    with_all_switches: tuple[str, ...]


def native_libraries(package: str) -> list[Path]:
    files = distribution(package).files or ()
    paths = (Path(str(file.locate())) for file in files if LIBRARY.search(file.name))
    return [path for path in paths if path.is_file()]


def hosts_in(libraries: list[Path]) -> tuple[str, ...] | None:
    """Hosts of URLs in the libraries that use sockets; None if no library does."""
    contents = [content for path in libraries if SOCKET_CALL.search(content := path.read_bytes())]
    if not contents:
        return None
    return tuple(sorted({host.decode() for each in contents for host in URL_HOST.findall(each)}))


def declared() -> set[str]:
    """The dependencies in pyproject.toml, including all extras."""
    return {canonicalize_name(Requirement(line).name) for line in requires("customir") or ()}


@contextlib.contextmanager
def recording_proxy() -> Iterator[tuple[int, set[str]]]:
    """A loopback proxy that answers nobody; yields its port, and the addresses that were requested."""
    wanted: set[str] = set()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(1)
                        line = connection.recv(4096).partition(b"\r\n")[0].decode("latin-1")
                        wanted.add(" ".join(line.split()[:2]) or "a connection")

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield listener.getsockname()[1], wanted
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def attempts_of(use: str, switches: dict[str, str], seconds: float) -> tuple[str, ...]:
    """Run `use`, stay idle for `seconds`, and return what it tried to reach.

    Raises:
        RuntimeError: `use` failed.
    """
    variables = {"MINILM": str(models.locate("minilm")), "GGUF": str(models.locate("smollm2-135m"))}
    program = "".join(f"{name} = {value!r}\n" for name, value in variables.items())
    program += f"{use}\nimport time; print('USED'); time.sleep({seconds})"
    # No other variables: telemetry is often off where a variable says that this is CI.
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    with tempfile.TemporaryDirectory() as home, recording_proxy() as (port, wanted):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            environment |= dict.fromkeys((name, name.lower()), f"http://127.0.0.1:{port}")
        environment |= switches | {"HOME": home, "USER": "auditor"}
        trace = Path(home) / "trace"
        strace = ["strace", "-f", "-qq", "-s", "200", "-e", "trace=network", "-o", str(trace)]
        process = subprocess.Popen(
            [*strace, sys.executable, "-c", program], cwd=home, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            output, errors = process.communicate(timeout=600 + seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if "USED" not in output:
            raise RuntimeError(f"This use failed: {use}\n{errors[-2000:]}")
        attempts = set(wanted)
        for line in trace.read_text(errors="replace").splitlines():
            if LEAVING.search(line) and (address := ADDRESS.search(line)):
                number, host, path = address.groups()
                if number != str(port):
                    attempts.add(path or f"{host}:{number}")
    return tuple(sorted(attempts))


def audit(package: str, seconds: float) -> Finding | None:
    """Findings about one package; None if it is not installed."""
    try:
        version = distribution(package).version
    except PackageNotFoundError:
        return None
    own = SWITCHES.get(package, ())
    others = {name: value for name, value in OURS.items() if name not in own}
    attempts = attempts_of(USES[package], others, seconds)
    all_switches = OURS | {name: value for name, value in FOR_PEERS.items() if name in own}
    # A package that attempts nothing without its switches need not be tried with them.
    with_all = attempts_of(USES[package], all_switches, seconds) if attempts else ()
    libraries = native_libraries(package)
    return Finding(package, version, len(libraries), hosts_in(libraries), attempts, with_all)


def table(findings: list[Finding]) -> str:
    rows = [
        "| package | version | native libraries | hosts named in those that can open sockets "
        "| attempts | its switches | attempts with all switches |",
        "|---|---|---|---|---|---|---|",
    ]
    for finding in findings:
        hosts = "none can" if finding.hosts is None else ", ".join(finding.hosts) or "none"
        own = SWITCHES.get(finding.package, ())
        names = ", ".join(f"`{name}`" for name in own)
        switches = "the model hub's" if own == MODEL_HUB else names
        rows.append(
            f"| {finding.package} | {finding.version} | {finding.libraries} | {hosts if finding.libraries else ''} "
            f"| {', '.join(finding.attempts) or 'none'} | {switches} "
            f"| {', '.join(finding.with_all_switches) or 'none'} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="stay idle for 12 seconds, not 60")
    parser.add_argument("--jobs", type=int, default=8, help="how many packages run at once")
    parser.add_argument(
        "packages",
        nargs="*",
        default=list(USES),
        help="packages to audit; default: all that are installed",
    )
    arguments = parser.parse_args()
    if sys.platform != "linux":
        print("Skipped: strace needs Linux.")
        return
    if not shutil.which("strace"):
        parser.error("strace is missing. Run: apt-get install strace")
    if unknown := set(arguments.packages) - USES.keys():
        parser.error(f"no use of {', '.join(sorted(unknown))} is known. Add it to USES.")
    seconds = 12.0 if arguments.quick else 60.0
    start = time.perf_counter()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(lambda name: audit(name, seconds), arguments.packages))
    findings = [finding for finding in results if finding is not None]
    print(table(findings))
    print(f"\nThe model hub's switches: {', '.join(f'`{name}`' for name in MODEL_HUB)}")
    if missing := set(arguments.packages) - {finding.package for finding in findings}:
        print(f"\nNot installed here: {', '.join(sorted(missing))}")
    if untried := declared() - {canonicalize_name(name) for name in USES}:
        print(f"\nNot tried, because USES has no entry: {', '.join(sorted(untried))}")
    claim = {
        "claim": "dependencies that attempt a connection or a lookup",
        "ours": sum(bool(finding.with_all_switches) for finding in findings),
        "peer": "without the switches of each",
        "peer_figure": sum(bool(finding.attempts) for finding in findings),
        "ratio": None,
        "measured_on": f"{len(findings)} packages, idle for {seconds:.0f} s each, "
        f"{time.perf_counter() - start:.0f} s in all",
    }
    print(json.dumps({"bench": "audit_network", "claims": [claim]}))


if __name__ == "__main__":
    main()
