"""The parser of sentence-transformers folders, the torch encoder, and packing without padding."""
