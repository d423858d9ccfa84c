"""Packed texts: every token once, hardly a row wasted."""

import numpy as np
import torch

from customir.encoder.packing import _widths, fill_by_tokens, pack, rows_for


def test_passes_hold_every_text_once_and_are_full() -> None:
    lengths = np.random.default_rng(0).lognormal(4.4, 1.0, 400).clip(5, 256).astype(int).tolist()
    passes = fill_by_tokens(lengths, 1024)
    assert sorted(index for members in passes for index in members) == list(range(400))
    tokens = [sum(lengths[index] for index in members) for members in passes]
    assert max(tokens) <= 1024
    assert max(lengths) / min(lengths) > 50
    assert 1 - sum(lengths) / sum(map(rows_for, tokens)) < 0.02
    assert len({rows_for(count) for count in tokens}) <= 2, "like shapes, or oneDNN compiles anew"


def test_a_text_beyond_the_budget_stands_alone() -> None:
    assert fill_by_tokens([18, 2000, 20], 1024) == [[1], [2, 0]]
    assert fill_by_tokens([], 1024) == []


def test_a_gpu_has_few_widths() -> None:
    lengths = np.arange(1, 257)
    fine, coarse = _widths(lengths, coarse=False), _widths(lengths, coarse=True)
    assert np.unique(coarse).tolist() == [16, 32, 64, 128, 256]
    assert (fine >= lengths).all()
    assert (fine - lengths < 16).all()
    assert (coarse >= fine).all()
    assert (coarse < 2 * fine).all()


def test_each_row_is_in_one_group_and_comes_back() -> None:
    tokens = [[7] * 3, [8] * 40, [9] * 16, [5]]
    packed = pack(tokens, torch.device("cpu"))
    assert packed.tokens == 60
    assert len(packed.ids) == 128
    assert packed.text_of.bincount().tolist() == [3, 40, 16, 1]
    assert [group.rows.shape[1] for group in packed.groups] == [16, 48]
    assert packed.order[packed.places[:60]].tolist() == list(range(60))
    assert len(packed.order) - len(packed.gaps) == 60
    assert packed.positions[3:43].tolist() == list(range(40))
