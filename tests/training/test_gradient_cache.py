"""The cached gradient is the full batch's: each LoRA tensor, dropout off and replayed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from customir.kernels.activation_cache import record_or_replay
from peft.tuners.lora import Linear
from torch import Tensor

from customir.encoder.packing import pack
from customir.encoder.torch_encoder import Encoder
from customir.settings import TrainingSettings
from customir.training import adapter
from customir.training.batches import collate
from customir.training.examples import Example, TrainingPassage
from customir.training.gradient_cache import backward
from customir.training.step import contrastive_loss

SEED = 7
WHOLE = 10**9


def an_encoder(
    base: Path, dropout: float, device: str = "cpu"
) -> tuple[Encoder, dict[str, Tensor]]:
    """MiniLM with an adapter that is not at its start (where half of the gradient is zero)."""
    encoder = Encoder.load(base, device, precision="fp32")
    model = adapter.attach(encoder, TrainingSettings(lora_dropout=dropout), seed=0)
    weights = {name: value for name, value in model.named_parameters() if value.requires_grad}
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in weights.items():
            if "lora_B" in name:
                value.copy_(0.05 * torch.randn(value.shape, generator=generator))  # from the CPU
    return encoder, weights


@contextmanager
def by_peft(encoder: Encoder) -> Iterator[None]:
    """peft's own forward instead of our fused one: the reference shares nothing with us."""
    fused = [module for module in encoder.model.modules() if type(module) is adapter.FusedLinear]
    assert fused
    for module in fused:
        module.__class__ = Linear
    yield
    for module in fused:
        module.__class__ = adapter.FusedLinear


def texts(pairs: int, negatives: int) -> list[Example]:
    """Passages whose lengths differ fiftyfold; some share a thread, one is judged relevant."""

    def passage(number: int) -> TrainingPassage:
        words = ["gas", "contract", "meeting", f"desk{number}", "Oslo"][number % 5 :]
        length = 1 + (number * 37) % 50
        return TrainingPassage(
            f"p{number}",
            " ".join(words * length)[: 6 * length],
            f"t{number // 2 if number > 2 else number}",
            f"p{number}",
        )

    return [
        Example(
            f"query {number} about desk{number}",
            passage(number),
            tuple(passage(number + pairs * (1 + extra)) for extra in range(negatives)),
            frozenset({f"p{number - 2}"}),
        )
        for number in range(pairs)
    ]


def gradients(weights: dict[str, Tensor], work: Callable[[], object]) -> dict[str, Tensor]:
    for value in weights.values():
        value.grad = None
    work()
    return {name: value.grad.clone() for name, value in weights.items()}


def cached(
    encoder: Encoder,
    tokens: list[list[int]],
    loss_of: Callable[[Tensor], Tensor],
    mini_batch_num_tokens: int,
    kept: int = 1,
    kept_in_part: int = 0,
) -> None:
    backward(
        lambda places: encoder.embed([tokens[place] for place in places]),
        encoder.cut([len(ids) for ids in tokens], mini_batch_num_tokens),
        loss_of,
        SEED,
        encoder.device,
        kept,
        kept_in_part,
    )


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name, exact in wanted.items():
        ours = found[name]
        assert exact.norm() > 0, name
        cosine = torch.cosine_similarity(ours.flatten(), exact.flatten(), dim=0)
        assert cosine > 0.99999, (name, cosine)
        assert (ours - exact).norm() / exact.norm() < 1e-4, name


@pytest.mark.parametrize(
    ("num_graphs", "num_recorded", "twice", "recorded"),
    [
        (0, 0, [0, 1, 2, 3], []),
        (1, 0, [0, 1, 2], []),
        (1, 1, [0, 1, 2], [2]),
        (2, 9, [0, 1], [0, 1]),
        (9, 9, [], []),
    ],
)
def test_each_micro_batch_of_one_small_layer(
    num_graphs: int, num_recorded: int, twice: list[int], recorded: list[int]
) -> None:
    """What is encoded once, twice and replayed; and the loss and the gradient with dropout."""
    generator = torch.Generator().manual_seed(0)
    texts, weight = torch.randn(7, 5, generator=generator), torch.randn(5, 3, generator=generator)
    weight.requires_grad_()
    micro_batches = [[3, 0], [5], [1, 6, 2], [4]]
    once = [number for number in range(4) if number not in twice]
    encoded: list[tuple[int, bool]] = []
    computed: list[int] = []

    def embed(members: Sequence[int]) -> Tensor:
        number = micro_batches.index(list(members))
        encoded.append((number, torch.is_grad_enabled()))

        def hidden() -> Tensor:
            computed.append(number)
            return texts[list(members)].tanh()

        return torch.dropout(record_or_replay(hidden), 0.5, train=True) @ weight

    def loss_of(vectors: Tensor) -> Tensor:
        return (vectors @ vectors.T).logsumexp(1).mean() - vectors[0] @ vectors[6]

    state = torch.get_rng_state()
    loss = backward(
        embed, micro_batches, loss_of, SEED, torch.device("cpu"), num_graphs, num_recorded
    )
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers go on as before"
    assert encoded == [(number, False) for number in twice] + [
        (number, True) for number in (*once, *twice)
    ]
    assert sorted(computed) == sorted([0, 1, 2, 3, *(set(twice) - set(recorded))])

    assert weight.grad is not None
    found, weight.grad = weight.grad, None
    vectors = torch.empty(7, 3)
    for number, members in enumerate(micro_batches):
        torch.manual_seed(SEED + number)
        vectors[members] = embed(members)
    wanted = loss_of(vectors)
    wanted.backward()
    assert loss == wanted.item()
    torch.testing.assert_close(found, weight.grad)


