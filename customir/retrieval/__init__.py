"""Exact retrieval over a corpus in memory: what filters, mining and evaluation rank with."""
