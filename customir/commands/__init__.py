"""What the commands do that run no stage: analyze, check, status, a judged test set, optimize."""
