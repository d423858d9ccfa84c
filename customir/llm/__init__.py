"""A local LLM through llama.cpp: many sequences in one context, nothing computed twice."""

from customir.llm.engine import Engine, Usage
from customir.llm.interface import Llm
from customir.llm.prompt import Prompt, Sampling
from customir.llm.servers import Servers

__all__ = ["Engine", "Llm", "Prompt", "Sampling", "Servers", "Usage"]
