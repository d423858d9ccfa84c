"""Hard negatives: candidates, the LLM as their judge, and the calibration of the judge."""
