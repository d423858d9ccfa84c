"""What a server needs to embed and search: ONNX Runtime, tokenizers, numpy and SQLite, no torch."""
