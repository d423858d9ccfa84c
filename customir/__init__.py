"""CustomIR: adapt a small text embedder to a private corpus, on one machine, without labels."""

__version__ = "0.1.0"
