"""Queries for a corpus: analysis, sampling, self-supervised pairs, LLM queries, filters, splits."""
