import numpy as np
import pytest
from customir.exporters.gptq import BLOCK, DAMPING, gptq_round

LIMIT = 64


def drawn(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, their scales, and inputs whose channels go together, as a model's do."""
    random = np.random.default_rng(rows)
    weights = random.normal(size=(rows, columns)).astype(np.float32)
    inputs = random.normal(size=(4 * rows, rows // 4)) @ random.normal(size=(rows // 4, rows))
    inputs += 0.3 * random.normal(size=inputs.shape)
    return weights, np.abs(weights).max(axis=0) / LIMIT, inputs


def lost(weights: np.ndarray, rounded: np.ndarray, scales: np.ndarray, inputs: np.ndarray) -> float:
    return float(np.square(inputs @ (weights - rounded * scales)).sum())


@pytest.mark.parametrize("rows", [16, BLOCK, 2 * BLOCK + 40])
def test_it_loses_less_of_what_inputs_make_of_the_weights(rows: int) -> None:
    weights, scales, inputs = drawn(rows, 24)
    rounded = gptq_round(weights, scales, inputs.T @ inputs, LIMIT)
    assert rounded.dtype == np.int8
    assert rounded.shape == weights.shape
    assert np.abs(rounded.astype(int)).max() <= LIMIT
    plain = np.rint(weights / scales)
    assert lost(weights, rounded, scales, inputs) < 0.5 * lost(weights, plain, scales, inputs)


def test_it_is_the_published_algorithm_row_by_row() -> None:
    """By its equations, without blocks: the inverse is cut anew after every row."""
    weights, scales, inputs = drawn(BLOCK + 12, 8)
    moments = inputs.T @ inputs
    order = np.argsort(-np.diag(moments), kind="stable")
    damped = moments + DAMPING * np.trace(moments) / len(moments) * np.eye(len(moments))
    inverse = np.linalg.inv(damped[order][:, order])
    left, expected = weights[order].astype(np.float64), np.empty(weights.shape)
    for row in range(len(weights)):
        expected[order[row]] = np.clip(np.rint(left[0] / scales), -LIMIT, LIMIT)
        wrong = (left[0] - expected[order[row]] * scales) / inverse[0, 0]
        left = left[1:] - np.outer(inverse[1:, 0], wrong)
        inverse = inverse[1:, 1:] - np.outer(inverse[1:, 0], inverse[0, 1:]) / inverse[0, 0]
    np.testing.assert_array_equal(gptq_round(weights, scales, moments, LIMIT), expected)


def test_inputs_that_tell_nothing_leave_plain_rounding() -> None:
    weights, scales, _ = drawn(32, 8)
    plain = np.rint(weights / scales)
    for moments in (np.eye(32), np.zeros((32, 32))):
        np.testing.assert_array_equal(gptq_round(weights, scales, moments, LIMIT), plain)


def test_matrices_of_one_input_may_stand_side_by_side() -> None:
    weights, scales, inputs = drawn(64, 10)
    moments = inputs.T @ inputs
    apart = [
        gptq_round(weights[:, part], scales[part], moments, LIMIT)
        for part in (slice(0, 4), slice(4, 10))
    ]
    together = gptq_round(weights, scales, moments, LIMIT)
    np.testing.assert_array_equal(np.concatenate(apart, axis=1), together)
