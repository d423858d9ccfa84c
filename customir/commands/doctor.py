"""What this machine offers to CustomIR, as a bug report needs it."""

import platform
import re
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from customir import __version__
from customir.airgap import block_network
from customir.kernels import int8_encoder, scan
from customir.models import entry, is_installed, known, models_folder
from customir.processors import free_memory, usable_processors

CPU_FILE = Path("/proc/cpuinfo")
# Those that a kernel of ours or of llama.cpp asks for; as Linux spells them.
INSTRUCTION_SETS = (
    *("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16"),
    *("amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve"),
)


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        instruction_sets: Those of `INSTRUCTION_SETS` that the processor has; empty where the system
            does not list them.
        kernels: For each operation the kernel that is used, or what replaces it.
        llama_cpp: How llama.cpp was built; None where it is not installed.
        network: What holds the block of the network.
        free_memory: Bytes; None where the system does not say.
        free_disk: Bytes, where models lie.
        models: Path by name, of the models with a name that are on this machine.
        missing: By extra, its requirements that are not installed.
        versions: Of the packages that are installed, of those that CustomIR asks for.
    """

    customir: str
    python: str
    system: str
    processor: str
    cores: int
    instruction_sets: tuple[str, ...]
    kernels: dict[str, str]
    gpu: str | None
    llama_cpp: str | None
    network: str
    free_memory: int | None
    free_disk: int
    models: dict[str, str]
    missing: dict[str, tuple[str, ...]]
    versions: dict[str, str]


def diagnose() -> Diagnosis:
    """Look at this machine. Blocks the network of this process, to see what holds the block."""
    reason = block_network()
    processor, instruction_sets = _processor()
    requirements = _requirements()
    versions = {name: _version(name) for names in requirements.values() for name in names}
    return Diagnosis(
        customir=__version__,
        python=platform.python_version(),
        system=platform.platform(),
        processor=processor,
        cores=usable_processors(),
        instruction_sets=instruction_sets,
        kernels=_kernels(),
        gpu=_gpu(),
        llama_cpp=_llama_cpp(),
        network=f"Python alone ({reason})" if reason else "the kernel, for native code as well",
        free_memory=free_memory(),
        free_disk=shutil.disk_usage(_existing(models_folder())).free,
        models=_models(),
        missing={
            extra: absent
            for extra, names in requirements.items()
            if (absent := tuple(name for name in names if versions[name] is None))
        },
        versions={name: version for name, version in sorted(versions.items()) if version},
    )


def _processor() -> tuple[str, tuple[str, ...]]:
    """Name and instruction sets."""
    try:
        text = CPU_FILE.read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine(), ()
    fields: dict[str, str] = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, re.MULTILINE))
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    name = fields.get("model name") or platform.machine()
    return name, tuple(each for each in INSTRUCTION_SETS if each in flags)


def _kernels() -> dict[str, str]:
    encoder = next((each for each in int8_encoder.KERNELS if int8_encoder.has_kernel(each)), None)
    used = {
        "search among vectors": scan.best_kernel() or "none; sqlite-vec instead",
        "INT8 embedding": encoder or "none; ONNX Runtime instead",
    }
    try:
        import torch

        from customir.kernels import attention, lora_linear
    except ImportError:
        return used
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        kernel = attention.best_kernel(dtype) or "none; PyTorch's instead"
        library = "oneDNN" if lora_linear.uses_onednn(dtype) else "PyTorch's choice"
        used[f"attention in training, {name}"] = kernel
        used[f"products in training, {name}"] = library
    return used


def _gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    name: str = torch.cuda.get_device_name()
    return name


def _llama_cpp() -> str | None:
    try:
        import llama_cpp
    except ImportError:
        return None
    built = llama_cpp.llama_print_system_info() or b""
    return built.decode().strip(" |\n")


def _models() -> dict[str, str]:
    return {model.name: str(entry(model)) for model in known() if is_installed(model)}


def _requirements() -> dict[str, tuple[str, ...]]:
    """By extra ("" for none) the packages that CustomIR asks for, without those of developers."""
    found: dict[str, list[str]] = {}
    for requirement in metadata.requires("customir") or ():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"extra == [\"'](\w+)[\"']", requirement)
        found.setdefault(extra[1] if extra else "", []).append(name)
    return {
        extra: tuple(dict.fromkeys(names))
        for extra, names in found.items()
        if extra in ("", "adapt", "formats", "serve")
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.parents) if each.exists())
