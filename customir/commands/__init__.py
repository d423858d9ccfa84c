"""The work of commands that run no stage: analyze, check, doctor, status, evaluate --beir, optimize."""
