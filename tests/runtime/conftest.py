"""Fixtures: a model and a small corpus."""

from small_index import folder, make_passage, model, passages, spoilable

__all__ = ["folder", "make_passage", "model", "passages", "spoilable"]
