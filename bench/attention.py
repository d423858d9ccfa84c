"""Attention on a CPU: CustomIR's kernel for texts without padding beside PyTorch's attention.

Measures milliseconds for a micro-batch of about 1,024 tokens of mail, forward alone and with backward.
The peers are PyTorch's scaled_dot_product_attention over one text at a time, over groups of texts of
similar length, which are padded (the fallback where the kernel was not compiled), and over the whole
micro-batch, padded. All take turns; figures are medians of the rounds. The texts are mail (`--data`),
or are generated with the lengths of mail.

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
from train import DATA_HELP, WINDOW, read_pairs

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
    outputs = []
    for part in joint[: packed.tokens].split(packed.lengths.tolist()):
        queries, keys, values = part.view(1, len(part), 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        outputs.append(attended.transpose(1, 2).reshape(len(part), -1))
    return torch.cat(outputs)


def padded(joint: Tensor, packed: Packed) -> Tensor:
    texts = joint[: packed.tokens].split(packed.lengths.tolist())
    batch = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
    longest = batch.shape[1]
    is_token = torch.arange(longest)[None, :] < packed.lengths[:, None]
    heads = batch.view(len(texts), longest, 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
    attended = functional.scaled_dot_product_attention(*heads, is_token[:, None, None, :])
    outputs: Tensor = attended.transpose(1, 2).flatten(2)[is_token]
    return outputs


ARMS: dict[str, Attention] = {
    "ours": ours,
    "torch, texts of similar length": by_groups,
    "torch, text by text": by_text,
    "torch, padded": padded,
}


def read_batches(data: Path, mails: int) -> list[Packed]:
    """Micro-batches of subjects and bodies."""
    pairs = read_pairs(data, mails)
    encoder = Encoder.load(models.locate("minilm"), "cpu", WINDOW, "fp32")
    tokens = encoder.tokenize([subject for subject, _ in pairs], "query")
    tokens += encoder.tokenize([body for _, body in pairs], "passage")
    micro_batches = fill_by_tokens([len(ids) for ids in tokens], TOKENS)
    return [
        pack([tokens[number] for number in part], torch.device("cpu")) for part in micro_batches
    ]


def seconds(
    attend: Attention, batches: list[Packed], dtype: torch.dtype, with_backward: bool
) -> float:
    """Seconds that all micro-batches take."""
    total = 0.0
    for number, packed in enumerate(batches):
        generator = torch.Generator().manual_seed(number)
        joint = torch.randn(len(packed.ids), 3 * HEADS * WIDTH, generator=generator).to(dtype)
        gradient = torch.randn(packed.tokens, HEADS * WIDTH, generator=generator).to(dtype)
        joint.requires_grad_(with_backward)
        start = time.perf_counter()
        outputs = attend(joint, packed)[: packed.tokens]
        if with_backward:
            outputs.backward(gradient)
        total += time.perf_counter() - start
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help=DATA_HELP)
    parser.add_argument("--quick", action="store_true", help="60 texts, two rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if best_kernel() is None:
        sys.exit("The attention kernel is missing: install customir where there is a C++ compiler.")
    batches = read_batches(options.data, 60 if options.quick else 300)
    claims: list[dict[str, Any]] = []
    for dtype in (torch.float32, torch.bfloat16):
        for with_backward in (False, True):
            times: dict[str, list[float]] = {name: [] for name in ARMS}
            for _ in range(2 if options.quick else options.rounds):
                for name, attend in ARMS.items():
                    times[name].append(seconds(attend, batches, dtype, with_backward))
            case = f"{dtype} {'forward and backward' if with_backward else 'forward'}"
            for name, theirs in times.items():
                ratio = statistics.median(
                    peer / own for peer, own in zip(theirs, times["ours"], strict=True)
                )
                their_time = 1000 * statistics.median(theirs) / len(batches)
                our_time = 1000 * statistics.median(times["ours"]) / len(batches)
                print(
                    f"{case:37} {name:28} {their_time:7.2f} ms   CustomIR is {ratio:.2f} times as fast"
                )
                if name != "ours":
                    claims.append(
                        {
                            "claim": f"attention of a micro-batch, {case}, ms",
                            "ours": round(our_time, 2),
                            "peer": name,
                            "peer_figure": round(their_time, 2),
                            "ratio": round(ratio, 2),
                            "measured": f"{len(batches)} micro-batches of subjects and bodies, "
                            f"{options.threads} threads, {best_kernel(dtype)}",
                        }
                    )
    print(json.dumps({"bench": "attention", "claims": claims}))


if __name__ == "__main__":
    main()
