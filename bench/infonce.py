"""InfoNCE alone, forward and backward: CustomIR's streaming loss beside PyTorch over the whole matrix.

The peers are PyTorch's cross entropy over all logits, in float32 and, on a GPU, under bfloat16 autocast, as
in most training code. Both directions are contrasted, nothing is masked, vectors are random. Figures are
medians; memory is what PyTorch's allocator took beyond the vectors and is measured on a GPU only. A peer
whose logits would not fit is left out, because its memory grows with the square of the batch.

    python bench/infonce.py --quick
    python bench/infonce.py --device cuda --batches 1024 16384 65536
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from customir.kernels.infonce import info_nce
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.05
DIMENSIONS = 384
# Logits, their softmax and gradients take this many matrices of 4-byte cells.
COPIES = 6


def ours(queries: Tensor, passages: Tensor) -> Tensor:
    positives = torch.arange(len(queries), device=queries.device)
    return info_nce(queries, passages, positives, TEMPERATURE, symmetric=True)


def whole_matrix(queries: Tensor, passages: Tensor) -> Tensor:
    logits = queries @ passages.T / TEMPERATURE
    positives = torch.arange(len(queries), device=queries.device)
    return (
        functional.cross_entropy(logits, positives) + functional.cross_entropy(logits.T, positives)
    ) / 2


def under_autocast(queries: Tensor, passages: Tensor) -> Tensor:
    with torch.autocast(queries.device.type, dtype=torch.bfloat16):
        return whole_matrix(queries, passages)


def measure(
    loss_of: Callable[[Tensor, Tensor], Tensor], batch: int, device: str, rounds: int
) -> dict[str, float]:
    """Milliseconds, GB beyond the vectors, and the value of the loss."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, batch, DIMENSIONS, generator=generator)
    vectors[1] += vectors[0]  # the positive is the nearest
    parts = [part.to(device).requires_grad_() for part in functional.normalize(vectors, dim=2)]
    times = []
    before = torch.cuda.memory_allocated() if device == "cuda" else 0
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for number in range(rounds + 1):
        for part in parts:
            part.grad = None
        start = time.perf_counter()
        loss = loss_of(*parts)
        loss.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        if number:  # the first one compiles
            times.append(1000 * (time.perf_counter() - start))
    peak = (torch.cuda.max_memory_allocated() - before) / 2**30 if device == "cuda" else 0.0
    return {"ms": statistics.median(times), "gb": peak, "loss": loss.item()}


def memory(device: str) -> float:
    """Bytes that a peer's logits may take up."""
    if device == "cuda":
        return 0.9 * torch.cuda.mem_get_info()[0]
    return 4 * 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="batches of 1,024 and 4,096")
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    batches = [1024, 4096] if options.quick else options.batches
    peers: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"torch, whole matrix": whole_matrix}
    if options.device == "cuda":
        peers["torch, whole matrix, bf16 autocast"] = under_autocast
    claims: list[dict[str, Any]] = []
    for batch in batches:
        our_figures = measure(ours, batch, options.device, options.rounds)
        print(f"batch {batch:6} ours {show(our_figures)}", flush=True)
        for name, peer in peers.items():
            if COPIES * 4 * batch**2 > memory(options.device):
                print(f"batch {batch:6} {name}: does not fit")
                continue
            their_figures = measure(peer, batch, options.device, options.rounds)
            ratio = their_figures["ms"] / our_figures["ms"]
            print(
                f"batch {batch:6} {name} {show(their_figures)}; CustomIR is {ratio:.2f} times as fast"
            )
            claims.append(
                {
                    "claim": f"InfoNCE, forward and backward, batch {batch}, ms",
                    "ours": round(our_figures["ms"], 2),
                    "peer": name,
                    "peer_figure": round(their_figures["ms"], 2),
                    "ratio": round(ratio, 2),
                    "measured": f"{options.device}, {DIMENSIONS} dimensions, symmetric, "
                    f"{our_figures['gb']:.2f} GB against {their_figures['gb']:.2f}",
                }
            )
    print(json.dumps({"bench": "infonce", "claims": claims}))


def show(measured: dict[str, float]) -> str:
    return f"{measured['ms']:.2f} ms, {measured['gb']:.2f} GB, loss {measured['loss']:.5f}"


if __name__ == "__main__":
    main()
