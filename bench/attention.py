"""Attention of micro-batches of real mail on a CPU: our kernel beside torch's, in one run.

Subjects and bodies are packed into micro-batches as in training; queries, keys and values are
random. The peers are torch's scaled_dot_product_attention over each text by itself, over texts of
like length that are padded and put side by side (what is taken where our kernel was not compiled)
and over the whole micro-batch, padded. All take turns; milliseconds for a micro-batch of some 1,024
tokens are the medians of the rounds, forward alone and forward with backward.

    python bench/attention.py --quick
    python bench/attention.py --threads 2
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from customir.kernels.attention import best_kernel, packed_attention
from torch import Tensor
from torch.nn import functional
from train import WINDOW, read_pairs

from customir import models
from customir.encoder.layers import attend_by_groups
from customir.encoder.packing import Packed, fill_by_tokens, pack
from customir.encoder.torch_encoder import Encoder

HEADS, WIDTH, TOKENS = 12, 32, 1024
Attention = Callable[[Tensor, Packed], Tensor]


def ours(joint: Tensor, packed: Packed) -> Tensor:
    return packed_attention(joint, packed.lengths, HEADS, None)


def by_groups(joint: Tensor, packed: Packed) -> Tensor:
    return attend_by_groups(joint, HEADS, packed, [None] * len(packed.groups))


def by_text(joint: Tensor, packed: Packed) -> Tensor:
    found = []
    for part in joint[: packed.tokens].split(packed.lengths.tolist()):
        queries, keys, values = part.view(1, len(part), 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
        made = functional.scaled_dot_product_attention(queries, keys, values)
        found.append(made.transpose(1, 2).reshape(len(part), -1))
    return torch.cat(found)


def padded(joint: Tensor, packed: Packed) -> Tensor:
    texts = joint[: packed.tokens].split(packed.lengths.tolist())
    side_by_side = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
    longest = side_by_side.shape[1]
    there = torch.arange(longest)[None, :] < packed.lengths[:, None]
    apart = side_by_side.view(len(texts), longest, 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
    made = functional.scaled_dot_product_attention(*apart, there[:, None, None, :])
    found: Tensor = made.transpose(1, 2).flatten(2)[there]
    return found


ARMS: dict[str, Attention] = {
    "ours": ours,
    "torch, texts of like length": by_groups,
    "torch, text by text": by_text,
    "torch, padded": padded,
}


def read_batches(data: Path, mails: int) -> list[Packed]:
    """Micro-batches of subjects and bodies."""
    pairs = read_pairs(data, mails)
    encoder = Encoder.load(models.locate("minilm"), "cpu", WINDOW, "fp32")
    tokens = encoder.tokenize([subject for subject, _ in pairs], "query")
    tokens += encoder.tokenize([body for _, body in pairs], "passage")
    passes = fill_by_tokens([len(ids) for ids in tokens], TOKENS)
    return [pack([tokens[number] for number in part], torch.device("cpu")) for part in passes]


def seconds(attend: Attention, batches: list[Packed], kind: torch.dtype, learns: bool) -> float:
    """Of all micro-batches."""
    spent = 0.0
    for number, packed in enumerate(batches):
        generator = torch.Generator().manual_seed(number)
        joint = torch.randn(len(packed.ids), 3 * HEADS * WIDTH, generator=generator).to(kind)
        towards = torch.randn(packed.tokens, HEADS * WIDTH, generator=generator).to(kind)
        joint.requires_grad_(learns)
        start = time.perf_counter()
        found = attend(joint, packed)[: packed.tokens]
        if learns:
            found.backward(towards)
        spent += time.perf_counter() - start
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="60 mails, two rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if best_kernel() is None:
        sys.exit("The attention kernel was not compiled as customir was installed.")
    batches = read_batches(asked.data, 60 if asked.quick else 300)
    claims: list[dict[str, Any]] = []
    for kind in (torch.float32, torch.bfloat16):
        for learns in (False, True):
            times: dict[str, list[float]] = {name: [] for name in ARMS}
            for _ in range(2 if asked.quick else asked.rounds):
                for name, attend in ARMS.items():
                    times[name].append(seconds(attend, batches, kind, learns))
            what = f"{kind} {'forward and backward' if learns else 'forward'}"
            for name, taken in times.items():
                ratio = statistics.median(
                    theirs / mine for theirs, mine in zip(taken, times["ours"], strict=True)
                )
                middle = 1000 * statistics.median(taken) / len(batches)
                mine = 1000 * statistics.median(times["ours"]) / len(batches)
                print(f"{what:37} {name:28} {middle:7.2f} ms   ours is {ratio:.2f} times as fast")
                if name != "ours":
                    claims.append(
                        {
                            "claim": f"attention of a micro-batch, {what}, ms",
                            "ours": round(mine, 2),
                            "peer": name,
                            "peer_figure": round(middle, 2),
                            "ratio": round(ratio, 2),
                            "measured": f"{len(batches)} micro-batches of mail, "
                            f"{asked.threads} threads, {best_kernel(kind)}",
                        }
                    )
    print(json.dumps({"bench": "attention", "claims": claims}))


if __name__ == "__main__":
    main()
