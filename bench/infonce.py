"""InfoNCE alone, forward and backward: our streaming loss beside torch over the whole matrix.

The peers are torch's cross entropy over all logits, in float32 and (on a GPU) under bfloat16
autocast, as most training code has it. Both directions are contrasted, nothing is masked, vectors
are random. Milliseconds are medians; memory is what torch's allocator took beyond the vectors (on a
CPU it is not measured). A peer whose logits would not fit is left out: its memory grows with the
square of the batch.

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
# Logits, their softmax and gradients, a few copies each: this many cells of 4 bytes.
COPIES = 6


def ours(queries: Tensor, passages: Tensor) -> Tensor:
    places = torch.arange(len(queries), device=queries.device)
    return info_nce(queries, passages, places, TEMPERATURE, symmetric=True)


def whole(queries: Tensor, passages: Tensor) -> Tensor:
    logits = queries @ passages.T / TEMPERATURE
    places = torch.arange(len(queries), device=queries.device)
    return (
        functional.cross_entropy(logits, places) + functional.cross_entropy(logits.T, places)
    ) / 2


def under_autocast(queries: Tensor, passages: Tensor) -> Tensor:
    with torch.autocast(queries.device.type, dtype=torch.bfloat16):
        return whole(queries, passages)


def measure(
    loss_of: Callable[[Tensor, Tensor], Tensor], batch: int, device: str, rounds: int
) -> dict[str, float]:
    """Milliseconds, GB beyond the vectors, and the loss."""
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(2, batch, DIMENSIONS, generator=generator)
    made[1] += made[0]  # the positive is the nearest
    own = [part.to(device).requires_grad_() for part in functional.normalize(made, dim=2)]
    times = []
    before = torch.cuda.memory_allocated() if device == "cuda" else 0
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for number in range(rounds + 1):
        for part in own:
            part.grad = None
        start = time.perf_counter()
        loss = loss_of(*own)
        loss.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        if number:  # the first one compiles
            times.append(1000 * (time.perf_counter() - start))
    peak = (torch.cuda.max_memory_allocated() - before) / 2**30 if device == "cuda" else 0.0
    return {"ms": statistics.median(times), "gb": peak, "loss": loss.item()}


def memory(device: str) -> float:
    """Bytes that a peer's logits may take."""
    if device == "cuda":
        return 0.9 * torch.cuda.mem_get_info()[0]
    return 4 * 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="batches of 1,024 and 4,096")
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    batches = [1024, 4096] if asked.quick else asked.batches
    peers: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"torch, whole matrix": whole}
    if asked.device == "cuda":
        peers["torch, whole matrix, bf16 autocast"] = under_autocast
    claims: list[dict[str, Any]] = []
    for batch in batches:
        mine = measure(ours, batch, asked.device, asked.rounds)
        print(f"batch {batch:6} ours {show(mine)}", flush=True)
        for name, peer in peers.items():
            if COPIES * 4 * batch**2 > memory(asked.device):
                print(f"batch {batch:6} {name}: does not fit")
                continue
            theirs = measure(peer, batch, asked.device, asked.rounds)
            ratio = theirs["ms"] / mine["ms"]
            print(f"batch {batch:6} {name} {show(theirs)}; ours is {ratio:.2f} times as fast")
            claims.append(
                {
                    "claim": f"InfoNCE, forward and backward, batch {batch}, ms",
                    "ours": round(mine["ms"], 2),
                    "peer": name,
                    "peer_figure": round(theirs["ms"], 2),
                    "ratio": round(ratio, 2),
                    "measured": f"{asked.device}, {DIMENSIONS} dimensions, symmetric, "
                    f"{mine['gb']:.2f} GB against {theirs['gb']:.2f}",
                }
            )
    print(json.dumps({"bench": "infonce", "claims": claims}))


def show(measured: dict[str, float]) -> str:
    return f"{measured['ms']:.2f} ms, {measured['gb']:.2f} GB, loss {measured['loss']:.5f}"


if __name__ == "__main__":
    main()
