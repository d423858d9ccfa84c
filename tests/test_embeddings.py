"""Embeddings through the workspace: in order, once a text, apart by kind and model."""

from pathlib import Path

import numpy as np

from customir.embeddings import embed
from customir.encoder.torch_encoder import Encoder
from customir.progress import Silent
from customir.workspace import Workspace

TEXTS = ["The pump leaks oil.", "Lunch at noon.", "", "The pump leaks oil.", "Oslo " * 80]


def test_in_order_unit_length_and_kept(minilm: Path, tmp_path: Path) -> None:
    encoder = Encoder.load(minilm, "cpu", 64, "fp32")
    with Workspace(tmp_path) as workspace:
        made = embed(workspace, "s", encoder, TEXTS, "passage", Silent(), "embedding")
        assert made.dtype == np.float32
        assert made.shape == (5, encoder.dimensions)
        np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(made, encoder.encode(TEXTS, "passage"), atol=1e-5)
        np.testing.assert_array_equal(made[0], made[3])

        def count() -> int:
            return int(workspace.database.execute("SELECT count(*) FROM result").fetchone()[0])

        assert count() == 4
        again = embed(workspace, "s", encoder, TEXTS[::-1], "passage", Silent(), "embedding")
        np.testing.assert_array_equal(again, made[::-1])
        assert count() == 4
        embed(workspace, "s", encoder, TEXTS[:2], "query", Silent(), "embedding")
        assert count() == 6
        shorter = Encoder.load(minilm, "cpu", 16, "fp32")
        cut = embed(workspace, "s", shorter, TEXTS[4:], "passage", Silent(), "embedding")
        assert count() == 7, "where a text is cut is part of its key"
        assert not np.allclose(cut[0], made[4])
        nothing = embed(workspace, "s", encoder, [], "query", Silent(), "embedding")
        assert nothing.shape == (0, encoder.dimensions)
