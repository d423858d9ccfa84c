"""CustomIR: adapt a small text embedder to a private corpus, on one machine, without labels."""

from customir.telemetry import opt_out

__version__ = "0.1.0"

# Before anything else: ONNX Runtime reads its variable as it is imported.
opt_out()
