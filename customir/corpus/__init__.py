"""The corpus: readers, cleaning, threads, passages and near-duplicates."""
