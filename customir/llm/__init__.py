"""A local LLM through llama.cpp: many sequences in one context, nothing computed twice."""

from customir.llm.engine import Engine, Usage
from customir.llm.prompt import Prompt, Sampling

__all__ = ["Engine", "Prompt", "Sampling", "Usage"]
