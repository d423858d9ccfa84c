"""Queries for the corpus: analysis, sampling, self-supervised pairs, the LLM's queries, filters, splits."""
