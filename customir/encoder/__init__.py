"""A sentence-transformers folder: its one parser, the torch encoder, and texts packed without padding."""
