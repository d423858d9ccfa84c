"""Do larger bases train at batch 128 within 8 GB, and is the estimate that training prints right?

The bases have the architectures of XLM-R base and Qwen3-Embedding-0.6B with random weights, for memory and time
do not depend on what the weights are. Each is trained on generated texts in a process of its own, whose peak
memory (resident set) is compared with `estimated_bytes`. Texts have as many words as the settings' window holds
tokens, so that no corpus needs more.

    python bench/base_memory.py --quick
    python bench/base_memory.py
"""

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from customir.progress import Silent
from customir.settings import TrainingSettings

BATCH = 128
WORDS = 5000
QUERY_WORDS = 16
LIMIT_GB = 8
BASES = ("xlm-roberta-base", "qwen3-embedding-0.6b")


class Said(Silent):
    """Keeps what training says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def config_of(base: str) -> Any:
    """The architecture, as its authors publish it."""
    from transformers import Qwen3Config, XLMRobertaConfig

    if base == "xlm-roberta-base":
        return XLMRobertaConfig(vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1)
    return Qwen3Config(
        vocab_size=151_669, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
        num_attention_heads=16, num_key_value_heads=8, head_dim=128,
        max_position_embeddings=32_768, tie_word_embeddings=True, use_cache=False,
    )  # fmt: skip


def write_base(base: str, folder: Path) -> int:
    """Write a base with random weights in bfloat16 to `folder`; return its number of parameters."""
    import torch
    from transformers import AutoModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = AutoModel.from_config(config_of(base))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    words = {f"w{number}": number + 4 for number in range(WORDS)}
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    tokenizer = Tokenizer(models.WordLevel({**special, **words}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=512
    ).save_pretrained(folder)
    pooling = "mean" if base.startswith("xlm") else "lasttoken"
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": pooling}))
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"path": path, "type": f"sentence_transformers.models.{kind}"}
                for kind, path in modules
            ]
        )
    )
    return sum(parameter.numel() for parameter in model.parameters())


def make(base: str, folder: Path, answer: Any) -> None:
    """`write_base` in a process of its own, whose memory does not count."""
    answer.put(write_base(base, folder))


def measure(folder: Path, words: int, steps: int, answer: Any) -> None:
    """Train; put peak memory and estimate in GB, and seconds per step."""
    from customir.training import Example, TrainingPassage, train

    draw = random.Random(0)

    def text(length: int) -> str:
        return " ".join(f"w{draw.randrange(WORDS)}" for _ in range(length))

    examples = [
        Example(text(QUERY_WORDS), TrainingPassage(f"p{n}", text(words), f"t{n}", f"g{n}"))
        for n in range(BATCH * steps)
    ]
    said = Said()
    settings = TrainingSettings(batch_size=BATCH, epochs=1)
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        result = train(folder, examples, settings, 0, "cpu", Path(out), said)
        seconds = time.perf_counter() - start
    (line,) = (line for line in said.lines if line.startswith("Training takes about"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    answer.put((peak, float(line.split()[3]), seconds / result.steps))


def in_process(work: Any, *arguments: Any) -> Any:
    """The answer of `work` in a new process."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=work, args=(*arguments, answer))
    process.start()
    found = answer.get()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bases", nargs="+", choices=BASES, default=BASES)
    parser.add_argument("--words", type=int, default=250, help="words of a passage")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="XLM-R base, one step, 32 words")
    options = parser.parse_args()
    bases = BASES[:1] if options.quick else options.bases
    words, steps = (32, 1) if options.quick else (options.words, options.steps)
    claims = []
    for base in bases:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            parameters = in_process(make, base, folder)
            peak, estimate, seconds = in_process(measure, folder, words, steps)
        print(
            f"{base}, {parameters / 1e6:.0f}M parameters, {BATCH} pairs of {QUERY_WORDS} and {words} "
            f"words: peak {peak:.2f} GB, estimate {estimate:.1f} GB, {seconds:.0f} s a step"
        )
        claims.append(
            {
                "claim": f"peak memory of {base} at batch {BATCH}, GB",
                "ours": round(peak, 2),
                "peer": "the limit",
                "peer_figure": LIMIT_GB,
                "ratio": round(peak / LIMIT_GB, 2),
                "measured": f"{steps} steps, passages of {words} words, estimate {estimate:.1f} GB",
            }
        )
    print(json.dumps({"bench": "base_memory", "claims": claims}))


if __name__ == "__main__":
    main()
