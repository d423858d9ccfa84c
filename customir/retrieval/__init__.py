"""Exact retrieval over a corpus in memory, for filters, mining and evaluation."""
