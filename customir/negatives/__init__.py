"""Hard negatives: candidates, the LLM as their judge, and how far the judge can be trusted."""
