"""Fixtures: a model, a small corpus, and servers over its index."""

from serving import running, server
from small_index import folder, make_passage, model, passages

__all__ = ["folder", "make_passage", "model", "passages", "running", "server"]
