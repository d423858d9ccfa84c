"""Mail text in every language: words, the labels that mail programs write, and quotes."""