@pytest.mark.parametrize(
    ("pairs", "negatives", "mini_batch_num_tokens", "kept", "kept_in_part"),
    [
        (2, 0, 256, 1, 0),
        (7, 0, 256, 0, 1),
        (12, 1, 256, 2, 0),
        (12, 3, 300, 1, 2),
        (20, 1, 1024, 1, 9),
        (12, 2, WHOLE, 1, 0),
    ],
)
def test_equals_the_full_batch(
    minilm: Path,
    pairs: int,
    negatives: int,
    mini_batch_num_tokens: int,
    kept: int,
    kept_in_part: int,
) -> None:
    encoder, weights = an_encoder(minilm, dropout=0.0)
    batch = collate(texts(pairs, negatives))
    tokens = encoder.tokenize(batch.queries, "query")
    tokens += encoder.tokenize([passage.text for passage in batch.passages], "passage")
    settings = TrainingSettings()

    def loss_of(found: Tensor) -> Tensor:
        return contrastive_loss(found, batch, settings)

    with by_peft(encoder):
        wanted = gradients(weights, lambda: loss_of(encoder._embed_padded(tokens)).backward())
    found = gradients(
        weights, lambda: cached(encoder, tokens, loss_of, mini_batch_num_tokens, kept, kept_in_part)
    )
    assert_equal(found, wanted)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_results_that_are_kept_change_no_bit(minilm: Path, dropout: float) -> None:
    encoder, weights = an_encoder(minilm, dropout)
    batch = collate(texts(12, 2))
    tokens = encoder.tokenize(batch.queries, "query")
    tokens += encoder.tokenize([passage.text for passage in batch.passages], "passage")

    def run(kept_in_part: int) -> dict[str, Tensor]:
        return gradients(
            weights,
            lambda: cached(
                encoder,
                tokens,
                lambda found: contrastive_loss(found, batch, TrainingSettings()),
                256,
                1,
                kept_in_part,
            ),
        )

    wanted = run(0)
    for kept_in_part in (1, 2, 100):
        for name, found in run(kept_in_part).items():
            torch.testing.assert_close(found, wanted[name], rtol=0, atol=0, msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(("pairs", "negatives"), [(12, 3), (200, 1)])
@pytest.mark.parametrize(("mini_batch_num_tokens", "kept"), [(300, 1), (2048, 2), (WHOLE, 1)])
def test_equals_the_full_batch_on_a_gpu(
    minilm: Path, pairs: int, negatives: int, mini_batch_num_tokens: int, kept: int
) -> None:
    encoder, weights = an_encoder(minilm, dropout=0.0, device="cuda")
    batch = collate(texts(pairs, negatives))
    tokens = encoder.tokenize(batch.queries, "query")
    tokens += encoder.tokenize([passage.text for passage in batch.passages], "passage")
    there = batch.to(encoder.device)

    def full(found: Tensor) -> Tensor:
        """By the sweeps on the CPU, so that the Triton kernels are in one of the two only."""
        return contrastive_loss(found.cpu(), batch, TrainingSettings())

    with by_peft(encoder):
        wanted = gradients(weights, lambda: full(encoder._embed_padded(tokens)).backward())
    found = gradients(
        weights,
        lambda: cached(
            encoder,
            tokens,
            lambda found: contrastive_loss(found, there, TrainingSettings()),
            mini_batch_num_tokens,
            kept,
        ),
    )
    assert_equal(found, wanted)


def test_nothing_is_pushed_below_the_lowest_adapter(minilm: Path) -> None:
    for trainable_layers, learns_from in ((0, 0), (2, 4)):
        encoder = Encoder.load(minilm, precision="fp32")
        adapter.attach(encoder, TrainingSettings(trainable_layers=trainable_layers), seed=0)
        packed = pack(encoder.tokenize(["gas for March"], "query"), encoder.device)
        states = encoder.enter(packed)
        for number, layer in enumerate(encoder.layers):
            assert states.requires_grad == (number > learns_from)
            states = encoder.run(states, packed, [layer])


@pytest.mark.parametrize("mini_batch_num_tokens", [256, 512, WHOLE])
def test_dropout_is_replayed(minilm: Path, mini_batch_num_tokens: int) -> None:
    encoder, weights = an_encoder(minilm, dropout=0.3)
    batch = collate(texts(12, 1))
    tokens = encoder.tokenize(batch.queries, "query")
    tokens += encoder.tokenize([passage.text for passage in batch.passages], "passage")
    passes = encoder.cut([len(ids) for ids in tokens], mini_batch_num_tokens)

    def loss_of(found: Tensor) -> Tensor:
        return contrastive_loss(found, batch, TrainingSettings())

    def full(seed: int) -> None:
        """One graph over the whole batch, with the masks that the micro-batches draw."""
        found = torch.empty(len(tokens), encoder.dimensions)
        for number, members in enumerate(passes):
            torch.manual_seed(seed + number)
            found[members] = encoder.embed([tokens[index] for index in members])
        loss_of(found).backward()

    with by_peft(encoder):
        wanted = gradients(weights, lambda: full(SEED))
    found = gradients(weights, lambda: cached(encoder, tokens, loss_of, mini_batch_num_tokens))
    assert_equal(found, wanted)
    other = gradients(weights, lambda: full(SEED + 1000))
    name = next(iter(wanted))
    unlike = torch.cosine_similarity(other[name].flatten(), wanted[name].flatten(), dim=0)
    assert unlike < 0.99, "masks that don't matter would prove nothing"
